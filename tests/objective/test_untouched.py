"""A user's own model is exactly as before after an objective was made of it, at any depth."""

from __future__ import annotations

import collections
import queue
import random
import threading
import types

import numpy as np
import torch
import torch.nn.functional as F

from tests.objective.plainly import CE, MLP, data, made
from thalweg.objective import Objective


class Keeping(MLP):
    """Writes into everything that it keeps, at every forward pass."""

    def __init__(self):
        super().__init__()
        self.nested = {"a": {"k": [1]}, "object": types.SimpleNamespace(v=[0])}
        self.kinds = ([1], collections.deque([1], 3), {1}, collections.defaultdict(list))
        self.ordered = collections.OrderedDict(a=1, b=2)
        self.table, self.array = torch.zeros(2), np.zeros(2)
        self.generators = torch.Generator(), random.Random(0), np.random.default_rng(0)
        self.seen = seen = []
        self.b.register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))

    def forward(self, x):
        self.nested["a"]["k"].append(2)
        self.nested["object"].v[0] += 1
        self.nested["object"].w = 3
        self.kinds[0].append(2)
        self.kinds[1].append(2)
        self.kinds[2].add(3)
        self.kinds[3]["z"].append(1)
        self.ordered.move_to_end("a")
        self.table.add_(1)
        self.array += 1
        torch.rand(1, generator=self.generators[0])
        self.generators[1].random()
        self.generators[2].random()
        self.c.register_forward_hook(lambda module, inputs, output: None)
        self.a.weight.mark = "seen"
        self.b.fresh = 1
        return super().forward(x)

    def state(self) -> str:
        """All of it."""
        own, one, other = self.generators
        kept = self.nested, self.kinds, self.ordered, self.table, self.array, self.seen, vars(self.a.weight)
        drawn = own.get_state().tolist(), one.getstate(), other.bit_generator.state
        return repr((kept, drawn, self.a.weight.grad, len(self.c._forward_hooks), hasattr(self.b, "fresh")))


def test_a_model_is_as_before_at_any_depth():
    model = made(Keeping)
    model.a.weight.grad = torch.ones_like(model.a.weight)
    before = model.state()
    Objective(model, CE, data())
    assert model.state() == before
    model(data()[0])
    assert model.state() != before


def test_gradients_that_a_loss_leaves_are_not_left_in_the_model():
    def loss(model, batch):
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        return F.cross_entropy(model(batch[0]), batch[1])

    model = made()
    Objective(model, loss, data(), loss_on="batch")
    assert all(p.grad is None for p in model.parameters())


def test_a_queue_that_a_thread_empties_goes_on_working():
    taken = []

    class Queueing(MLP):
        def __init__(self):
            super().__init__()
            self.queue = queue.Queue()
            self.kept = {"queue": self.queue}

        def forward(self, x):
            self.queue.put("seen")
            return super().forward(x)

    def empty(source):
        while (one := source.get()) is not None:
            taken.append(one)

    model = made(Queueing)
    thread = threading.Thread(target=empty, args=(model.queue,), daemon=True)
    thread.start()
    Objective(model, CE, data())
    before = len(taken) + model.queue.qsize()
    model(data()[0])
    model.queue.put(None)
    thread.join(60)
    assert not thread.is_alive()
    assert len(taken) == before + 1

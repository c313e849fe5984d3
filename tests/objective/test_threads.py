"""Objectives are made and evaluated in several threads at once, with the numbers of one thread."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import nn

from tests.objective.plainly import CE, MLP, close, data, made
from thalweg.objective import Objective
from thalweg.objective.structure import trace


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(1, 4), nn.Linear(4, 3)
        self.layer = nn.TransformerEncoderLayer(4, 2, 4, dropout=0.0, batch_first=True)

    def forward(self, x):
        return self.head(self.layer(self.first(x[..., None])).mean(1))


class Deciding(MLP):
    def forward(self, x):
        return super().forward(x) * (1 if float(self.b.weight.detach().sum()) > -99 else 2)


def stack() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


def numbers(model: nn.Module) -> list[torch.Tensor]:
    objective = Objective(model, CE, data())
    theta = objective.theta
    return [objective.value(theta), objective.gradient(theta), objective.hvp(theta, theta)]


def settings() -> tuple[object, ...]:
    """What torch and Python keep once for the whole process."""
    flash, fast = torch.backends.cuda.flash_sdp_enabled(), torch.backends.mha.get_fastpath_enabled()
    drawn = torch.get_rng_state().tolist()
    return nn.Module.__call__, nn.Module.__getattr__, flash, fast, drawn, list(warnings.filters)


def test_four_threads_have_the_numbers_of_one_and_leave_everything_as_it_was():
    models = [made(kind) for kind in (stack, Attending, Deciding, MLP)]
    wanted, before = [numbers(model) for model in models], settings()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(numbers, 3 * models))
    assert settings() == before
    for one, right in zip(found, 3 * wanted, strict=True):
        for what, a, b in zip(("value", "gradient", "product"), one, right, strict=True):
            close(a, b, what)


def test_a_tracer_does_not_see_the_modules_of_other_threads():
    other, x = made(MLP), data()[0]
    right = other(x)

    class Asking(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(2, 2)

        def forward(self, x):
            with ThreadPoolExecutor(1) as pool:
                found.append(pool.submit(other, data()[0]).result())
            return self.linear(x)

    found: list[torch.Tensor] = []
    traced = trace(Asking())
    assert traced is not None
    assert [node.op for node in traced.graph.nodes] == ["placeholder", "call_module", "output"]
    assert torch.equal(found[0], right)

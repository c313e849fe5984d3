"""Contexts of torch inside a model, and around the laboratory: the right numbers, or one sentence."""

from __future__ import annotations

import contextlib
import logging
from functools import partial

import pytest
import torch
from torch.autograd.graph import save_on_cpu, saved_tensors_hooks
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
    set_checkpoint_debug_enabled,
)

from tests.objective.plainly import CE, MLP, agrees, close, data, made, right
from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.training import Recipe, train


def saving(**options):
    class Saving(MLP):
        def middle(self, h):
            return checkpoint(super().middle, h, use_reentrant=False, **options)

    return Saving


def within(context):
    class Within(MLP):
        def middle(self, h):
            with context():
                return super().middle(h)

    return Within


class Debugging(MLP):
    def middle(self, h):
        with set_checkpoint_debug_enabled(True):
            return checkpoint(super().middle, h, use_reentrant=False)


def keeps(_context, operation, *_args, **_kwargs):
    saved = operation in (torch.ops.aten.addmm.default, torch.ops.aten.mm.default)
    return CheckpointPolicy.MUST_SAVE if saved else CheckpointPolicy.PREFER_RECOMPUTE


@contextlib.contextmanager
def generator():
    yield


ONCE = {
    "a policy": saving(context_fn=partial(create_selective_checkpoint_contexts, keeps)),
    "a list": saving(context_fn=partial(create_selective_checkpoint_contexts, [torch.ops.aten.addmm.default])),
    "debug": saving(debug=True),
    "debug for all": Debugging,
    "generators": saving(context_fn=lambda: (generator(), generator())),
}


@pytest.mark.parametrize("kind", ONCE)
def test_checkpoints_that_serve_one_backward_pass_have_gradients_and_name_themselves(kind, monkeypatch):
    # What torch logs for debug=True has arguments that its text does not take: an error in pytest's own handler.
    monkeypatch.setattr(logging.getLogger("LoggingTensor"), "disabled", True)
    objective = agrees(made(ONCE[kind]), CE, data(), made(), second=False)
    for ask in (lambda: objective.hvp(objective.theta, objective.theta), lambda: objective.hessian(objective.theta)):
        with pytest.raises(InputError, match=r"contexts that can be entered only once \(context_fn= with selective"):
            ask()


@pytest.mark.parametrize(
    "kind",
    [
        saving(context_fn=lambda: (contextlib.nullcontext(), contextlib.nullcontext())),
        saving(determinism_check="none", preserve_rng_state=False),
        within(save_on_cpu),
        within(lambda: saved_tensors_hooks(lambda x: x.detach().numpy(), torch.from_numpy)),
    ],
)
def test_other_contexts_have_second_derivatives(kind):
    agrees(made(kind), CE, data(), made())


@pytest.mark.parametrize("around", [torch.inference_mode, torch.no_grad])
def test_everything_works_where_gradients_are_off(around):
    model, batch = made(), data()
    objective = Objective(model, CE, batch)
    theta = objective.theta
    wanted = right(model, CE, batch, objective, theta, torch.ones_like(theta))
    with around():
        inside = Objective(model, CE, batch)
        own = inside.theta
        close(inside.value(own), wanted.value, "value")
        close(inside.gradient(own), wanted.gradient, "gradient")
        close(inside.hvp(own, torch.ones_like(own)), wanted.product, "product")
        recording = train(inside, own, Recipe(optimizer="sgd", lr=0.5, steps=1))
    close(recording.snapshots[-1, 0], theta - 0.5 * wanted.gradient, "a step")


def test_data_and_models_made_in_inference_mode():
    with torch.inference_mode():
        batch = tuple(part.clone() for part in data())
        model = made()
    objective, outside = Objective(model, CE, batch), Objective(made(), CE, data())
    theta = outside.theta
    close(objective.theta, theta, "theta")
    close(objective.gradient(theta), outside.gradient(theta), "gradient")
    close(objective.hvp(theta, theta), outside.hvp(theta, theta), "product")
    close(
        train(objective, theta, Recipe(steps=2)).snapshots[-1],
        train(outside, theta, Recipe(steps=2)).snapshots[-1],
        "steps",
    )

"""Evaluation in surroundings and of models that are not the common ones."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from thalweg import curvature
from thalweg.errors import InputError
from thalweg.objective import Objective

X, Y = torch.linspace(-1, 1, 48).reshape(12, 4).sin(), torch.arange(12) % 3


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


@dataclasses.dataclass
class Found:
    logits: torch.Tensor
    cache: None = None


class Wrapped(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.net, self.wrap = net(), wrap

    def forward(self, x):
        return self.wrap(self.net(x))


@pytest.mark.parametrize("surroundings", [torch.no_grad, torch.inference_mode])
def test_derivatives_are_taken_wherever_they_are_asked_for(surroundings):
    made = Objective(net(), nn.CrossEntropyLoss(), (X, Y)).double()
    conv = Objective(
        nn.Sequential(nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 1, 2)), nn.MSELoss(), (X, torch.ones(12, 1, 3))
    )
    for objective in (made, conv.double()):
        theta = objective.theta
        expected = objective.gradient(theta), objective.hvp(theta, theta), objective.value_gradient_product(theta)[2]
        with surroundings():
            inside = objective.theta  # an inference tensor under inference_mode
            products = objective.products(inside)
            found = objective.gradient(inside), products(inside), objective.value_gradient_product(inside)[2]
        for a, b in zip(found, expected, strict=True):
            assert torch.equal(a, b)


def test_autocast_is_refused_where_it_would_change_digits():
    made = Objective(net(), nn.CrossEntropyLoss(), (X, Y))
    with torch.autocast("cpu"):
        with pytest.raises(InputError, match=r"torch.autocast must be off"):
            made.value(made.theta)
        wide = made.double()
        inside = wide.value(wide.theta)  # autocast leaves float64 alone
    assert torch.equal(inside, wide.value(wide.theta))


@pytest.mark.parametrize(
    ("wrap", "pick"),
    [
        (Found, lambda found: found.logits),
        (lambda logits: (logits, None), lambda found: found[0]),
        (lambda logits: {"logits": logits, "more": [logits]}, lambda found: found["logits"]),
    ],
)
def test_outputs_of_any_kind_have_metrics(wrap, pick):
    def loss(found, target):
        return F.cross_entropy(pick(found), target)

    def hits(found, target):
        return (pick(found).argmax(1) == target).float().mean()

    made = Objective(Wrapped(wrap), loss, (X, Y), metrics={"hits": hits, "number": lambda *both: hits(*both).item()})
    theta = made.initial(3)
    values, metrics = made.value(theta), made.metrics(theta)
    plain = Objective(Wrapped(lambda logits: logits), nn.CrossEntropyLoss(), (X, Y))
    torch.testing.assert_close(values, plain.value(theta))
    torch.testing.assert_close(metrics["loss"], plain.value(theta))
    for name in ("hits", "number"):
        torch.testing.assert_close(metrics[name], plain.metrics(theta)["accuracy"])
    with pytest.raises(InputError, match="must return one tensor where its outputs are looked at, found"):
        made.outputs(theta)


def test_a_metric_that_is_no_number_is_named():
    for loss_on, metric in (
        ("output", lambda out, y: out.argmax(1) == y),
        ("batch", lambda model, b: model(b[0]).argmax(1)),
    ):
        loss = nn.CrossEntropyLoss() if loss_on == "output" else lambda model, b: F.cross_entropy(model(b[0]), b[1])
        made = Objective(net(), loss, (X, Y), loss_on=loss_on, metrics={"hit": metric})
        with pytest.raises(InputError, match=r"metric 'hit' must return a number .*, found a tensor of shape \(12,\)"):
            made.metrics(made.initial(2))
    made = Objective(net(), nn.CrossEntropyLoss(), (X, Y), metrics={"hit": lambda *_: "high"})
    with pytest.raises(InputError, match=r"metric 'hit' .*, found str"):
        made.metrics(made.theta)


def test_a_loss_that_vmap_refuses_on_a_stack_is_looped():
    def checked(output, target):
        if not bool((output.isfinite()).all()):
            return output.sum()
        return F.cross_entropy(output, target)

    made = Objective(net(), checked, (X, Y)).double()
    plain = Objective(made.module(made.theta), nn.CrossEntropyLoss(), (X.double(), Y))
    theta = plain.initial(3)
    assert made.stack is not None
    torch.testing.assert_close(made.value(theta), plain.value(theta))
    torch.testing.assert_close(made.gradient(theta), plain.gradient(theta))


def test_constants_that_do_not_follow_the_dtype_are_named():
    weight = torch.tensor([1.0, 2.0, 3.0])
    for loss in (lambda output, target: F.cross_entropy(output, target, weight=weight),):
        made = Objective(net(), loss, (X, Y))
        with pytest.raises(InputError, match=r"must compute in float64 .*: make constants with dtype=x.dtype"):
            curvature.hessian(made, made.theta)


def test_half_precision_is_named():
    with pytest.raises(InputError, match=r"dtype \(give it for a model of another precision\) .* found bfloat16"):
        Objective(net().bfloat16(), nn.CrossEntropyLoss(), (X, Y))
    assert Objective(net().bfloat16(), nn.CrossEntropyLoss(), (X, Y), dtype=torch.float64).theta.dtype == torch.float64

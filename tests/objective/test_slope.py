"""The gradient is that of L and L is as precise as it says: found out by how L changes, against closed forms."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.objective.plainly import CE, MLP, ce, close, data, holding, made
from thalweg import critical
from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.training import Recipe, train

FLOAT32, FLOAT64 = torch.finfo(torch.float32).eps, torch.finfo(torch.float64).eps


class Scaled(torch.autograd.Function):
    """The identity, with a gradient of its own."""

    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx, g):
        return ctx.factor * g, None


def by_function(factor):
    return lambda output, target: Scaled.apply(CE(output, target), factor)


def by_hook(output, target):
    loss = CE(output, target)
    if loss.requires_grad:
        loss.register_hook(lambda g: 4 * g)
    return loss


def by_item(output, target):
    return CE(output, target) * CE(output, target).item()


def by_detach(output, target):
    loss = CE(output, target)
    return loss * loss.detach().square()


# The slope of L for each unit of autograd's.
FACTORS = {
    "reversed": (by_function(-1.0), -1.0),
    "scaled": (by_function(0.5), 2.0),
    "nearly": (by_function(1 / 1.01), 1.01),
    "hook": (by_hook, 0.25),
    "a factor that is a number": (by_item, 2.0),
    "a factor that is detached": (by_detach, 3.0),
}


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("case", FACTORS)
def test_gradients_that_are_not_those_of_l(case, narrow, caplog):
    loss, factor = FACTORS[case]
    x, y = data()
    objective = Objective(made().float() if narrow else made(), loss, (x.float() if narrow else x, y))
    found = objective.slope
    assert not found.agrees
    assert found.difference == pytest.approx(factor * found.autograd, rel=1e-5)
    (record,) = caplog.records
    said = f"along one direction autograd says {found.autograd:.6g} and L changes by {found.difference:.6g}; something"
    assert said in record.getMessage()


@pytest.mark.parametrize("case", FACTORS)
def test_trainings_follow_such_gradients_and_second_derivatives_are_refused(case):
    loss, _ = FACTORS[case]
    x, y = data()
    objective = Objective(made(), loss, (x, y))
    theta = 1.1 * objective.theta
    net = holding(made(), objective, theta)
    slopes = torch.autograd.grad(loss(net(x), y), list(net.parameters()))
    wanted = torch.cat([slope.flatten() for slope in slopes])
    close(objective.gradient(theta), wanted, "gradient")
    end = train(objective, theta, Recipe(optimizer="sgd", lr=0.1, steps=1)).snapshots[-1, 0]
    close(end, theta - 0.1 * wanted, "a step")
    slope = objective.slope
    numbers = re.escape(f"found {slope.autograd:.6g} by autograd and {slope.difference:.6g} by differences of L")
    asked = (
        lambda: objective.hvp(theta, theta),
        lambda: objective.products(theta)(theta),
        lambda: objective.hessian(theta),
        lambda: objective.value_gradient_product(theta),
        lambda: objective.double().with_l2(0.1).hvp(theta, theta),
        lambda: critical.search(objective, theta[None], "newton"),
    )
    for ask in asked:
        with pytest.raises(InputError, match=numbers):
            ask()


class Clamp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clamp(-0.2, 0.2)

    @staticmethod
    def backward(ctx, g):
        return g


class PassesClamp(MLP):
    def middle(self, h):
        return Clamp.apply(super().middle(h))


class Rounds(MLP):
    def middle(self, h):
        h = super().middle(h)
        return h + (torch.round(8 * h) / 8 - h).detach()


class LooksUp(MLP):
    """The nearest of its code vectors, with the gradient of the features."""

    def middle(self, h):
        nearest = self.b.weight[torch.cdist(h, self.b.weight).argmin(1)]
        return h + (nearest - h).detach()


class ByArray(MLP):
    def middle(self, h):
        return self.b(torch.from_numpy(np.tanh(h.detach().numpy())))


class WithoutGradients(MLP):
    def middle(self, h):
        with torch.no_grad():
            h = torch.tanh(h)
        return super().middle(h)


class ByData(MLP):
    def middle(self, h):
        return torch.tanh(F.linear(h, self.b.weight.data, self.b.bias))


class Reverses(MLP):
    """A domain head behind a reversal layer: only the features are affected."""

    def forward(self, x):
        h = torch.tanh(self.a(x))
        return self.c(self.middle(Scaled.apply(h, -1.0))) + self.c(h)


class HalfDetached(MLP):
    def forward(self, x):
        h = torch.tanh(self.a(x))
        return self.c(self.middle(h)) + self.c(h.detach())


INSIDE = (PassesClamp, Rounds, LooksUp, ByArray, WithoutGradients, ByData, Reverses, HalfDetached)


@pytest.mark.filterwarnings("ignore:__array__ implementation")
@pytest.mark.parametrize("kind", INSIDE)
def test_models_whose_gradient_is_not_that_of_l(kind, caplog):
    objective = Objective(made(kind), CE, data())
    assert not objective.slope.agrees
    assert "the gradient is not that of L" in caplog.text


def own_target(model, batch):
    return F.mse_loss(model(batch[0]), 0.9 * model(batch[0].flip(0)).detach() + 1)


def own_teacher(model, batch):
    return -F.cosine_similarity(model(batch[0]), model(1.1 * batch[0]).detach()).mean()


def frozen_inside(model, batch):
    model.c.requires_grad_(False)
    loss = ce(model, batch)
    model.c.requires_grad_(True)
    return loss


def weighted_by_itself(model, batch):
    each = F.cross_entropy(model(batch[0]), batch[1], reduction="none")
    return (each * torch.softmax(each.detach(), 0)).sum()


@pytest.mark.parametrize("loss", [own_target, own_teacher, frozen_inside, weighted_by_itself])
def test_losses_whose_gradient_is_not_that_of_l(loss, caplog):
    objective = Objective(made(), loss, data(), loss_on="batch")
    assert not objective.slope.agrees
    assert "the gradient is not that of L" in caplog.text


def cast(dtype):
    """Features that pass through another precision."""

    class Cast(MLP):
        def middle(self, h):
            return super().middle(h).to(dtype).to(h.dtype)

    return Cast


class Float32Outputs(MLP):
    def forward(self, x):
        return super().forward(x).float()


class SmallBranch(MLP):
    def forward(self, x):
        return super().forward(x) + 0.01 * torch.tanh(self.a(x).float())[:, :3].to(x.dtype)


class Autocast(MLP):
    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            h = torch.tanh(F.linear(x.float(), self.a.weight.float()))
            return F.linear(h, self.c.weight.float()).to(x.dtype)


class AutocastExactly(MLP):
    def forward(self, x):
        return F.linear(torch.tanh(F.linear(x, self.a.weight)), self.c.weight)


class SmallBranchExactly(MLP):
    def forward(self, x):
        return super().forward(x) + 0.01 * torch.tanh(self.a(x))[:, :3]


# Model, loss, the same in float64, and what it is said to compute in.
PRECISIONS = [
    pytest.param(Float32Outputs, CE, MLP, "float32", id="outputs of float32"),
    pytest.param(cast(torch.float32), CE, MLP, "float32", id="features of float32"),
    pytest.param(SmallBranch, CE, SmallBranchExactly, "float32", id="a small branch of float32"),
    pytest.param(MLP, lambda out, y: CE(out.float(), y), MLP, "float32", id="a loss of float32"),
    pytest.param(MLP, lambda out, y: CE(out.bfloat16().double(), y), MLP, "half precision", id="a loss of bfloat16"),
    pytest.param(Autocast, CE, AutocastExactly, "half precision", id="autocast"),
    pytest.param(MLP, lambda out, y: CE(out.half().double(), y), MLP, "half precision", id="a loss of float16"),
    pytest.param(cast(torch.float16), CE, MLP, "half precision", id="features of float16"),
    pytest.param(cast(torch.bfloat16), CE, MLP, "half precision", id="features of bfloat16"),
]


@pytest.mark.parametrize(("build", "loss", "exact", "name"), PRECISIONS)
def test_lower_precision_inside_is_measured_and_counted(build, loss, exact, name, caplog):
    objective = Objective(made(build), loss, data())
    assert "the gradient is not that of L" not in caplog.text
    assert "L is computed in float64 only in part" in caplog.text
    assert f"as in {name}" in caplog.text
    right = Objective(made(exact), CE, data(), check=False)
    theta = objective.theta + 1e-3 * torch.randn(50, objective.size, dtype=torch.float64)
    error = (objective.value(theta) / right.value(theta) - 1).abs().max()
    assert float(error) <= 4 * objective.epsilon()  # a few roundings, one after the other
    assert objective.with_l2(0.1).epsilon() == objective.epsilon()


@pytest.mark.parametrize(("build", "loss", "exact", "name"), PRECISIONS[:4])
def test_lower_precision_is_said_when_float64_is_asked_for(build, loss, exact, name, caplog):
    x, y = data()
    narrow = Objective(made(build).float(), loss, (x.float(), y))
    assert not caplog.records
    assert narrow.epsilon() == FLOAT32
    assert narrow.double().epsilon() == FLOAT32
    assert f"L is computed in float64 only in part: changes below 1e-07 of it are lost, as in {name}" in caplog.text
    assert Objective(made(exact).float(), CE, (x.float(), y)).double().epsilon() == FLOAT64


def test_nothing_is_measured_where_l_is_not_finite():
    x, y = data()
    objective = Objective(made(), lambda output, target: CE(output, target) / 0, (x, y))
    assert objective.slope is None
    assert objective.epsilon() == FLOAT64


def test_nothing_is_measured_without_checks(caplog):
    objective = Objective(made(), by_function(-1.0), data(), check=False)
    assert objective.slope is None
    assert not caplog.records

"""Models and losses that differentiate inside, and hooks: the same L and the same derivatives as in plain PyTorch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.objective.plainly import CE, MLP, agrees, ce, close, data, made
from thalweg import landscape
from thalweg.objective import Objective


def penalty(model, batch):
    """How far slopes in the inputs are from length one, as for a critic."""
    x = batch[0].clone().requires_grad_()
    (slope,) = torch.autograd.grad(model(x).square().sum(), x, create_graph=True)
    return (slope.norm(dim=1) - 1).square().mean()


def forces(model, batch):
    x = batch[0].clone().requires_grad_()
    (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
    return (slope + batch[0]).square().mean() + ce(model, batch)


def residual(model, batch):
    x = batch[0].clone().requires_grad_()
    u = model(x)[:, 0]
    (first,) = torch.autograd.grad(u.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first[:, 0].sum(), x, create_graph=True)
    return (second[:, 0] + u).square().mean()


def each_sample(model, batch):
    def u(one):
        return model(one[None])[0].sum()

    return torch.func.vmap(torch.func.grad(u))(batch[0]).square().sum(1).mean()


def jacobians(model, batch):
    return torch.func.vmap(torch.func.jacrev(model))(batch[0]).square().sum((1, 2)).mean() + ce(model, batch)


def forward_mode(model, batch):
    return torch.func.jvp(model, (batch[0],), (torch.ones_like(batch[0]),))[1].square().mean()


def hessians(model, batch):
    return torch.func.vmap(torch.func.hessian(lambda one: model(one).sum()))(batch[0]).square().mean()


def functional(model, batch):
    found = torch.autograd.functional.jacobian(lambda x: model(x).sum(0), batch[0], create_graph=True)
    return found.square().mean()


def adversarial(model, batch):
    shift = torch.zeros_like(batch[0], requires_grad=True)
    (slope,) = torch.autograd.grad(ce(model, (batch[0] + shift, batch[1])), shift)
    return ce(model, (batch[0] + 0.1 * slope.sign(), batch[1]))


def adversarial_backward(model, batch):
    x = batch[0].clone().requires_grad_()
    model(x).square().sum().backward()
    return ce(model, (batch[0] + 0.1 * x.grad.sign(), batch[1]))


def inner_step(model, batch):
    weights = dict(model.named_parameters())
    loss = CE(torch.func.functional_call(model, weights, (batch[0],)), batch[1])
    slopes = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
    fast = {name: weight - 0.1 * slope for (name, weight), slope in zip(weights.items(), slopes, strict=True)}
    return CE(torch.func.functional_call(model, fast, (batch[0],)), batch[1])


def inner_step_backward(model, batch):
    model.zero_grad()
    ce(model, batch).backward(create_graph=True)
    fast = {name: weight - 0.1 * weight.grad for name, weight in model.named_parameters()}
    return CE(torch.func.functional_call(model, fast, (batch[0],)), batch[1])


def squared_slope(model, batch):
    def loss(weights):
        return CE(torch.func.functional_call(model, weights, (batch[0],)), batch[1])

    slopes = torch.func.grad(loss)(dict(model.named_parameters()))
    return sum(slope.square().sum() for slope in slopes.values())


def squared_step(model, batch):
    slopes = torch.autograd.grad(ce(model, batch), list(model.parameters()), create_graph=True)
    return sum(slope.square().sum() for slope in slopes)


INSIDE = (
    *(penalty, forces, residual, each_sample, jacobians, forward_mode, hessians),
    *(functional, adversarial, adversarial_backward, inner_step, squared_slope, squared_step),
)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script. is deprecated")
@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("loss", INSIDE)
def test_losses_that_differentiate_inside(loss, listed):
    agrees(made(), loss, data(), listed=listed, loss_on="batch")


@pytest.mark.filterwarnings("ignore:Using backward.. with create_graph=True")
def test_a_loss_that_steps_by_backward():
    agrees(made(), inner_step_backward, data(), loss_on="batch")


@pytest.mark.parametrize("loss", [penalty, residual, forces])
def test_losses_that_differentiate_inside_in_float32(loss):
    x, y = data()
    agrees(made().float(), loss, (x.float(), y), loss_on="batch")


@pytest.mark.parametrize("loss", [inner_step, squared_step])
def test_losses_that_differentiate_in_parameters_in_float32(loss):
    x, y = data()
    agrees(made().float(), loss, (x.float(), y), loss_on="batch")


class Energy(MLP):
    """A field that is the slope of an energy."""

    def forward(self, x):
        with torch.enable_grad():
            q = x.clone().requires_grad_()
            return torch.autograd.grad(super().forward(q).square().sum(), q, create_graph=True)[0][:, :3]


class Divergence(MLP):
    """A trace estimated by one vector, as in continuous flows."""

    def forward(self, x):
        with torch.set_grad_enabled(True):
            x = x.clone().requires_grad_()
            y, e = F.pad(super().forward(x), (0, 1)), torch.ones_like(x)
            (slope,) = torch.autograd.grad((y * e).sum(), x, create_graph=True)
            return (slope * e).sum(1, keepdim=True) + y[:, :3]


class Solver(MLP):
    """Its middle layer takes a step down an inner problem."""

    def middle(self, h):
        with torch.enable_grad():
            z = torch.zeros_like(h).requires_grad_()
            inner = (torch.tanh(self.b(z)) - h).square().sum() + 0.1 * z.square().sum()
            return torch.autograd.grad(inner, z, create_graph=True)[0]


@pytest.mark.parametrize("kind", [Energy, Divergence, Solver])
def test_models_that_differentiate_inside(kind):
    agrees(made(kind), CE, data())


class LayerNormed(nn.Module):
    def __init__(self, normalise):
        super().__init__()
        self.a, self.norm, self.b, self.normalise = nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 3), normalise

    def forward(self, x):
        return self.b(torch.tanh(self.normalise(self, self.a(x))))


class GroupNormed(LayerNormed):
    def __init__(self, normalise):
        super().__init__(normalise)
        self.norm = nn.GroupNorm(2, 6)


class InstanceNormed(LayerNormed):
    def __init__(self, normalise):
        super().__init__(normalise)
        self.norm = nn.InstanceNorm1d(2, affine=True)


def fused(model, h):
    return model.norm(h.unflatten(1, (2, 3))).flatten(1) if isinstance(model.norm, nn.InstanceNorm1d) else model.norm(h)


def by_hand(model, h):
    """The same normalisation by elementary operations, which autograd differentiates rightly to every order."""
    norm = model.norm
    parts = h if isinstance(norm, nn.LayerNorm) else h.unflatten(1, (2, 3))
    parts = (parts - parts.mean(-1, keepdim=True)) * (parts.var(-1, keepdim=True, unbiased=False) + norm.eps).rsqrt()
    weight, bias = norm.weight, norm.bias
    if isinstance(norm, nn.InstanceNorm1d):
        weight, bias = (one.repeat_interleave(3) for one in (weight, bias))
    return parts.flatten(1) * weight + bias


@pytest.mark.parametrize("loss", [penalty, residual])
@pytest.mark.parametrize("kind", [LayerNormed, GroupNormed, InstanceNormed])
def test_normalisation_under_derivatives_of_the_third_order(kind, loss):
    agrees(made(lambda: kind(fused)), loss, data(), made(lambda: kind(by_hand)), loss_on="batch")


def test_instruments_and_metrics_of_a_loss_that_differentiates():
    objective = Objective(made(), penalty, data(), loss_on="batch", metrics={"again": penalty})
    wanted = penalty(made(), data()).detach()
    found = objective.metrics(objective.theta)
    close(found["loss"], wanted, "loss")
    close(found["again"], wanted, "metric")
    axes = landscape.random_directions(objective, objective.theta)
    close(landscape.surface(objective, objective.theta, axes, 3).at_center("loss"), wanted, "surface")


class Fixed(MLP):
    """A deep equilibrium: its gradient is solved for in a tensor hook."""

    def middle(self, h):
        with torch.no_grad():
            z = torch.zeros_like(h)
            for _ in range(60):
                z = self.step(z, h)
        z = self.step(z, h)
        if z.requires_grad:
            start = z.detach().requires_grad_()
            once = self.step(start, h)

            def solve(g):
                out = g
                for _ in range(60):
                    out = torch.autograd.grad(once, start, out, retain_graph=True)[0] + g
                return out

            z.register_hook(solve)
        return z

    def step(self, z, h):
        return torch.tanh(0.5 * self.b(z) + h)


class Unrolled(Fixed):
    def middle(self, h):
        z = torch.zeros_like(h)
        for _ in range(60):
            z = self.step(z, h)
        return z


def test_hooks_that_solve_for_a_gradient():
    agrees(made(Fixed), CE, data(), made(Unrolled), second=False)


def looks(model, place):
    """Adds a hook that looks at what passes, and changes nothing."""
    seen = []
    if place == "backward":
        model.b.register_full_backward_hook(lambda module, before, after: seen.append(after[0].norm()))
    elif place == "before backward":
        model.b.register_full_backward_pre_hook(lambda module, after: seen.append(after[0].norm()))
    elif place == "forward":
        model.b.register_forward_hook(lambda module, inputs, output: seen.append(output.detach().norm()))
    else:
        model.b.weight.register_hook(lambda g: seen.append(g.norm()))
    return model


@pytest.mark.parametrize("place", ["backward", "before backward", "forward", "parameter"])
def test_hooks_that_look_change_nothing(place, caplog):
    objective = agrees(looks(made(), place), CE, data(), made(), steps=False)
    assert not caplog.records
    assert objective.slope.agrees


class HalfGradient(MLP):
    def middle(self, h):
        h = super().middle(h)
        if h.requires_grad:
            h.register_hook(lambda g: 0.5 * g)
        return h


def half_by_module():
    model = MLP()
    model.b.register_full_backward_hook(lambda module, before, after: tuple(0.5 * g for g in before))
    return model


@pytest.mark.parametrize("build", [HalfGradient, half_by_module])
def test_hooks_that_scale_do_so_alone_and_among_others(build, caplog):
    agrees(made(build), CE, data(), second=False)
    assert "the gradient is not that of L" in caplog.text

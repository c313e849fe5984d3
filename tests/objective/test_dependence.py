"""L depends on the θ that is put in, on all of it, and on nothing else that is trained; or that is said."""

from __future__ import annotations

import copy
import logging
import weakref

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.objective.plainly import CE, MLP, agrees, ce, close, data, made
from thalweg.errors import InputError
from thalweg.objective import Objective


class Spare(MLP):
    """Has a layer that takes no part."""

    def __init__(self):
        super().__init__()
        self.extra = nn.Linear(4, 4)


def whole(net):
    return lambda model, batch: ce(net, batch)


def one_layer(net):
    return lambda model, batch: CE(model.c(model.middle(torch.tanh(net.a(batch[0])))), batch[1])


def through_a_trainer(net):
    class Trainer:
        def __init__(self):
            self.net = net

        def loss(self, model, batch):
            return ce(self.net, batch)

    return Trainer().loss


def by_optimiser(net):
    optimiser = torch.optim.SGD([{"params": [net.a.weight], "weight_decay": 0.1}, {"params": [net.b.weight]}], lr=0.1)

    def loss(model, batch):
        decay = [g["weight_decay"] * p.square().sum() for g in optimiser.param_groups for p in g["params"]]
        return ce(model, batch) + sum(decay)

    return loss


ORIGINAL = {
    whole: "'a.weight', 'a.bias', 'b.weight' and 3 more",
    one_layer: "'a.weight', 'a.bias'",
    through_a_trainer: "'a.weight', 'a.bias', 'b.weight' and 3 more",
    by_optimiser: "'a.weight', 'b.weight'",
}


@pytest.mark.parametrize("closure", ORIGINAL)
def test_closures_that_evaluate_the_model_that_was_handed_over(closure):
    net = made()
    message = rf"parameters that they are given, found {ORIGINAL[closure]} of the original model in use"
    with pytest.raises(InputError, match=message):
        Objective(net, closure(net), data(), loss_on="batch")


def test_a_weak_reference_to_a_parameter_of_the_original_is_refused():
    class Weak(MLP):
        def __init__(self):
            super().__init__()
            self.kept = weakref.ref(self.b.weight)

        def middle(self, h):
            return torch.tanh(F.linear(h, self.kept()))

    with pytest.raises(InputError, match=r"found 'b\.weight' of the original model in use"):
        Objective(made(Weak), CE, data())


def frozen_original(net):
    def loss(model, batch):
        with torch.no_grad():
            return ce(net, batch)

    return loss


def constant(net):
    return lambda model, batch: batch[0].square().mean()


def kept_outputs(net):
    outputs = net(data()[0]).detach()
    return lambda model, batch: CE(outputs[: len(batch[1])], batch[1])


@pytest.mark.parametrize("closure", [frozen_original, constant, kept_outputs])
def test_losses_that_do_not_depend_on_theta(closure):
    net = made()
    message = "loss must depend on theta, found the same L with other 'a.weight', 'a.bias', 'b.weight' and 3 more"
    with pytest.raises(InputError, match=message):
        Objective(net, closure(net), data(), loss_on="batch")


def detached(model, batch):
    return CE(model(batch[0]).detach(), batch[1])


def without_gradients(model, batch):
    with torch.no_grad():
        return ce(model, batch)


def by_state(model, batch):
    return CE(torch.func.functional_call(copy.deepcopy(model), dict(model.state_dict()), (batch[0],)), batch[1])


def by_numpy(model, batch):
    return CE(torch.from_numpy(np.tanh(model(batch[0]).detach().numpy())), batch[1])


@pytest.mark.parametrize("loss", [detached, without_gradients, by_state, by_numpy])
def test_losses_without_any_derivative(loss):
    with pytest.raises(InputError, match="found another L with other parameters and no derivative: something between"):
        Objective(made(), loss, data(), loss_on="batch")


@pytest.mark.parametrize(
    ("globs", "message"),
    [
        ("extra.*", "loss must depend on theta, found the same L with other 'extra.weight', 'extra.bias'"),
        (("a.*", "extra.*"), r"found 'extra\.\*', of which 'extra.weight', 'extra.bias' take no part in it"),
        (("c.bias", "extra.b*"), r"found 'extra\.b\*', of which 'extra.bias' take no part in it"),
    ],
)
def test_chosen_parameters_that_take_no_part(globs, message):
    with pytest.raises(InputError, match=message):
        Objective(made(Spare), CE, data(), parameters=globs)


def cut(model):
    """Takes a layer out of use as a user would, by replacing the forward pass of another."""
    model.b.forward = lambda h: h
    return model


@pytest.mark.parametrize(
    ("build", "count", "names"),
    [
        (Spare, "20 of the 113", "'extra.weight', 'extra.bias'"),
        (lambda: cut(MLP()), "42 of the 93", "'b.weight', 'b.bias'"),
        (lambda: cut(cut(Spare())), "62 of the 113", "'b.weight', 'b.bias', 'extra.weight' and 1 more"),
    ],
)
def test_parameters_that_take_no_part_are_named_and_have_no_derivatives(build, count, names, caplog):
    objective = Objective(made(build), CE, data())
    assert f"L does not depend on {count} parameters of theta ({names})" in caplog.text
    gradient = objective.layout.unravel(objective.gradient(objective.theta))
    used = {name for name, value in gradient.items() if value.any()}
    assert not any(name.strip("' ") in used for name in names.replace(" and 1 more", "").split(","))
    assert "c.weight" in used


class Temperature(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()).double())
        self.shift = nn.Parameter(torch.zeros(3).double())

    def forward(self, output, target):
        return CE(output * self.scale + self.shift, target)


class HoldsModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = made()

    def forward(self, output, target):
        return CE(output, target) + 0.1 * self.net.a.weight.square().sum()


def uncertainty():
    s = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    return lambda output, target: (CE(output, target) * torch.exp(-s)).sum() + s.sum()


OWN = {
    Temperature: (4, ("'loss.scale'", "'loss.shift'")),
    HoldsModel: (24, ("'loss.net.a.weight'",)),
    uncertainty: (2, ("a tensor of shape (2,)",)),
}


@pytest.mark.parametrize("build", OWN)
def test_parameters_of_the_loss_are_said_to_be_left_out(build, caplog):
    loss = build()
    objective = Objective(made(), loss, data())
    count, names = OWN[build]
    (record,) = caplog.records
    said = record.getMessage()
    assert said.startswith(f"theta has the 93 parameters of the model; {count} more in ")
    assert all(name in said.split(", which the loss is computed from")[0] for name in names)
    x, y = data()
    close(objective.value(objective.theta), loss(made()(x), y).detach(), "value")


def test_parameters_of_a_trainer_are_said_to_be_left_out(caplog):
    class Trainer:
        def __init__(self):
            self.t = nn.Parameter(torch.full((), 2.0).double())

        def loss(self, model, batch):
            return CE(model(batch[0]) / self.t, batch[1])

    agrees(made(), Trainer().loss, data(), loss_on="batch")
    assert "1 more in a tensor of shape ()" in caplog.text


def decaying_by_identity(net):
    chosen = {id(p) for p in net.parameters() if p.dim() > 1}
    return lambda model, batch: (
        ce(model, batch) + 0.1 * sum(p.square().sum() for p in model.parameters() if id(p) in chosen)
    )


def decaying_by_module(net):
    return lambda model, batch: (
        ce(model, batch) + 0.1 * sum(m.weight.square().sum() for m in model.children() if m in (net.a, net.b))
    )


def doubled_for_the_original(net):
    return lambda model, batch: ce(model, batch) * (2 if model is net else 1)


@pytest.mark.parametrize("closure", [decaying_by_identity, decaying_by_module, doubled_for_the_original])
def test_closures_that_know_parameters_by_identity_are_refused_with_both_numbers(closure):
    net, batch = made(), data()
    loss = closure(net)
    few = batch[0][torch.linspace(0, 19, 8).round().long()], batch[1][torch.linspace(0, 19, 8).round().long()]
    found, right = (f"{float(loss(model, few).detach()):.8g}" for model in (copy.deepcopy(net), net))
    message = f"what it gives with the model itself, found {found} and {right}: "
    with pytest.raises(InputError, match=message):
        Objective(net, loss, batch, loss_on="batch")


@pytest.mark.parametrize("closure", [decaying_by_identity, decaying_by_module])
def test_what_a_closure_leaves_in_the_model_is_taken_away(closure):
    net = made()
    known = set(vars(net))

    def loss(model, batch):
        model.seen = model(batch[0])
        return CE(model.seen, batch[1])

    Objective(net, loss, data(), loss_on="batch")
    assert set(vars(net)) == known
    assert all(p.grad is None for p in net.parameters())


def frozen_layer():
    model = MLP()
    model.a.requires_grad_(False)
    return model


class WithConstant(MLP):
    """A plain tensor, and inputs that require gradients, are no parameters."""

    def __init__(self):
        super().__init__()
        self.scale = torch.ones(6, dtype=torch.float64)

    def middle(self, h):
        return super().middle(h) * self.scale


def twin(net):
    other = copy.deepcopy(net).requires_grad_(False)

    def loss(model, batch):
        return ce(model, batch) + (model(batch[0]) - other(batch[0])).square().mean()

    return loss


@pytest.mark.parametrize("build", [MLP, frozen_layer, WithConstant])
def test_constants_are_not_warned_of(build, caplog):
    caplog.set_level(logging.INFO, "thalweg")
    agrees(made(build), CE, data())
    agrees(made(build), twin(made(build)), data(), loss_on="batch")
    anchors = [p.detach().clone() for p in made(build).parameters()]
    agrees(
        made(build),
        lambda model, batch: (
            ce(model, batch) + sum((p - q).square().sum() for p, q in zip(model.parameters(), anchors, strict=True))
        ),
        data(),
        loss_on="batch",
    )
    assert not caplog.records


def slope_in_the_points(model, batch):
    u = model(batch[0])[:, 0]
    (first,) = torch.autograd.grad(u.sum(), batch[0], create_graph=True)
    return (first[:, 0] + u).square().mean()


@pytest.mark.parametrize(
    ("loss", "listed"), [(ce, False), (ce, True), (slope_in_the_points, True), (slope_in_the_points, False)]
)
def test_points_that_require_gradients_are_no_parameters(loss, listed, caplog):
    x, y = data()
    agrees(made(), loss, (x.requires_grad_(), y), listed=listed, loss_on="batch")
    assert not caplog.records

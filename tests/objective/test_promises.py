"""Small promises about other people's models and losses, each with the numbers that are right."""

from __future__ import annotations

import copy
import logging

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.objective.plainly import CE, MLP, agrees, ce, close, data, made, ordinary, right
from thalweg.errors import InputError
from thalweg.objective import Objective

# -- buffers


class Buffered(MLP):
    def __init__(self):
        super().__init__()
        self.register_buffer("on", torch.tensor([True, False]))
        self.register_buffer("count", torch.tensor(2))
        self.register_buffer("scale", torch.tensor(2.0))
        self.register_buffer("small", torch.tensor(1, dtype=torch.int8))

    def forward(self, x):
        return super().forward(x) * torch.where(self.on, self.scale, 1.0).sum() * self.count * self.small


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("on", torch.tensor([1.0, 0.5]), r"bool, found 'on' of float32 with the value 1.0"),
        ("on", torch.tensor([0, 3]), r"bool, found 'on' of int64 with the value 3"),
        ("count", torch.tensor(2.5), r"int64, found 'count' of float32 with the value 2.5"),
        ("count", torch.tensor(2.0, dtype=torch.float64), r"int64, found 'count' of float64 with the value 2.0"),
        ("count", torch.tensor(True), r"int64, found 'count' of bool with the value True"),
        ("small", torch.tensor(300), r"int8, found 'small' of int64 with the value 300"),
        ("scale", torch.tensor(2 + 1j), r"float64, found 'scale' of complex64 with the value \(2\+1j\)"),
    ],
)
def test_buffers_of_another_kind_are_named(name, value, message):
    objective = Objective(made(Buffered), CE, data())
    for ask in (objective.with_buffers, lambda given: objective.value(objective.theta, given)):
        with pytest.raises(InputError, match=f"buffers must be of the model's kind, {message}"):
            ask({name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("count", torch.tensor(3, dtype=torch.uint8)), ("scale", torch.tensor(3)), ("small", torch.tensor(3))],
)
def test_buffers_of_the_same_kind_become_the_models(name, value):
    objective, model = Objective(made(Buffered), CE, data()), made(Buffered)
    model.get_buffer(name).copy_(value)
    wanted = ce(model, data()).detach()
    close(objective.value(objective.theta, {name: value}), wanted, "value")
    close(objective.with_buffers({name: value}).value(objective.theta), wanted, "value")


# -- what autograd does not see


class Copying(MLP):
    def middle(self, h):
        return torch.tanh(copy.deepcopy(self.b)(h))


class Wrapping(MLP):
    def middle(self, h):
        return torch.tanh(F.linear(h, nn.Parameter(self.b.weight.clone()), nn.Parameter(self.b.bias.clone())))


class Detaching(MLP):
    def middle(self, h):
        return torch.tanh(F.linear(h, self.b.weight.detach(), self.b.bias.data))


class LeavingAndWithout(Detaching):
    def __init__(self):
        super().__init__()
        self.unused = nn.Linear(2, 2)


@pytest.mark.parametrize("kind", [Copying, Wrapping, Detaching, LeavingAndWithout])
def test_parameters_that_l_depends_on_are_not_called_idle(kind, caplog):
    Objective(made(kind), CE, data())
    size = 99 if kind is LeavingAndWithout else 93
    assert f"L depends on 42 of the {size} parameters of theta ('b.weight', 'b.bias') in a way that" in caplog.text
    idle = f"L does not depend on 6 of the {size} parameters of theta ('unused.weight', 'unused.bias')"
    assert (idle in caplog.text) == ("L does not depend" in caplog.text) == (kind is LeavingAndWithout)


def test_a_chosen_part_that_autograd_does_not_see_is_refused_with_the_cause():
    with pytest.raises(
        InputError, match=r"found 'b\.\*': L is another with other 'b\.weight', 'b\.bias', but something"
    ):
        Objective(made(Copying), CE, data(), parameters=("a.*", "b.*"))


def test_the_log_says_once_that_a_loop_is_taken(caplog):
    class Deciding(MLP):
        def forward(self, x):
            return super().forward(x) * (1 if float(self.b.weight.detach().sum()) > -99 else 2)

    caplog.set_level(logging.INFO, "thalweg")
    objective = Objective(made(Deciding), CE, data())
    theta = objective.initial(2)
    for other in (objective, objective.subset([0, 1]), objective.with_l2(0.1), objective.with_data(data(7))):
        other.metrics(theta)
        other.hvp(theta, theta)
    assert caplog.text.count("evaluated in a loop") == 1


# -- parameters of other kinds


class Marked(nn.Parameter):
    """A parameter by another name."""


class Marking(MLP):
    def __init__(self):
        super().__init__()
        self.b.weight = Marked(self.b.weight.detach())
        self.c.weight.share = 0.1


def decaying(model, batch):
    shares = [1.0 if isinstance(p, Marked) else getattr(p, "share", 0.0) for p in model.parameters()]
    return ce(model, batch) + sum(
        share * p.square().mean() for share, p in zip(shares, model.parameters(), strict=True)
    )


def test_marks_and_subclasses_of_parameters():
    def plainly(model, batch):
        return ce(model, batch) + model.b.weight.square().mean() + 0.1 * model.c.weight.square().mean()

    objective, batch = Objective(made(Marking), decaying, data(), loss_on="batch"), data()
    theta = objective.theta + 0.1
    wanted = right(made(), plainly, batch, objective, theta, torch.ones_like(theta))
    close(objective.value(theta), wanted.value, "value")
    close(objective.gradient(theta), wanted.gradient, "gradient")
    close(objective.hvp(theta, torch.ones_like(theta)), wanted.product, "product")


def test_losses_that_look_up_parameters_or_hooks_of_the_original_are_refused():
    by_id, hooked = made(), made()
    weights = {id(p): 0.1 for p in by_id.parameters()}
    seen = []
    hooked.b.last = seen  # a part of the model, of which the copy has its own
    hooked.b.register_forward_hook(lambda module, inputs, output: seen.append(output))

    def keyed(model, batch):
        return ce(model, batch) + sum(weights[id(p)] * p.square().sum() for p in model.parameters())

    def looking(model, batch):
        seen.clear()
        value = ce(model, batch)
        return value + seen[0].square().mean()

    with pytest.raises(InputError, match=r"found KeyError .*: something knows parameters or modules by identity"):
        Objective(by_id, keyed, data(), loss_on="batch")
    with pytest.raises(InputError, match=r"found IndexError .*what a hook of the original keeps"):
        Objective(hooked, looking, data(), loss_on="batch")


# -- precision, means and batches


def test_convolutions_without_a_gradient_in_their_input_are_no_loss_of_precision(caplog):
    class Cubic(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.head = nn.Conv1d(1, 2, 3), nn.Conv1d(2, 2, 3, padding=1), nn.Linear(4, 3)

        def forward(self, x):
            h = torch.tanh(self.first(x[:, None]))
            return self.head((h + self.second(h) ** 3).flatten(1))

    model = made(Cubic)
    objective = agrees(model, CE, data())
    ordinary(objective, caplog)


def halves(model, batch):
    """A mean over what a mask chooses: as much of each half of sorted data."""
    x, y, kept = batch
    each = F.cross_entropy(model(x), y, reduction="none")
    return (each * kept).sum() / kept.sum()


def test_masks_that_balance_in_equal_halves():
    x, y = data(2000)
    kept = torch.zeros(2000, dtype=torch.float64)
    kept[10:20] = kept[1500:1510] = 1.0  # ten in each half
    objective = Objective(made(), halves, (x, y, kept), loss_on="batch", memory=200_000)
    wanted = right(made(), halves, (x, y, kept), objective, objective.theta, None)
    close(objective.value(objective.theta), wanted.value, "value")
    close(objective.gradient(objective.theta), wanted.gradient, "gradient")


def matched(model, batch):
    """The sum over matched boxes divided by their number, of which most images have none."""
    x, boxes, hit = batch
    error = (model(x) - boxes).abs().sum(1)
    return (error * hit).sum() / hit.sum().clamp(min=1)


def test_rare_denominators():
    x = data(3000)[0]
    boxes, hit = torch.zeros(3000, 3, dtype=torch.float64), torch.zeros(3000, dtype=torch.float64)
    hit[[5, 700, 701, 702, 2999]] = 1.0
    objective = Objective(made(), matched, (x, boxes, hit), loss_on="batch", memory=200_000)
    wanted = right(made(), matched, (x, boxes, hit), objective, objective.theta, None)
    close(objective.value(objective.theta), wanted.value, "value")
    close(objective.gradient(objective.theta), wanted.gradient, "gradient")


def test_batches_with_scalars_beside_rows():
    def loss(model, batch):
        return batch["weight"] * ce(model, (batch["x"], batch["y"]))

    x, y = data(30)
    weights = (1.0, 3.0)
    batches = [
        {"x": x[:20], "y": y[:20], "weight": torch.tensor(weights[0])},
        {"x": x[20:], "y": y[20:], "weight": torch.tensor(weights[1])},
    ]
    model = made()
    objective = Objective(model, loss, batches, loss_on="batch")
    assert (objective.samples, objective.batches.counts) == (30, (20, 10))
    wanted = 20 / 30 * ce(model, (x[:20], y[:20])) + 3 * 10 / 30 * ce(model, (x[20:], y[20:]))
    close(objective.value(objective.theta), wanted.detach(), "value")
    slopes = torch.autograd.grad(wanted, list(model.parameters()))
    close(objective.gradient(objective.theta), torch.cat([one.flatten() for one in slopes]), "gradient")

"""Whether a loss is a mean over samples: what a few samples decide is confirmed on all data, wherever what is rare."""

from __future__ import annotations

import logging

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.objective.plainly import close
from thalweg.errors import InputError
from thalweg.objective import Objective

N = 3000
SMALL = 200_000  # bytes: the data are evaluated in several pieces


def net(outputs: int = 3) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, outputs)).double()


def samples(rare: slice = slice(1000, 1100), rare_class: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs (N, 5), and classes (N,) of which some in a row are of a kind that is nowhere else."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(N, 5, dtype=torch.float64, generator=generator)
    y = torch.randint(2, (N,), generator=generator)
    y[rare] = rare_class
    return x, y


def right(loss, x, y):
    """L of all data in one piece, and its gradient (P,)."""
    model = net()
    value = loss(model(x), y)
    slopes = torch.autograd.grad(value, list(model.parameters()))
    return value.detach(), torch.cat([slope.flatten() for slope in slopes])


def equals_one_pass(objective, loss, x, y):
    value, gradient = right(loss, x, y)
    close(objective.value(objective.theta), value, "value")
    found = objective.value_and_gradient(objective.theta)
    close(found[0], value, "value beside the gradient")
    close(found[1], gradient, "gradient")


def left_out(output, target):
    return F.cross_entropy(output, target, ignore_index=2)


def masked(output, target):
    kept = target != 2
    return F.cross_entropy(output[kept], target[kept])


def masked_sum(output, target):
    each = F.cross_entropy(output, target, reduction="none")
    kept = (target < 2).to(each.dtype)
    return (each * kept).sum() / kept.sum()


def weighted(output, target):
    return F.cross_entropy(output, target, weight=output.new_tensor([1.0, 1.0, 40.0]))


def balanced(output, target):
    """The mean over the classes that are there."""
    each = F.cross_entropy(output, target, reduction="none")
    return torch.stack([each[target == one].mean() for one in target.unique()]).mean()


class Focal(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("weight_of", torch.tensor([1.0, 1.0, 40.0]))

    def forward(self, output, target):
        return F.cross_entropy(output, target, weight=self.weight_of.to(output.dtype))


def root(output, target):
    return F.cross_entropy(output, target).sqrt()


NO_MEANS = (left_out, masked, masked_sum, weighted, balanced, Focal(), root)
NAMES = [getattr(loss, "__name__", "Focal") for loss in NO_MEANS]


@pytest.mark.parametrize("where", [slice(0, 100), slice(1000, 1100), slice(N - 7, N), slice(2001, 2002)])
@pytest.mark.parametrize("loss", NO_MEANS, ids=NAMES)
def test_losses_that_are_no_mean_are_evaluated_in_one_piece(loss, where):
    x, y = samples(where)
    objective = Objective(net(), loss, (x, y), memory=SMALL)
    assert not objective.batches.divisible
    equals_one_pass(objective, loss, x, y)


@pytest.mark.parametrize("loss", NO_MEANS, ids=NAMES)
def test_closures_that_are_no_mean_are_evaluated_in_one_piece(loss):
    x, y = samples()
    objective = Objective(
        net(), lambda model, batch: loss(model(batch[0]), batch[1]), (x, y), loss_on="batch", memory=SMALL
    )
    equals_one_pass(objective, loss, x, y)
    assert not objective.batches.divisible


@pytest.mark.parametrize("closure", [False, True])
@pytest.mark.parametrize("loss", NO_MEANS, ids=NAMES)
def test_few_samples_are_not_cut_either(loss, closure):
    x, y = (part[:40] for part in samples(slice(10, 30)))
    form = (lambda model, batch: loss(model(batch[0]), batch[1])) if closure else loss
    objective = Objective(net(), form, (x, y), loss_on="batch" if closure else "output", memory=4000)
    equals_one_pass(objective, loss, x, y)
    assert not objective.batches.divisible
    assert Objective(net(), nn.CrossEntropyLoss(), (x, y), memory=4000).batches.divisible


@pytest.mark.parametrize("closure", [False, True])
@pytest.mark.parametrize("loss", NO_MEANS, ids=NAMES)
def test_loaders_of_losses_that_are_no_mean_are_warned_of(loss, closure, caplog):
    x, y = samples()
    loader = DataLoader(TensorDataset(x, y), batch_size=250)
    if closure:
        objective = Objective(net(), lambda model, batch: loss(model(batch[0]), batch[1]), loader, loss_on="batch")
    else:
        objective = Objective(net(), loss, loader)
    objective.gradient(objective.theta)
    assert "L is the mean over batches, each weighted by its samples or as `count` says" in caplog.text
    parts = [right(loss, *part) for part in zip(x.split(250), y.split(250), strict=True)]
    close(objective.value(objective.theta), torch.stack([value for value, _ in parts]).mean(), "mean over batches")


@pytest.mark.parametrize("loss", [left_out, masked, balanced, root])
def test_a_loss_that_is_no_mean_is_warned_of_once(loss, caplog):
    objective = Objective(net(), loss, DataLoader(TensorDataset(*samples()), batch_size=250))
    for _ in range(2):
        objective.gradient(objective.theta)
    assert len(caplog.records) == 1


def test_the_numbers_said_are_those_of_a_probe(caplog):
    caplog.set_level(logging.INFO, "thalweg")
    x, y = samples(slice(0, N, 2))  # half of all: the probe has some
    Objective(net(), weighted, (x, y))
    said = next(record.getMessage() for record in caplog.records)
    whole, parts = (float(word) for word in said.split("(")[1].split(" in parts")[0].split(" whole, "))
    assert whole != parts
    assert abs(whole / parts - 1) < 1


@pytest.mark.parametrize("samples_in", [40, 250, 3000])
def test_class_weights_of_torch_in_a_loader(samples_in, caplog):
    x, y = samples()
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 1.0, 40.0], dtype=torch.float64))
    objective = Objective(net(), loss, DataLoader(TensorDataset(x, y), batch_size=samples_in))
    value, gradient = right(loss, x, y)
    found, slope = objective.value_and_gradient(objective.theta)
    if samples_in < N:
        assert "no plain mean over samples" in caplog.text
        assert abs(float(found / value) - 1) > 0.01
    else:
        assert not caplog.records
        close(found, value, "value")
        close(slope, gradient, "gradient")


MEANS = {
    "cross-entropy": nn.CrossEntropyLoss(),
    "smoothed": nn.CrossEntropyLoss(label_smoothing=0.1),
    "a function": lambda output, target: F.cross_entropy(output, target),
    "hinge": lambda output, target: (1 + output - output.gather(1, target[:, None])).relu().mean(),
    "probabilities": lambda output, target: -output.softmax(1).gather(1, target[:, None]).mean(),
    "large": lambda output, target: 1e6 + F.cross_entropy(output, target),
    "near zero": lambda output, target: 1e-12 * F.cross_entropy(output, target),
    "of both signs": lambda output, target: (output[:, 0] * (2.0 * target - 1)).mean(),
    "squares": lambda output, target: (output - F.one_hot(target, 3)).square().mean(),
}


@pytest.mark.parametrize("form", ["tensors", "closure", "loader", "batches", "float32", "in double"])
@pytest.mark.parametrize("case", MEANS)
def test_plain_means_are_cut_and_nothing_is_said(case, form, caplog):
    caplog.set_level(logging.INFO, "thalweg")
    loss, (x, y), options = MEANS[case], samples(), {"memory": SMALL}
    closure = lambda model, batch: loss(model(batch[0]), batch[1])  # noqa: E731
    narrow = form in ("float32", "in double")
    model = net().float() if narrow else net()
    if form == "loader":
        objective = Objective(model, loss, DataLoader(TensorDataset(x, y), batch_size=777))
    elif form == "batches":
        batches = list(zip(x.split(777), y.split(777), strict=True))
        objective = Objective(model, closure, batches, loss_on="batch")
    elif form == "closure":
        objective = Objective(model, closure, (x, y), loss_on="batch", **options)
    else:
        objective = Objective(model, loss, (x.float() if narrow else x, y), **options)
        objective = objective.double() if form == "in double" else objective
    objective.gradient(objective.theta)
    assert not caplog.records
    if form in ("tensors", "closure", "float32", "in double"):
        assert objective.batches.divisible
    if not narrow:
        equals_one_pass(objective, loss, x, y)


@pytest.mark.parametrize("closure", [False, True])
@pytest.mark.parametrize("reduce", [torch.sum, lambda each: 2 * each.sum(), lambda each: each.sum() / 64])
def test_sums_are_refused_with_both_numbers(reduce, closure):
    x, y = samples()

    def loss(output, target):
        return reduce(F.cross_entropy(output, target, reduction="none"))

    form = {"loss_on": "batch"} if closure else {}
    with pytest.raises(InputError, match=r"mean over the batch, found a sum: .* for \d+ samples, .* for the same") as e:
        Objective(net(), (lambda model, batch: loss(model(batch[0]), batch[1])) if closure else loss, (x, y), **form)
    words = str(e.value).split("found a sum: ")[1].split(" for ")
    once, twice = float(words[0]), float(words[1].split(", ")[1])
    assert twice == pytest.approx(2 * once, rel=1e-4)


def test_other_data_are_confirmed_anew():
    x, y = samples(slice(0, 0))
    objective = Objective(net(), masked, (x, y), memory=SMALL)
    assert objective.batches.divisible
    equals_one_pass(objective, masked, x, y)
    other = objective.with_data(samples())
    assert not other.batches.divisible
    equals_one_pass(other, masked, *samples())


def test_samples_that_cannot_be_joined_are_left_as_they_are(caplog):
    """Graphs, say, of which each batch is one: the loss is a mean over nodes."""

    def loss(model, batch):
        return model(batch["nodes"])[batch["edges"]].square().mean()

    sizes = range(5, 75)
    graphs = [
        {"nodes": torch.randn(n, 5, dtype=torch.float64), "edges": torch.randint(n, (2, 3 * n % 11 + 1))} for n in sizes
    ]
    objective = Objective(net(), loss, graphs, loss_on="batch", count=lambda batch: 1)
    model = net()
    wanted = torch.stack([loss(model, graph).detach() for graph in graphs]).mean()
    close(objective.value(objective.theta), wanted, "value")

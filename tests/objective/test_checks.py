"""Losses and data of which plain chunks, weights or pairs are silently wrong: right here, or refused in a sentence."""

from __future__ import annotations

import random

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from tests import reference
from thalweg.errors import InputError
from thalweg.objective import Objective

N = 200
X = torch.linspace(-1, 1, 4 * N, dtype=torch.float64).reshape(N, 4).sin()
CLASSES = torch.arange(N) // 67  # sorted
WEIGHTS = torch.tensor([1.0, 5.0, 0.2], dtype=torch.float64)


def net(outputs: int = 3) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, outputs)).double()


class Tokens(nn.Module):
    """(N, T) -> (N, T, V): classes last."""

    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(7, 4), nn.Linear(4, 7)

    def forward(self, x):
        return self.head(torch.tanh(self.embed(x)))


def own_token_mean(output, target):
    return F.cross_entropy(output.flatten(0, 1), target.flatten())


def padded() -> tuple[torch.Tensor, torch.Tensor]:
    """Sequences of which only a late one is short."""
    tokens = torch.randint(7, (N, 5))
    target = tokens.roll(-1, 1).clone()
    target[-30:, 2:] = -100
    return tokens, target


def equals_one_pass(objective: Objective, loss: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
    theta = objective.theta
    value, gradient = objective.value_and_gradient(theta)
    expected = reference.value_and_gradient(reference.loss_function(objective.module(theta), loss, [(x, y)]), theta)
    torch.testing.assert_close(value, expected[0], rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient, expected[1], rtol=1e-10, atol=1e-13)


def test_class_weights_on_sorted_data():
    loss = nn.CrossEntropyLoss(weight=WEIGHTS)
    model = net()
    nn.init.zeros_(model[2].weight)  # all samples have the same loss: no probe at this θ sees the weights
    nn.init.zeros_(model[2].bias)
    for function in (loss, lambda output, target: F.cross_entropy(output, target, weight=WEIGHTS)):
        made = Objective(model, function, (X, CLASSES), memory=20_000)
        equals_one_pass(made, loss, X, CLASSES)
        theta = made.initial()
        whole = Objective(model, function, (X, CLASSES)).value(theta)
        torch.testing.assert_close(made.value(theta), whole, rtol=1e-12, atol=0)


def test_another_order_measures_rounding_also_where_data_are_kept_in_one_piece():
    made = Objective(net(), nn.CrossEntropyLoss(weight=WEIGHTS), (X, CLASSES))
    first, second = made.hessian(made.theta), made.permuted(1).hessian(made.theta)
    assert not torch.equal(first, second)
    torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("form", ["tensors", "counted", "list", "batches", "loader"])
def test_a_mean_over_tokens_is_that_over_all_tokens(form):
    x, y = padded()
    model = nn.Sequential(Tokens(), Transposed()).double()
    loss = nn.CrossEntropyLoss()
    parts = list(zip(x.split(50), y.split(50), strict=True))
    made = {
        "tensors": lambda: Objective(model, loss, (x, y), memory=20_000),
        "counted": lambda: Objective(model, loss, (x, y), memory=20_000, count=lambda batch: (batch[1] >= 0).sum()),
        "list": lambda: Objective(model, loss, parts),
        "batches": lambda: Objective(model, loss, (x, y), batch_size=50),
        "loader": lambda: Objective(model, loss, DataLoader(TensorDataset(x, y), 50), memory=64),
    }[form]()
    equals_one_pass(made, loss, x, y)
    kept = y != -100
    with torch.no_grad():
        hits = (model(x).argmax(1) == y)[kept].double().mean()
    torch.testing.assert_close(made.metrics(made.theta)["accuracy"], hits)
    if form == "batches":
        assert made.samples == N  # rows, which subsets and trainings choose from


class Transposed(nn.Module):
    def forward(self, x):
        return x.transpose(1, 2)


def test_batches_that_a_loss_of_its_own_weighs_otherwise_are_said(caplog):
    model, (x, y) = Tokens().double(), padded()
    parts = list(zip(x.split(50), y.split(50), strict=True))
    assert not Objective(model, own_token_mean, parts[:1]).batches.divisible
    ragged = [(x[:100], y[:100]), (x[100:].flip(0), y[100:].flip(0))]
    with caplog.at_level("WARNING", logger="thalweg"):
        Objective(model, own_token_mean, ragged[:1])
        assert not caplog.text  # one batch: no weights
        Objective(model, own_token_mean, ragged[::-1])
    assert "no plain mean over samples" in caplog.text


@pytest.mark.parametrize("options", [{}, {"batch_size": 50}])
@pytest.mark.parametrize("form", [tuple, lambda data: [data], lambda data: DataLoader(TensorDataset(*data), 50)])
def test_a_sum_is_refused_in_whatever_form_the_data_come(form, options):
    with pytest.raises(InputError, match="mean over the batch, found a sum"):
        Objective(net(), nn.CrossEntropyLoss(reduction="sum"), form((X, CLASSES)), **options)


@pytest.mark.parametrize(
    "loss",
    [nn.L1Loss(), nn.HuberLoss(), lambda output, target: ((output - target) ** 2).mean()],
    ids=["L1", "Huber", "lambda"],
)
@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("form", [tuple, lambda data: [data]])
def test_outputs_compared_with_all_targets_are_refused(loss, form):
    with pytest.raises(InputError, match=r"found targets \(\d+,\) and outputs \(\d+, 1\), each compared with all"):
        Objective(net(1), loss, form((X, X[:, 0])))


def test_a_loss_that_brings_shapes_together_itself_is_fine():
    for loss in (
        lambda output, target: (output[:, 0] - target).abs().mean(),
        lambda output, target: F.mse_loss(output, target[:, None]),
        lambda output, _: output.square().mean(),
    ):
        model = net(1)
        objective = Objective(model, loss, (X, X[:, 0]))
        torch.testing.assert_close(objective.value(objective.theta), loss(model(X), X[:, 0]).detach())
    ones, model = torch.ones(N, dtype=torch.float64), net(1)  # targets whose order cannot matter
    objective = Objective(model, lambda output, target: (output[:, 0] - target).abs().mean(), (X, ones))
    torch.testing.assert_close(objective.value(objective.theta), (model(X)[:, 0] - 1).abs().mean().detach())


def test_random_numbers_are_found_where_two_evaluations_agree():
    class Rare(nn.Module):
        def __init__(self, draw):
            super().__init__()
            self.net, self.draw = net(), draw

        def forward(self, x):
            return self.net(x) if self.draw() > 1e-9 else 0 * self.net(x)

    for draw in (lambda: torch.rand(()), random.random):
        with pytest.raises(InputError, match=r"forward pass that draws random numbers: .*dropout"):
            Objective(Rare(draw), nn.CrossEntropyLoss(), (X, CLASSES))

    def fixed():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return torch.rand(())

    Objective(Rare(fixed), nn.CrossEntropyLoss(), (X, CLASSES))  # deterministic all the same


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = net()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return self.net(x) * self.calls


def test_buffers_written_by_the_forward_pass_never_accumulate_in_what_is_made_from_the_objective():
    made = Objective(Counting().float(), nn.CrossEntropyLoss(), (X.float(), CLASSES))
    for other in (made.double(), made.with_buffers({"calls": torch.ones(())}), made.with_data((X.float(), CLASSES))):
        theta = other.theta
        assert torch.equal(other.value(theta), other.value(theta))


def test_a_hessian_that_misses_what_a_forward_pass_computes_into_buffers_is_refused():
    torch.manual_seed(3)
    layer = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 8).double())
    model = nn.Sequential(layer, nn.Tanh(), nn.Linear(8, 3).double())
    made = Objective(model, nn.CrossEntropyLoss(), (X, CLASSES))
    theta = made.theta + 0.3
    assert torch.equal(made.value(theta), made.value_and_gradient(theta)[0])
    with pytest.raises(InputError, match=r"gradient that is that of L .* computes buffers from theta"):
        made.hvp(theta, theta)
    frozen = Objective(model.eval(), nn.CrossEntropyLoss(), (X, CLASSES))
    v = torch.randn(frozen.size, dtype=torch.float64)
    slope = reference.central_difference(frozen.gradient, theta, v)
    torch.testing.assert_close(frozen.hvp(theta, v), slope, rtol=1e-5, atol=1e-7)


def test_a_model_that_writes_into_its_parameters_is_refused():
    model = nn.Sequential(nn.Embedding(7, 4, max_norm=0.5), nn.Flatten(), nn.Linear(8, 3))
    with pytest.raises(InputError, match=r"must not write into its parameters, .*max_norm"):
        Objective(model, nn.CrossEntropyLoss(), (torch.randint(7, (20, 2)), torch.randint(3, (20,))))


def test_an_empty_batch_is_named():
    with pytest.raises(InputError, match=r"data\[1\] must hold at least one sample that counts, found 0"):
        Objective(net(), nn.CrossEntropyLoss(), [(X, CLASSES), (X[:0], CLASSES[:0])])


class Augmented(TensorDataset):
    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return x + torch.randn_like(x), y


def test_data_that_change_are_refused_also_where_they_are_held():
    data = Augmented(X, CLASSES)
    for form in (data, DataLoader(data, 32), DataLoader(data, 32, shuffle=True)):
        with pytest.raises(InputError, match=r"samples change between passes \(augmentation\)"):
            Objective(net(), nn.CrossEntropyLoss(), form)
    with pytest.raises(InputError, match="leaves out 8 of 200 samples: make it with drop_last=False"):
        Objective(net(), nn.CrossEntropyLoss(), DataLoader(TensorDataset(X, CLASSES), 32, drop_last=True))
    one_draw = list(DataLoader(data, 32))
    Objective(net(), nn.CrossEntropyLoss(), one_draw)


class Stream(IterableDataset):
    def __iter__(self):
        return iter(zip(X, CLASSES, strict=True))


@pytest.mark.parametrize("memory", [64, 2**30])
def test_reading_moves_no_generator(memory):
    own = torch.Generator().manual_seed(1)
    data = TensorDataset(X, CLASSES)
    loaders = {
        "plain": DataLoader(data, 32, shuffle=True),
        "own": DataLoader(data, 32, shuffle=True, generator=own),
        "stream": DataLoader(Stream(), 32),
        "workers": DataLoader(data, 100, shuffle=True, num_workers=1),
    }
    expected = Objective(net(), nn.CrossEntropyLoss(), (X, CLASSES))
    for name, loader in loaders.items():
        state, owned = torch.get_rng_state(), own.get_state()
        made = Objective(expected.module(expected.theta), nn.CrossEntropyLoss(), loader, memory=memory)
        value = made.value(made.theta)
        assert torch.equal(state, torch.get_rng_state()), name
        assert torch.equal(owned, own.get_state()), name
        torch.testing.assert_close(value, expected.value(expected.theta), rtol=1e-12, atol=0)


def test_accuracy_knows_the_axis_of_the_classes():
    x, y = padded()
    x, y = x[:50], y[:50]
    model = Tokens().double()
    made = Objective(model, own_token_mean, (x, y))
    torch.testing.assert_close(made.metrics(made.theta)["accuracy"], (model(x).argmax(2) == y).double().mean())
    # As many classes as tokens: the axis cannot be told; one score: there are no classes.
    assert (
        Objective(Tokens().double(), own_token_mean, (x.repeat(1, 2)[:, :7], y.repeat(1, 2)[:, :7])).metric_functions
        == {}
    )
    loss = lambda output, target: F.binary_cross_entropy_with_logits(output[:, 0], (target > 0).to(output.dtype))  # noqa: E731
    assert Objective(net(1), loss, (X, CLASSES)).metric_functions == {}

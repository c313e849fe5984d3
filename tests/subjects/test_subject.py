"""A subject gives the objective that its parts give by hand, fresh weights by seed, and a test set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from thalweg import InputError, Objective, Subject
from thalweg.objective.seeds import replica_seed

X, Y = torch.randn(30, 4, generator=torch.Generator().manual_seed(0)), torch.arange(30) % 3
VALUES = X[:, 0] * X[:, 1]


class Net(nn.Module):
    """A free parameter that no `reset_parameters` draws, and a choice of width."""

    def __init__(self, width: int = 5, outputs: int = 3) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.randn(width))
        self.first, self.last = nn.Linear(4, width), nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.first(x) + self.shift))


class Records(Dataset[dict[str, Tensor]]):
    def __len__(self) -> int:
        return 30

    def __getitem__(self, place: int) -> dict[str, Tensor]:
        return {"left": X[place, :2], "right": X[place, 2:], "class": Y[place]}


def test_objective_is_the_one_made_by_hand() -> None:
    subject = Subject(Net, (X, Y), model_args={"width": 7})
    objective = subject.objective(dtype=torch.float64, l2=0.1)
    by_hand = Objective(Net(7), nn.CrossEntropyLoss(), (X, Y), dtype=torch.float64, l2=0.1)
    theta = by_hand.theta
    assert torch.equal(objective.value(theta), by_hand.value(theta))
    assert torch.equal(objective.metrics(theta)["accuracy"], by_hand.metrics(theta)["accuracy"])


def test_replica_7_of_10_is_replica_7_alone_and_a_plain_call_under_its_seed() -> None:
    objective = Subject(Net, (X, Y)).objective()
    theta = objective.initial(10, seed=3)
    assert torch.equal(theta[7], objective.initial(1, seed=3, first=7)[0])
    torch.manual_seed(replica_seed(3, 7, "init"))
    assert torch.equal(theta[7], objective.ravel(Net()))
    assert torch.equal(theta[7], objective.ravel(Subject(Net, (X, Y)).module(3, replica=7)))


def test_a_module_keeps_its_own_weights_and_is_not_changed() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5))
    before = [p.clone() for p in net.parameters()]
    objective = Subject(net, (X, Y)).objective()
    assert torch.equal(objective.theta, objective.ravel(net))
    assert net.training
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


@pytest.mark.parametrize(
    ("data", "kind", "samples", "test"),
    [
        ((X, Y), "classification", 30, False),
        ((X.numpy(), VALUES.numpy()), "regression", 30, False),
        (((X, Y), (X[:9], Y[:9])), "classification", 30, True),
        ({"train": (X, Y), "test": (X[:9], Y[:9])}, "classification", 30, True),
        ((TensorDataset(X, Y), TensorDataset(X[:9], Y[:9])), "classification", 30, True),
        (DataLoader(TensorDataset(X, Y), batch_size=8, shuffle=True), "classification", 30, False),
        (
            (DataLoader(TensorDataset(X, Y), batch_size=8), DataLoader(TensorDataset(X, Y), 7)),
            "classification",
            30,
            True,
        ),
        (lambda: (X, Y[:, None]), "classification", 30, False),
        (lambda: ((X[:, :2], X[:, 2:]), Y), "classification", 30, False),
        (Records(), "other", 30, False),
        ({"x": X, "y": Y}, "other", 30, False),
        ([{"x": X[:20], "y": Y[:20]}, {"x": X[20:], "y": Y[20:]}], "other", 30, False),
    ],
)
def test_data_of_many_kinds(data: Any, kind: str, samples: int, test: bool) -> None:
    task = Subject(Net, data).task()
    assert (task.kind, task.samples, task.test is not None) == (kind, samples, test)


def test_shuffled_loaders_are_read_in_one_order() -> None:
    data = DataLoader(TensorDataset(X, Y), batch_size=8, shuffle=True)
    assert Subject(Net, data).task().checksum == Subject(Net, data).task().checksum


@pytest.mark.parametrize(
    ("name", "outputs", "target", "by_hand"),
    [
        ("huber", 1, VALUES, lambda out: F.huber_loss(out[:, 0], VALUES)),
        ("mse", 3, Y, lambda out: (out - F.one_hot(Y, 3)).square().mean()),
        ("l1", 3, Y, lambda out: (out - F.one_hot(Y, 3)).abs().mean()),
        ("bce", 1, Y % 2, lambda out: F.binary_cross_entropy_with_logits(out[:, 0], (Y % 2).float())),
        ("cross-entropy", 3, Y, lambda out: F.cross_entropy(out, Y)),
        ("auto", 1, VALUES, lambda out: F.mse_loss(out[:, 0], VALUES)),
    ],
)
def test_losses_by_name(name: str, outputs: int, target: Tensor, by_hand: Callable[[Tensor], Tensor]) -> None:
    objective = Subject(Net, (X, target), name, model_args={"outputs": outputs}).objective()
    net = objective.module(objective.theta)
    torch.testing.assert_close(objective.value(objective.theta), by_hand(net(X)).detach())


def test_accuracy_of_one_output_is_the_share_on_the_right_side() -> None:
    subject = Subject(Net, (X, Y % 2), "bce", model_args={"outputs": 1})
    objective = subject.objective()
    right = ((objective.outputs(objective.theta)[:, 0] > 0).long() == Y % 2).float().mean()
    torch.testing.assert_close(objective.metrics(objective.theta)["accuracy"], right)


def test_loss_on_model_and_batch() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = Net()

        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            return self.layers(torch.cat([left, right], 1))

    def loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(model(batch["left"], batch["right"]), batch["class"])

    def hits(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return (model(batch["left"], batch["right"]).argmax(1) == batch["class"]).float().mean()

    objective = Subject(Two, Records(), loss, hits).objective()
    net = objective.module(objective.theta)
    found = objective.metrics(objective.theta)
    torch.testing.assert_close(found["loss"], F.cross_entropy(net(X[:, :2], X[:, 2:]), Y).detach())
    torch.testing.assert_close(found["hits"], (net(X[:, :2], X[:, 2:]).argmax(1) == Y).float().mean())


def test_metrics_stand_beside_the_accuracy() -> None:
    def sure(output: Tensor, target: Tensor) -> Tensor:
        return output.softmax(1).amax(1).mean()

    objectives = Subject(Net, ((X, Y), (X[:9], Y[:9])), metrics=sure).objectives()
    assert {name: sorted(one.metrics(one.theta)) for name, one in objectives.items()} == {
        "train": ["accuracy", "loss", "sure"],
        "test": ["accuracy", "loss", "sure"],
    }


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"model": 3}, "model must be a class or function that makes a module, found 3"),
        ({"model": lambda: 3}, "model model must return a torch.nn.Module, found int"),
        ({"model": Net(), "model_args": {"width": 3}}, "model.args goes with a class or function, found a module and"),
        (
            {"model_args": {"wide": 3}},
            "model arguments must fit Net: Net.__init__() got an unexpected keyword argument",
        ),
        ({"data": None}, "data must be given, found None"),
        ({"data": "text"}, "train data must hold tensors or arrays, found 'text'"),
        ({"data": (X[:0], Y[:0])}, "train data must not be empty, found 0 samples"),
        ({"data": (X[:, :3], Y)}, "model, data and loss do not fit together: RuntimeError: "),
        (
            {"data": ((X, Y), (X, VALUES))},
            "train and test data must be of one kind, found classification and regression",
        ),
        ({"data": (X, Y * 2)}, "data targets must be class numbers from 0 to 2 for outputs"),
        (
            {"data": (X, VALUES), "loss": "cross-entropy"},
            "loss must be mse or auto for a task whose targets are values",
        ),
        ({"data": {"x": X, "y": Y}}, "loss must be one of your own for data that are no pairs of inputs and targets"),
        ({"loss": "crossentropy"}, "found 'crossentropy', did you mean 'cross-entropy'?"),
        ({"loss": 3}, "loss must be a function of (outputs, targets) or (model, batch), found 3"),
        ({"metrics": {"a": 3}}, "metrics must be a function, or functions by name, found 3"),
        ({"model": nn.Sequential(nn.Linear(4, 3), nn.Dropout()).train()}, None),
    ],
)
def test_refusals(arguments: dict[str, Any], sentence: str | None) -> None:
    if sentence is None:
        Subject(**{"model": Net, "data": (X, Y)} | arguments).objective()
        return
    with pytest.raises(InputError) as refused:
        Subject(**{"model": Net, "data": (X, Y)} | arguments).objective()
    assert sentence in str(refused.value)


class Unready(nn.Module):
    """A module without a rule for its parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(4, 3))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


def test_a_module_without_reset_parameters_is_named() -> None:
    with pytest.raises(InputError, match="no reset_parameters of the model draws 'weight' anew"):
        Subject(Unready(), (X, Y)).objective().initial(2)


def test_a_function_whose_modules_differ_is_refused() -> None:
    sizes = iter(range(3, 100))
    with pytest.raises(InputError, match="shape"):
        Subject(lambda: Net(next(sizes)), (X, Y)).objective().initial(2)

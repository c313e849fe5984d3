"""Data in unusual containers: objects keyed by name, records of texts, containers in themselves, only padding."""

from __future__ import annotations

import types
from collections import ChainMap, OrderedDict, UserDict, UserList, deque
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from tests.objective.plainly import CE, ce, close, data, made, right
from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.training import Recipe, train

N = 20
X, Y = data(N)


def named(model, batch):
    return F.cross_entropy(model(batch["x"]), batch["y"])


class ByNumber:
    """Nothing but samples by number."""

    def __getitem__(self, index):
        return {"x": X[index], "y": Y[index]}

    def __len__(self):
        return N


class ByName:
    """Nothing but entries by name: one batch."""

    def __init__(self):
        self.inside = {"x": X, "y": Y}

    def __getitem__(self, name):
        return self.inside[name]

    def __len__(self):
        return len(self.inside)


class ByNameIterable(ByName):
    def __iter__(self):
        return iter(self.inside)


@pytest.mark.parametrize(("kind", "cut"), [(ByNumber, True), (ByName, False), (ByNameIterable, False)])
def test_objects_with_entries_and_a_length(kind, cut):
    model = made()
    objective, plain = Objective(model, named, kind(), loss_on="batch"), Objective(model, CE, (X, Y))
    assert (objective.samples, objective.batches.indexable) == (N, cut)
    close(objective.gradient(plain.theta), plain.gradient(plain.theta), "gradient")


def test_an_object_without_tensors_is_named():
    class Empty(ByName):
        def __init__(self):
            self.inside = {"x": "text"}

    with pytest.raises(InputError, match=r"data must be tensors, a Dataset, .* found Empty"):
        Objective(made(), named, Empty(), loss_on="batch")


def held(container: Any, add: Any) -> Any:
    add(container)
    return container


ENDLESS = {
    "dict": lambda: held({"x": X, "y": Y}, lambda c: c.update(me=c)),
    "list in a batch": lambda: [held([X, Y], lambda c: c.append(c))],
    "deque": lambda: {"x": X, "y": Y, "d": held(deque([X]), lambda c: c.append(c))},
    "tuple": lambda: held([X], lambda c: c.append((Y, c))),
    "texts": lambda: {"x": X, "y": Y, "note": held({"t": ["a"] * N}, lambda c: c.update(me=c))},
    "a sample": lambda: Samples(),
}


class Samples(ByNumber):
    def __getitem__(self, index):
        return held({"x": X[index], "y": Y[index]}, lambda c: c.update(me=c))


@pytest.mark.parametrize("kind", ENDLESS)
def test_containers_that_hold_themselves(kind):
    with pytest.raises(InputError, match="data must end somewhere, found a container that holds itself"):
        Objective(made(), named, ENDLESS[kind](), loss_on="batch")


class Listed(list):
    """A list by another name."""


@pytest.mark.parametrize("kind", [list, Listed])
@pytest.mark.parametrize(("loss", "on"), [(ce, "batch"), (CE, "output")])
def test_a_list_of_tensors_that_belong_together_is_named(kind, loss, on):
    for pair in (kind([X, Y]), kind([X.numpy(), Y.numpy()]), kind([X, X[:, 0]])):
        with pytest.raises(InputError, match=rf"\(a list holds batches\), found a {kind.__name__} of tensors"):
            Objective(made(), loss, pair, loss_on=on)


def test_a_list_subclass_is_a_list_of_batches_and_a_batch():
    model = made()
    plain = Objective(model, CE, (X, Y))
    for form in (Listed([(X, Y)]), [Listed([X, Y])]):
        objective = Objective(model, CE, form)
        close(objective.gradient(plain.theta), plain.gradient(plain.theta), "gradient")


# -- texts in records


@dataclass(frozen=True)
class Record:
    files: Any
    scale: float = 2.0


class Pair(NamedTuple):
    files: Any
    scale: float


TEXTS = {
    "namespace": lambda names: types.SimpleNamespace(files=names),
    "frozen": Record,
    "named tuple": lambda names: Pair(names, 2.0),
    "UserDict": lambda names: UserDict(files=names),
    "ordered": lambda names: OrderedDict(files=names),
    "chained": lambda names: ChainMap({"files": names}),
    "deep": lambda names: Record([types.SimpleNamespace(files=names)]),
    "deque": lambda names: Record(deque(names)),
    "UserList": lambda names: Record(UserList(names)),
}


def files(entry: Any) -> Any:
    found = entry["files"] if isinstance(entry, dict | UserDict | ChainMap) else entry.files
    return found[0].files if len(found) == 1 and hasattr(found[0], "files") else found


@pytest.mark.parametrize("kind", TEXTS)
def test_texts_in_records_stay_beside_their_samples(kind):
    texts = [f"{value:.12g}" for value in X[:, 0].tolist()]

    def loss(model, batch):
        assert [float(one) for one in files(batch["meta"])] == pytest.approx(batch["x"][:, 0].tolist(), rel=1e-9)
        return named(model, batch)

    meta = TEXTS[kind](texts)
    objective = Objective(made(), loss, {"x": X, "y": Y, "meta": meta}, loss_on="batch")
    part = torch.tensor([7, 2, 11])
    plain = Objective(made(), CE, (X[part], Y[part]))
    close(objective.subset(part).value(objective.theta), plain.value(plain.theta), "value of a subset")
    assert objective.permuted(1).value(objective.theta).isfinite()
    assert list(files(meta)) == texts


def test_records_without_a_text_for_each_sample_stay_what_they_are():
    meta = types.SimpleNamespace(names=["a", "b"], inside=Record(["c"]))
    objective = Objective(made(), named, {"x": X, "y": Y, "meta": meta}, loss_on="batch")
    assert objective.batches.held[0]["meta"] is meta


# -- batches of nothing but padding


def padded() -> tuple[Tensor, Tensor]:
    x, y = data(30)
    y[10:20] = -100
    return x, y


def forms(x: Tensor, y: Tensor) -> dict[str, Any]:
    batches = [(x[i : i + 10], y[i : i + 10]) for i in (0, 10, 20)]
    loader = DataLoader(TensorDataset(x, y), 10)
    return {
        "list": (batches, {}),
        "padding first": ([batches[1], batches[0], batches[2]], {}),
        "loader": (loader, {}),
        "read anew": (loader, {"memory": 1000}),
        "cut": ((x, y), {"batch_size": 10}),
        "dataset": (TensorDataset(x, y), {}),
    }


@pytest.mark.parametrize("form", forms(*padded()))
def test_batches_of_nothing_but_padding_have_no_part_in_l(form):
    (x, y), model = padded(), made()
    batches, options = forms(x, y)[form]
    objective = Objective(model, CE, batches, **options)
    wanted = right(model, CE, (x, y), objective, objective.theta, objective.theta)
    close(objective.value(objective.theta), wanted.value, "value")
    close(objective.gradient(objective.theta), wanted.gradient, "gradient")
    close(objective.hvp(objective.theta, objective.theta), wanted.product, "product")
    if not objective.batches.indexable:
        steps = train(objective, objective.theta, Recipe(lr=0.01, epochs=2)).snapshots
        assert bool(steps[-1].isfinite().all())
        assert objective.samples == 20


def test_nothing_but_padding_at_all_and_no_samples_at_all_are_refused():
    x, y = data(10)
    nothing = torch.full_like(y, -100)
    for form in ((x, nothing), [(x, nothing)], DataLoader(TensorDataset(x, nothing), 5)):
        with pytest.raises(InputError, match="at least one sample that counts, found only padding"):
            Objective(made(), CE, form)
    with pytest.raises(InputError, match=r"data\[1\] must hold at least one sample that counts, found 0"):
        Objective(made(), CE, [(x, y), (x[:0], y[:0])])
    with pytest.raises(InputError, match=r"data\[0\] must hold at least one sample that counts, found -1"):
        Objective(made(), CE, [(x, y)], count=lambda batch: -1)

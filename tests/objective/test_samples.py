"""Texts, names and numbers beside tensors stay with their samples: cut, picked, in minibatches, in datasets."""

from __future__ import annotations

from collections import OrderedDict, UserDict
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import DataLoader, Dataset

from thalweg import Recipe, train
from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.objective.containers import Column
from thalweg.objective.samples import collated, columned, cut, joined, sample_count, taken

N = 300
NAMES = [f"image-{i}" for i in range(N)]


class Samples(Dataset):
    """Makes sample i by a function."""

    def __init__(self, make, length=N):
        self.make, self.length = make, length

    def __len__(self):
        return self.length

    def __getitem__(self, i):
        return self.make(i)


@dataclass
class Sample:
    """A sample with names."""

    x: Tensor
    label: int
    file: str


class Named(NamedTuple):
    """A sample with names that is a tuple."""

    x: Tensor
    label: int
    file: str


def weight(name: str) -> float:
    """What only the name says of a sample."""
    return 0.5 + int(name.rpartition("-")[2]) % 7


def named(model, batch):
    """A mean whose weights come from the names: wrong as soon as one stands beside another sample."""
    get = batch.get if hasattr(batch, "get") else (lambda name: getattr(batch, name))
    x, names = get("x"), get("file")
    assert len(names) == len(x)
    weights = torch.tensor([weight(name) for name in names], dtype=x.dtype)
    return (F.cross_entropy(model(x), get("label"), reduction="none") * weights).mean()


def data():
    x, y = torch.randn(N, 4), torch.randint(0, 3, (N,))
    return x, y, torch.tensor([weight(name) for name in NAMES])


def right(model, x, y, w):
    def loss(m, batch):
        return (F.cross_entropy(m(batch["x"]), batch["y"], reduction="none") * batch["w"]).mean()

    return Objective(model, loss, {"x": x, "y": y, "w": w}, loss_on="batch")


SAMPLES = {
    "dict": lambda x, y, i: {"file": NAMES[i], "x": x[i], "label": int(y[i]), "no": None, "shape": (3, 4)},
    "UserDict": lambda x, y, i: UserDict(file=NAMES[i], x=x[i], label=y[i]),
    "ordered": lambda x, y, i: OrderedDict(file=NAMES[i], x=x[i].numpy(), label=np.int64(y[i])),
    "dataclass": lambda x, y, i: Sample(x[i], int(y[i]), NAMES[i]),
    "named tuple": lambda x, y, i: Named(x[i], int(y[i]), NAMES[i]),
}


@pytest.mark.parametrize("kind", SAMPLES)
@pytest.mark.parametrize("batch_size", [None, 64])
def test_a_dataset_with_names_is_what_its_tensors_are(kind, batch_size):
    x, y, w = data()
    model = nn.Linear(4, 3)
    found = Objective(
        model, named, Samples(lambda i: SAMPLES[kind](x, y, i)), loss_on="batch", batch_size=batch_size, memory=2**14
    )
    held = Objective(model, named, Samples(lambda i: SAMPLES[kind](x, y, i)), loss_on="batch", batch_size=batch_size)
    plain = right(model, x, y, w)
    theta = plain.initial(3)
    for one in (found, held):
        assert one.samples == N
        assert torch.allclose(one.value(theta), plain.value(theta))
        assert torch.allclose(one.gradient(theta), plain.gradient(theta), atol=1e-6)
        assert torch.allclose(one.hessian(theta[0]), plain.hessian(theta[0]))
        assert torch.allclose(one.permuted(3).value(theta), plain.value(theta))
    ways = [train(one, theta, Recipe(steps=4, batch_size=32), seed=2).snapshots[-1] for one in (held, plain)]
    assert torch.allclose(*ways, atol=1e-6)
    part = torch.tensor([7, 3, 299, 0])
    assert torch.allclose(held.subset(part).value(theta), plain.subset(part).value(theta))


TENSORS = {
    "list of names": lambda x, y: {"x": x, "label": y, "file": NAMES},
    "tuple of names": lambda x, y: {"x": x, "label": y, "file": tuple(NAMES), "scale": 2.0, "no": None},
    "array of names": lambda x, y: {"x": x.numpy(), "label": y.numpy(), "file": np.array(NAMES)},
    "list of labels": lambda x, y: Sample(x, y.tolist(), NAMES),
}


@pytest.mark.parametrize("kind", TENSORS)
def test_names_beside_tensors_are_cut_and_picked_with_them(kind):
    x, y, w = data()
    model = nn.Linear(4, 3)
    found = Objective(model, named, TENSORS[kind](x, y), loss_on="batch", memory=2**13)
    plain = right(model, x, y, w)
    theta = plain.initial(3)
    assert found.evaluation.plan(3, 1).samples < N  # the data are cut
    assert torch.allclose(found.gradient(theta), plain.gradient(theta), atol=1e-6)
    ways = [train(one, theta, Recipe(steps=4, batch_size=32), seed=2).snapshots[-1] for one in (found, plain)]
    assert torch.allclose(*ways, atol=1e-6)


def test_a_model_may_read_texts():
    class Letters(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(26, 3)

        def forward(self, texts):
            assert all(isinstance(text, str) for text in texts)
            return self.head(torch.stack([letters(text) for text in texts]).to(self.head.weight))

    def letters(text):
        return torch.bincount(torch.tensor([ord(letter) - 97 for letter in text]), minlength=26)

    texts, y = ["abc", "hello", "zz", "q", "lm", "no"], torch.tensor([0, 1, 2, 2, 1, 0])
    model = Letters()
    counts = torch.stack([letters(text) for text in texts]).float()
    plain = Objective(nn.Sequential(OrderedDict(head=model.head)), nn.CrossEntropyLoss(), (counts, y))
    loader = DataLoader(Samples(lambda i: (texts[i], y[i]), 6), batch_size=4)
    for given in ((texts, y), Samples(lambda i: (texts[i], y[i]), 6), loader, [(tuple(texts), y)]):
        found = Objective(model, nn.CrossEntropyLoss(), given)
        assert torch.allclose(found.gradient(found.theta), plain.gradient(plain.theta), atol=1e-7)
        assert torch.allclose(found.hessian(found.theta), plain.hessian(plain.theta))


def test_constants_beside_tensors_reach_every_replica():
    x, y, _ = data()
    model = nn.Linear(4, 3)

    def loss(m, batch):
        assert batch["no"] is None
        return F.cross_entropy(m(batch["x"]) / batch["temperature"], batch["y"], label_smoothing=batch["set"]["smooth"])

    beside = {"temperature": 2.0, "no": None, "set": {"smooth": 0.1, "words": ["a", "b"]}}
    found = Objective(model, loss, {"x": x, "y": y, **beside}, loss_on="batch")
    theta = found.initial(3)
    ways = [
        train(one, theta, Recipe(steps=4, batch_size=32), seed=2).snapshots[-1]
        for one in (
            found,
            Objective(model, lambda m, b: loss(m, {"x": b[0], "y": b[1], **beside}), (x, y), loss_on="batch"),
        )
    ]
    assert torch.equal(*ways)


def test_what_gives_samples_by_number_is_a_dataset():
    class Table:
        """A table of another library: no torch Dataset, with tensors inside."""

        def __init__(self, x, y):
            self.x, self.y = x, y

        def __len__(self):
            return len(self.x)

        def __getitem__(self, i):
            if not 0 <= i < len(self):
                raise IndexError(i)
            return {"x": self.x[i], "label": self.y[i], "file": NAMES[i]}

    x, y, w = data()
    found = Objective(model := nn.Linear(4, 3), named, Table(x, y), loss_on="batch")
    plain = right(model, x, y, w)
    assert found.samples == N
    assert found.batches.indexable
    assert torch.allclose(found.gradient(found.theta), plain.gradient(plain.theta), atol=1e-6)


# -- the pieces


def test_cut_and_taken_and_joined_keep_entries_with_their_rows():
    batch = columned({"x": torch.arange(5), "deep": ([*"abcde"], "word"), "pair": ["a", "b"]}, 5)
    assert type(batch["deep"][0]) is Column
    assert type(batch["pair"]) is list  # two entries, five samples
    part = cut(batch, slice(1, 3))
    assert part["x"].tolist() == [1, 2]
    assert part["deep"] == (["b", "c"], "word")
    index = torch.tensor([[4, 0], [1, 1]])
    assert taken(batch, index)["x"].tolist() == index.tolist()
    assert taken(batch, index)["deep"][0] == [["e", "a"], ["b", "b"]]
    whole = joined([part, batch])
    assert whole["x"].tolist() == [1, 2, 0, 1, 2, 3, 4]
    assert whole["deep"][0] == [*"bcabcde"]


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("make", [Tensor.to_sparse, Tensor.to_sparse_csr, lambda x: pack_sequence([x])])
def test_what_has_no_rows_is_never_cut(make):
    with pytest.raises(InputError, match="data must be dense tensors to be cut"):
        cut((make(torch.eye(3)), torch.zeros(3)), slice(0, 2))
    sparse = {"a": torch.eye(4).to_sparse(), "y": torch.zeros(4)}
    assert sample_count(sparse) == 4
    with pytest.raises(InputError, match="batch_size must be left out for sparse"):
        Objective(nn.Linear(4, 1), lambda m, b: m(b["y"]).mean(), sparse, loss_on="batch", batch_size=2)


def test_samples_are_put_together_as_a_loader_does():
    samples = [
        {"x": torch.full((2,), float(i)), "n": i, "f": i / 3, "b": i > 1, "a": np.full(2, i, np.int16), "t": (i, "s")}
        for i in range(4)
    ]
    ours, theirs = collated(samples), torch.utils.data.default_collate(samples)
    for name in ("x", "n", "f", "b", "a"):
        assert ours[name].dtype == theirs[name].dtype
        assert torch.equal(ours[name], theirs[name])
    assert torch.equal(ours["t"][0], theirs["t"][0])
    assert ours["t"][1] == list(theirs["t"][1])


REFUSED = {
    "other lengths": (lambda i: (torch.zeros(i + 1), 0), "samples of one shape, found others"),
    "another length later": (lambda i: (torch.zeros(2 if i < 256 else 3), 0), "samples of one shape, found others"),
    "other entries": (
        lambda i: {"x": torch.zeros(2), **({"y": torch.zeros(2)} if i > 2 else {})},
        "samples with the same",
    ),
    "an object": (lambda i: Stranger(), "samples of tensors, .*, found .*Stranger"),
}


class Stranger:
    """Nobody knows how several of it are put together."""

    def __init__(self):
        self.x = torch.zeros(2)


@pytest.mark.parametrize("kind", REFUSED)
def test_samples_that_do_not_fit_together_are_named(kind):
    make, said = REFUSED[kind]
    with pytest.raises(InputError, match=f"data must be {said}.*collate_fn"):
        Objective(nn.Linear(2, 1), nn.MSELoss(), Samples(make))


def test_a_dataset_whose_texts_or_numbers_change_is_refused():
    x, draw = torch.randn(9, 4), iter(range(10**6))
    for make in (
        lambda i: {"x": x[i], "text": f"draw {next(draw)}"},
        lambda i: {"x": x[i], "number": float(next(draw))},
        lambda i: {"x": x[i].numpy() + next(draw)},
    ):
        with pytest.raises(InputError, match="samples change between passes"):
            Objective(nn.Linear(4, 1), lambda m, b: m(b["x"]).square().mean(), Samples(make, 9), loss_on="batch")

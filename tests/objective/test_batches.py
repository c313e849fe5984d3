"""Batches of every container and layout: the numbers of the same tensors in a dict, and the user's object as it was."""

from __future__ import annotations

import types
from collections import ChainMap, OrderedDict, UserDict, deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import DataLoader

from thalweg import Recipe, train
from thalweg.errors import InputError
from thalweg.landscape import surface
from thalweg.objective import Objective, containers
from thalweg.objective.batches import sample_count
from thalweg.objective.tensors import fingerprint

N = 12


@dataclass
class Record:
    """Fields with a default, so that a constructor would lose the rest."""

    x: Tensor
    y: Tensor
    w: Tensor
    note: str = "none"
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Frozen:
    """No attribute of it can be set."""

    x: Tensor
    y: Tensor
    w: Tensor


class Named(NamedTuple):
    """A tuple with names."""

    x: Tensor
    y: Tensor
    w: Tensor


class Plain:
    """A constructor that wants more than what is inside."""

    def __init__(self, inside: dict[str, Tensor], *, secret: int):
        self.inside, self.secret = inside, secret

    def __getattr__(self, name: str) -> Tensor:
        if name == "inside":
            raise AttributeError(name)
        return self.inside[name]


class Slots:
    """Attributes in slots, one of them private."""

    __slots__ = ("__y", "w", "x")

    def __init__(self, x: Tensor, y: Tensor, w: Tensor):
        self.x, self.__y, self.w = x, y, w

    @property
    def y(self) -> Tensor:
        return self.__y


class Reachable(dict):
    """A dict whose entries are its attributes as well."""

    def __init__(self, *args: Any, **entries: Any):
        super().__init__(*args, **entries)
        self.__dict__ = self


class Family:
    """Objects that refer to each other."""

    def __init__(self, x: Tensor, y: Tensor, w: Tensor):
        self.child = types.SimpleNamespace(x=x, w=w, parent=self)
        self.y = y

    x = property(lambda self: self.child.x)
    w = property(lambda self: self.child.parent.child.w)


KINDS = {
    "dataclass": lambda x, y, w: Record(x, y, w, "kept", {"scale": 2.0}),
    "frozen with slots": Frozen,
    "named tuple": Named,
    "object": lambda x, y, w: Plain({"x": x, "y": y, "w": w}, secret=1),
    "slots": Slots,
    "namespace": lambda x, y, w: types.SimpleNamespace(x=x, y=y, w=w),
    "UserDict": lambda x, y, w: UserDict(x=x, y=y, w=w),
    "ordered": lambda x, y, w: OrderedDict(x=x, y=y, w=w),
    "chained": lambda x, y, w: ChainMap({"x": x}, {"y": y, "w": w}),
    "proxy": lambda x, y, w: types.MappingProxyType({"x": x, "y": y, "w": w}),
    "attributes": lambda x, y, w: Reachable(x=x, y=y, w=w),
    "cycle": Family,
    "arrays": lambda x, y, w: {"x": x.numpy(), "y": y.numpy(), "w": w.double().numpy()},
    "texts beside": lambda x, y, w: {"x": x, "y": y, "w": w, "names": [str(i) for i in range(N)], "no": None, "k": 3},
}


def entry(batch, name):
    return (
        batch[name] if isinstance(batch, dict | UserDict | ChainMap | types.MappingProxyType) else getattr(batch, name)
    )


def weighted(model, batch):
    losses = F.cross_entropy(model(entry(batch, "x")), entry(batch, "y"), reduction="none")
    return (losses * entry(batch, "w")).mean()


def tensors():
    return torch.randn(N, 4), torch.randint(0, 3, (N,)), torch.rand(N)


def network():
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


def agree(found, right, *, exact: bool = True):
    """Every function of θ, every changed objective, a surface and a training."""
    same = torch.equal if exact else (lambda a, b: torch.allclose(a, b, rtol=1e-4, atol=1e-6))
    theta = right.theta + 0.1 * torch.randn(3, right.size)
    vector = torch.randn_like(theta)
    assert same(found.value(theta), right.value(theta))
    assert same(found.gradient(theta), right.gradient(theta))
    assert same(found.hvp(theta, vector), right.hvp(theta, vector))
    assert same(found.hessian(theta[0]), right.hessian(theta[0]))
    assert same(found.double().value(theta.double()), right.double().value(theta.double()))
    assert found.double().value(theta.double()).dtype == torch.float64
    assert torch.allclose(found.permuted(1).value(theta), right.value(theta), rtol=1e-5)
    looked = [surface(one, theta[0], theta[1:], 3).values["loss"] for one in (found, right)]
    assert same(*map(torch.as_tensor, looked))
    trained = [
        train(one, theta, Recipe(steps=3, batch_size=5 if one.batches.indexable else "given"), seed=1).snapshots[-1]
        for one in (found, right)
    ]
    assert found.batches.indexable != right.batches.indexable or torch.allclose(*trained, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("alone", [False, True])
def test_any_container_has_the_numbers_of_a_dict(kind, alone):
    x, y, w = tensors()
    batch, model = KINDS[kind](x, y, w), network()
    right = {"x": x, "y": y, "w": w}
    alone = alone and kind not in ("object", "slots", "cycle")  # strangers' objects are whole batches: the list below
    found = Objective(model, weighted, batch if alone else [batch], loss_on="batch")
    agree(found, Objective(model, weighted, right if alone else [right], loss_on="batch"))
    assert found.samples == N
    assert found.batches.indexable == alone
    if kind != "arrays":
        assert entry(batch, "x") is x
        assert x.dtype == torch.float32
        assert entry(batch, "y") is y


@pytest.mark.parametrize("kind", ["object", "slots", "cycle"])
def test_a_strangers_object_alone_is_one_batch(kind):
    x, y, w = tensors()
    found = Objective(model := network(), weighted, KINDS[kind](x, y, w), loss_on="batch")
    assert (found.samples, found.batches.divisible, found.batches.indexable) == (N, False, False)
    right = Objective(model, weighted, [{"x": x, "y": y, "w": w}], loss_on="batch")
    assert torch.equal(found.gradient(found.theta), right.gradient(right.theta))


def test_classes_of_attrs():
    attrs = pytest.importorskip("attrs")
    kind = attrs.make_class("Sample", ["x", "y", "w"], frozen=True, slots=True)
    x, y, w = tensors()
    model = network()
    agree(
        Objective(model, weighted, kind(x, y, w), loss_on="batch"),
        Objective(model, weighted, {"x": x, "y": y, "w": w}, loss_on="batch"),
    )


@pytest.mark.filterwarnings("ignore")
def test_batches_and_outputs_of_language_models():
    transformers = pytest.importorskip("transformers")
    x, y, w = tensors()
    model = network()
    right = Objective(model, weighted, {"x": x, "y": y, "w": w}, loss_on="batch")
    encoded = transformers.BatchEncoding({"x": x, "y": y, "w": w})
    found = Objective(model, lambda m, b: weighted(m, b.data), encoded, loss_on="batch")
    agree(found, right)
    assert type(found.batches.held[0]) is type(encoded)
    output = transformers.modeling_outputs.BaseModelOutput(last_hidden_state=x, attentions=(y, w))
    half = containers.mapped(lambda leaf: leaf[: N // 2], output)
    assert torch.equal(half.last_hidden_state, x[:6])
    assert half["last_hidden_state"] is half.last_hidden_state
    assert len(half.attentions[1]) == 6
    assert len(output.last_hidden_state) == N


@pytest.mark.filterwarnings("ignore")
def test_graphs_of_torch_geometric():
    data = pytest.importorskip("torch_geometric.data")
    sizes = (3, 4, 5, 6)
    graphs = [
        data.Data(x=torch.randn(k, 4), edge_index=torch.randint(0, k, (2, 2 * k)), y=torch.tensor([k % 3]), name=f"{k}")
        for k in sizes
    ]
    batches = [data.Batch.from_data_list(graphs[:2]), data.Batch.from_data_list(graphs[2:])]

    def score(model, x, edges, owner):
        h = torch.tanh(model[0](x))
        h = model[2](h.index_add(0, edges[1], h[edges[0]]))
        return h.new_zeros(int(owner.max()) + 1, 3).index_add(0, owner, h)

    model = network()
    found = Objective(
        model,
        lambda m, g: F.cross_entropy(score(m, g.x, g.edge_index, g.batch), g.y),
        batches,
        loss_on="batch",
        count=lambda g: g.num_graphs,
    )
    right = Objective(
        model,
        lambda m, b: F.cross_entropy(score(m, *b[:3]), b[3]),
        [(g.x, g.edge_index, g.batch, g.y) for g in batches],
        loss_on="batch",
        count=lambda b: len(b[3]),
    )
    agree(found, right)
    assert batches[0].x.dtype == torch.float32
    wide = found.double().batches.held[0]
    assert type(wide) is type(batches[0])
    assert wide.x.dtype == torch.float64
    assert wide.name == ["3", "4"]
    mixed = data.HeteroData()
    mixed["a"].x, mixed["a", "to", "a"].edge_index = torch.randn(3, 2), torch.zeros(2, 4, dtype=torch.int64)
    wide = containers.mapped(lambda leaf: leaf.double(), mixed)
    assert wide["a"].x.dtype == torch.float64
    assert mixed["a"].x.dtype == torch.float32
    with pytest.raises(InputError, match=r"count must be given .* found lengths"):
        Objective(model, lambda m, g: m(g.x).square().mean(), graphs[0], loss_on="batch")


# -- layouts


class Graph(nn.Module):
    """Two rounds of messages along an adjacency matrix."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x, adjacency):
        return adjacency @ self.b(torch.tanh(adjacency @ self.a(x)))


def uncoalesced(dense):
    sparse = dense.to_sparse()
    twice = torch.cat([sparse.indices(), sparse.indices()], 1), torch.cat([sparse.values() / 2, sparse.values() / 2])
    return torch.sparse_coo_tensor(*twice, dense.shape)


SPARSE = {"coo": Tensor.to_sparse, "uncoalesced": uncoalesced, "csr": Tensor.to_sparse_csr, "csc": Tensor.to_sparse_csc}


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("layout", SPARSE)
@pytest.mark.parametrize("alone", [False, True])
def test_sparse_matrices_have_the_numbers_of_dense_ones(layout, alone):
    dense = (torch.rand(N, N) < 0.3).float() + torch.eye(N)
    x, y, _ = tensors()
    batches = [({"x": x, "adjacency": a}, y) for a in (SPARSE[layout](dense), dense)]
    model = Graph()
    found = Objective(model, nn.CrossEntropyLoss(), batches[0] if alone else batches[:1])
    agree(found, Objective(model, nn.CrossEntropyLoss(), batches[1:]), exact=False)
    assert (found.samples, found.batches.divisible) == (N, False)


class Recurrent(nn.Module):
    """Classifies sequences, packed or one by one."""

    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.GRU(3, 4), nn.Linear(4, 2)

    def forward(self, *sequences):
        if isinstance(sequences[0], Tensor):
            return torch.cat([self.head(self.rnn(one[:, None])[1][0]) for one in sequences])
        return self.head(self.rnn(sequences[0])[1][0])


def test_packed_sequences_have_the_numbers_of_single_ones():
    sequences = [torch.randn(length, 3) for length in (4, 2, 5)]
    y, model = torch.tensor([0, 1, 1]), Recurrent()
    packed = pack_sequence(sequences, enforce_sorted=False)
    right = Objective(model, nn.CrossEntropyLoss(), [(sequences, y)], count=lambda batch: 3)
    agree(Objective(model, nn.CrossEntropyLoss(), [(packed, y)]), right, exact=False)
    agree(Objective(model, nn.CrossEntropyLoss(), (packed, y)), right, exact=False)
    assert sample_count(UserDict(s=packed, y=y)) == 3
    assert packed.data.dtype == torch.float32


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_nested_tensors_have_the_numbers_of_single_ones(layout):
    class Means(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(3, 2)

        def forward(self, *inputs):
            single = inputs[0].unbind() if inputs[0].is_nested else inputs
            return torch.tanh(self.head(torch.stack([one.mean(0) for one in single])))

    sequences, y = [torch.randn(length, 3) for length in (4, 2, 5)], torch.tensor([0, 1, 1])
    nested, model = torch.nested.nested_tensor(sequences, layout=layout), Means()
    right = Objective(model, nn.CrossEntropyLoss(), [(sequences, y)], count=lambda batch: 3)
    found = Objective(model, nn.CrossEntropyLoss(), [(nested, y)])
    assert found.samples == 3
    agree(found, right, exact=False)


# -- checks, and what is never changed


NONE = {
    "dataclass": lambda bad: Record(bad, bad, bad),
    "UserDict in a named tuple": lambda bad: Named(UserDict(z=bad), torch.ones(2), torch.ones(2)),
    "coo": lambda bad: {"x": bad.to_sparse()},
    "csr": lambda bad: {"x": bad[None].to_sparse_csr()},
    "packed": lambda bad: pack_sequence([bad]),
    "array": lambda bad: {"x": bad.numpy()},
    "deque": lambda bad: deque([bad]),
    "complex": lambda bad: (torch.complex(bad, bad),),
}


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("kind", NONE)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_not_finite_is_found_in_every_container(kind, bad):
    batch = NONE[kind](torch.tensor([1.0, bad]))
    with pytest.raises(InputError, match=r"data\[0\] must be finite, found"):
        Objective(network(), lambda m, b: m(torch.ones(1, 4)).sum(), [batch], loss_on="batch", count=lambda b: 1)


def test_a_fingerprint_sees_every_layout_and_no_order():
    x = torch.randn(4, 4)
    for make in (
        Tensor.to_sparse,
        Tensor.to_sparse_csr,
        lambda v: pack_sequence([v]),
        lambda v: Plain({"v": v}, secret=0),
    ):
        assert not torch.equal(fingerprint([make(x)]), fingerprint([make(x + 1)]))
        assert torch.allclose(fingerprint([make(x), make(x + 1)]), fingerprint([make(x + 1), make(x)]), rtol=1e-12)
    assert not torch.equal(fingerprint([{"x": x, "t": ["a"]}]), fingerprint([{"x": x, "t": ["b"]}]))


def test_a_loss_may_take_its_batch_apart_and_write_into_it():
    x, y, w = tensors()
    model, kept = network(), x.clone()
    right = Objective(model, weighted, [{"x": 2 * x, "y": y, "w": w}], loss_on="batch")

    def popping(m, batch):
        x, y = batch.pop("x"), batch.pop("y")
        return weighted(m, {"x": x.mul_(2), "y": y, "w": batch["w"]})

    batch = UserDict(x=x, y=y, w=w)
    found = Objective(model, popping, [batch], loss_on="batch")
    agree(found, right, exact=False)
    assert torch.equal(x, kept)
    assert set(batch) == {"x", "y", "w"}
    first = Objective(nn.Sequential(nn.ReLU(inplace=True), *network()), nn.CrossEntropyLoss(), (x, y))
    first.hessian(first.theta)
    train(first, recipe=Recipe(steps=2, batch_size=None))
    assert torch.equal(x, kept)


def test_objects_that_hold_no_tensor_stay_what_they_are():
    stranger, module = Plain({}, secret=3), nn.Linear(2, 2)
    batch = [stranger, module, None, 3, "text", {"a": (1, 2)}, types.SimpleNamespace(z=np.array(["a"]))]
    same = containers.mapped(lambda leaf: leaf + 1, batch)
    assert same[0] is stranger
    assert same[1] is module
    assert same[6] is batch[6]
    assert same[5] == {"a": (1, 2)}


def test_objects_that_cannot_be_copied_are_named():
    class Stubborn:
        def __init__(self):
            self.x = torch.ones(3)

        def __copy__(self):
            return self

    class Broken(Stubborn):
        def __copy__(self):
            raise RuntimeError("no copies")

    for kind, said in ((Stubborn, "copies, found Stubborn itself"), (Broken, r"can copy, found Broken \(no copies\)")):
        with pytest.raises(InputError, match=said):
            Objective(network(), weighted, [kind()], loss_on="batch")


def test_complex_tensors_follow_the_dtype():
    x = torch.randn(6, 4, dtype=torch.complex64)
    objective = Objective(network(), lambda m, b: m(b["x"].abs()).square().mean(), {"x": x}, loss_on="batch")
    assert objective.double().batches.held[0]["x"].dtype == torch.complex128
    right = objective.double().module(objective.theta)(x.to(torch.complex128).abs()).square().mean()
    assert torch.equal(objective.double().value(objective.theta), right)


def test_a_loader_of_arrays_and_objects_is_read_anew_where_memory_is_short():
    x, y, w = tensors()
    rows = [Record(x[i : i + 5], y[i : i + 5], w[i : i + 5]) for i in (0, 5, 10)]
    loader = DataLoader(rows, batch_size=None, collate_fn=lambda batch: batch)
    model = network()
    held, streamed = (Objective(model, weighted, loader, loss_on="batch", memory=m) for m in (2**30, 64))
    assert held.batches.loader is None
    assert streamed.batches.loader is not None
    right = Objective(model, weighted, {"x": x, "y": y, "w": w}, loss_on="batch")
    for one in (held, streamed):
        assert one.samples == N
        assert torch.allclose(one.gradient(one.theta), right.gradient(right.theta), atol=1e-6)
        assert torch.allclose(one.hessian(one.theta), right.hessian(right.theta))

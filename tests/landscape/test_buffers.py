"""Buffers of every kind along a path: exact at the ends, as stated between them, in networks of any kind."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from thalweg.errors import InputError
from thalweg.landscape import Path, align, connect, follow, interpolate, perturb, random_directions, surface
from thalweg.landscape.grid import Grid
from thalweg.objective import Objective
from thalweg.training import Recipe, train


class Kinds(nn.Module):
    """Uses a number, a whole number, a truth value, a complex number and a vector that are no parameters."""

    def __init__(self, norm: bool = False) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2)
        self.norm = nn.BatchNorm1d(4) if norm else nn.Identity()
        self.register_buffer("temperature", torch.tensor(2.0))
        self.register_buffer("power", torch.tensor(1))
        self.register_buffer("shifted", torch.tensor(False))
        self.register_buffer("phase", torch.tensor(1.0 + 0.5j, dtype=torch.complex128))
        self.register_buffer("scale", torch.ones(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.tanh(self.norm(self.a(x * self.temperature)) * self.scale) ** self.power
        h = torch.where(self.shifted, h + 1, h)
        return self.b(h) * self.phase.abs() / self.temperature


class Unbatched(Kinds):
    """The same, but its forward pass reads a number out, which vmap refuses."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * float(self.temperature.item() ** 0)


class Counting(nn.Module):
    """Writes into its buffers at every call and uses what it wrote: twice the same call is not twice the same value."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.register_buffer("calls", torch.tensor(0))
        self.register_buffer("mean", torch.zeros(3, dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls.add_(1)
        self.mean.mul_(0.5).add_(0.5 * x.mean(0))
        return self.layer(x - self.mean)


def data(samples: int = 30) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(3)
    return torch.randn(samples, 3, dtype=torch.float64), torch.randint(0, 2, (samples,))


def networks(kind: type[nn.Module] = Kinds, **options: Any) -> list[Any]:
    torch.manual_seed(4)
    nets = [kind(**options).double() for _ in range(2)]
    for net, values in zip(nets, ((0.5, 1, False, 1 + 0j, 1.0), (3.0, 3, True, 0 + 2j, -2.0)), strict=True):
        for name, value in zip(("temperature", "power", "shifted", "phase", "scale"), values, strict=True):
            getattr(net, name).fill_(value)
    return nets


def held(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in net.named_buffers()}


def loss(net: nn.Module) -> float:
    x, y = data()
    with torch.no_grad():
        return float(F.cross_entropy(net(x), y))


@pytest.mark.parametrize("kind", [Kinds, Unbatched])
@pytest.mark.parametrize("policy", ["recomputed", "interpolated"])
def test_the_ends_are_the_networks_and_the_middle_is_as_stated(kind: type[nn.Module], policy: str) -> None:
    a, b = networks(kind)
    objective = Objective(networks(kind)[0], nn.CrossEntropyLoss(), data())
    thetas = [objective.ravel(dict(net.named_parameters())) for net in (a, b)]
    line = interpolate(
        objective, *thetas, [-1.0, 0.0, 0.25, 0.5, 1.0, 2.0], batchnorm=policy, buffers=(held(a), held(b))
    )
    found = line.values["train"]["loss"].tolist()
    for place, t in enumerate((-1.0, 0.0, 0.25, 0.5, 1.0, 2.0)):
        middle, share = copy.deepcopy(a), min(max(t, 0.0), 1.0)
        with torch.no_grad():
            for p, q in zip(middle.parameters(), b.parameters(), strict=True):
                p.copy_((1 - t) * p + t * q)
            middle.temperature.fill_(0.5 + share * 2.5)
            middle.phase.fill_((1 - share) + share * 2j)
            middle.scale.fill_(1 - 3 * share)
            middle.power.fill_(1 if share <= 0.5 else 3)
            middle.shifted.fill_(share > 0.5)
        assert found[place] == pytest.approx(loss(middle), abs=1e-12), t
    said = "(temperature, power, shifted, phase, scale) are linear between the ends and those of the nearer end where"
    assert said in line.notes[0]


@pytest.mark.parametrize(("policy", "end"), [("first", 0), ("last", 1)])
def test_first_and_last_take_the_buffers_of_one_end(policy: str, end: int) -> None:
    nets = networks()
    objective = Objective(networks()[0], nn.CrossEntropyLoss(), data())
    thetas = [objective.ravel(dict(net.named_parameters())) for net in nets]
    line = interpolate(
        objective, *thetas, [0.0, 1.0], batchnorm=policy, buffers=(held(nets[0]), held(nets[1])), subsets=0
    )
    for place, net in enumerate(nets):
        other = copy.deepcopy(net)
        other.load_state_dict({**net.state_dict(), **held(nets[end])})
        assert float(line.values["train"]["loss"][place]) == pytest.approx(loss(other), abs=1e-12)


@pytest.mark.parametrize("given", [0, 1])
@pytest.mark.parametrize("names", [("temperature",), ("power", "phase")])
def test_what_is_not_given_is_that_of_the_model(given: int, names: tuple[str, ...]) -> None:
    nets = networks()
    model = networks()[0]
    objective = Objective(model, nn.CrossEntropyLoss(), data())
    thetas = [objective.ravel(dict(net.named_parameters())) for net in nets]
    buffers: list[Any] = [None, None]
    buffers[given] = {name: value for name, value in held(nets[given]).items() if name in names}
    line = interpolate(objective, *thetas, [0.0, 1.0], buffers=tuple(buffers), subsets=0)
    for place, net in enumerate(nets):
        expected = copy.deepcopy(net)
        expected.load_state_dict({**net.state_dict(), **held(model), **(buffers[place] or {})})
        assert float(line.values["train"]["loss"][place]) == pytest.approx(loss(expected), abs=1e-12)


def test_statistics_are_recomputed_with_the_other_buffers_of_the_place() -> None:
    """The temperature comes before the normalisation layer: its statistics follow from it."""
    a, b = networks(norm=True)
    objective = Objective(networks(norm=True)[0].eval(), nn.CrossEntropyLoss(), data())
    thetas = [objective.ravel(dict(net.named_parameters())) for net in (a, b)]
    line = interpolate(objective, *thetas, [0.0, 0.5, 1.0], buffers=(held(a), held(b)))
    for place, net in enumerate((a, b)):
        right = copy.deepcopy(net).train()
        right.norm.momentum = 1.0
        with torch.no_grad():
            right(data()[0])
        assert float(line.values["train"]["loss"][2 * place]) == pytest.approx(loss(right.eval()), abs=1e-10)


class CountedNorm(nn.Module):
    """Writes into a buffer of its own beside those of a normalisation layer."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)
        self.register_buffer("calls", torch.tensor(0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls.add_(1)
        return self.b(torch.relu(self.norm(self.a(x))))


def test_statistics_are_recomputed_where_the_network_writes_into_other_buffers() -> None:
    torch.manual_seed(1)
    net = CountedNorm().double().eval()
    objective = Objective(net, nn.CrossEntropyLoss(), data())
    a, b = objective.initial(seed=0), objective.initial(seed=1)
    line = interpolate(objective, a, b, [0.0, 0.5, 1.0], subsets=0)
    for place, t in enumerate((0.0, 0.5, 1.0)):
        right = copy.deepcopy(net).train()
        right.norm.momentum = 1.0
        with torch.no_grad():
            for p, q in zip(right.parameters(), objective.layout.unravel((1 - t) * a + t * b).values(), strict=True):
                p.copy_(q)
            right(data()[0])
        assert float(line.values["train"]["loss"][place]) == pytest.approx(loss(right.eval()), abs=1e-10)
    assert int(net.calls) == 0


def test_pairs_have_buffers_of_their_own() -> None:
    nets = [net for _ in range(3) for net in networks()]
    for number, net in enumerate(nets):
        net.temperature.fill_(0.5 + number)
    objective = Objective(networks()[0], nn.CrossEntropyLoss(), data())
    theta = torch.stack([objective.ravel(dict(net.named_parameters())) for net in nets]).reshape(3, 2, -1)
    theta = theta + 0.1 * torch.randn(theta.shape, generator=torch.manual_seed(0), dtype=theta.dtype)
    stacked = [{n: torch.stack([held(net)[n] for net in nets[k::2]]) for n in held(nets[0])} for k in range(2)]
    line = interpolate(objective, theta[:, 0], theta[:, 1], [0.0, 0.3, 1.0], buffers=(stacked[0], stacked[1]))
    for r in range(3):
        own = tuple(held(net) for net in nets[2 * r : 2 * r + 2])
        alone = interpolate(objective, theta[r, 0], theta[r, 1], [0.0, 0.3, 1.0], buffers=own)
        torch.testing.assert_close(line.values["train"]["loss"][:, r], alone.values["train"]["loss"])


def test_an_infinite_buffer_at_one_end_is_not_at_the_other() -> None:
    a, b = networks()
    b.scale.fill_(torch.inf)
    objective = Objective(networks()[0], nn.CrossEntropyLoss(), data())
    thetas = [objective.ravel(dict(net.named_parameters())) for net in (a, b)]
    line = interpolate(objective, *thetas, [0.0, 1.0], buffers=(held(a), held(b)), subsets=0)
    assert line.values["train"]["loss"].tolist() == pytest.approx([loss(a), loss(b)], abs=1e-12)


@pytest.mark.parametrize("kind", ["bezier", "polygon"])
def test_curves_have_exact_ends_too(kind: str) -> None:
    a, b = networks()
    objective = Objective(networks()[0], nn.CrossEntropyLoss(), data())
    thetas = [objective.ravel(dict(net.named_parameters())) for net in (a, b)]
    curve = connect(objective, *thetas, Recipe(lr=0.01, steps=3, batch_size=10), kind=kind).path
    found = follow(objective, curve, [0.0, 0.5, 1.0], buffers=(held(a), held(b))).values["train"]["loss"]
    assert found[[0, 2]].tolist() == pytest.approx([loss(a), loss(b)], abs=1e-12)


@pytest.mark.parametrize("kind", [Kinds, Unbatched])
def test_pictures_and_training_of_networks_with_such_buffers(kind: type[nn.Module]) -> None:
    net = networks(kind)[1]
    net.power.fill_(1)
    objective = Objective(net, nn.CrossEntropyLoss(), data())
    before, theta = held(net), objective.ravel(dict(net.named_parameters()))
    picture = surface(objective, theta, random_directions(objective, theta, count=1), Grid(points=3))
    assert picture.at_center("loss") == pytest.approx(loss(net), abs=1e-12)
    moved = perturb(objective, theta, [0.0, 0.1], parameters=torch.tensor([0, 3]))
    assert moved.values[:, 0].tolist() == pytest.approx([loss(net)] * 2, abs=1e-12)
    run = train(objective, theta, Recipe(lr=0.01, steps=2, batch_size=10))
    own = {name: value[0] for name, value in run.snapshots.buffers(-1).items()}
    for name in set(own) & set(before):
        torch.testing.assert_close(own[name].to(before[name].dtype), before[name])
    for name, value in net.named_buffers():
        assert torch.equal(value, before[name])


def test_a_network_that_writes_into_its_buffers_is_each_theta_alone() -> None:
    net = Counting().double()
    net.calls.fill_(7)
    before = held(net)
    objective = Objective(net, nn.CrossEntropyLoss(), data())
    theta = objective.initial(replicas=3, seed=0)
    together = objective.value(theta)
    alone = torch.stack([objective.value(one) for one in theta])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=0)
    expected = copy.deepcopy(net)
    with torch.no_grad():
        for p, q in zip(expected.parameters(), objective.layout.unravel(theta[1]).values(), strict=True):
            p.copy_(q)
    assert float(together[1]) == pytest.approx(loss(expected), abs=1e-12)
    line = interpolate(objective, theta[0], theta[1], [0.0, 0.5, 1.0], subsets=0)
    assert line.values["train"]["loss"][[0, 2]].tolist() == pytest.approx(alone[:2].tolist(), abs=1e-12)
    own = {"mean": torch.full((3,), 0.5, dtype=torch.float64), "calls": torch.tensor(1)}
    kept = {name: value.clone() for name, value in own.items()}
    interpolate(objective, theta[0], theta[1], [0.0, 0.5, 1.0], buffers=(own, own), subsets=0)
    picture = surface(objective, theta[0], random_directions(objective, theta[0], count=1), Grid(points=5))
    assert picture.at_center("loss") == pytest.approx(float(alone[0]), abs=1e-12)
    for name, value in net.named_buffers():
        assert torch.equal(value, before[name])
    for name, value in own.items():
        assert torch.equal(value, kept[name])


def test_alignment_permutes_statistics_and_leaves_numbers() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2)).double().eval()
    objective = Objective(net, nn.CrossEntropyLoss(), data())
    a, b = objective.initial(seed=0), objective.initial(seed=1)
    found = align(objective, a, b)
    buffers = {**held(net), "1.running_mean": torch.arange(5.0).double(), "1.num_batches_tracked": torch.tensor(9)}
    moved = found.buffers(buffers)
    assert moved["1.num_batches_tracked"].shape == ()
    assert int(moved["1.num_batches_tracked"]) == 9
    assert moved["1.running_mean"].long().tolist() == found.permutations[0].tolist()
    torch.testing.assert_close(objective.value(found.theta(b), moved), objective.value(b, buffers))


@pytest.mark.parametrize(
    ("buffers", "message"),
    [
        ({"temperature": torch.tensor(1.0)}, "buffers must be two mappings.*found dict"),
        (({},), "buffers must be two mappings.*found 1 of them"),
        ((None, [1]), r"buffers\[1\] must be a mapping of names to tensors, found list"),
        (({"temprature": torch.tensor(1.0)}, None), r"buffers\[0\] must hold buffers of the model.*did you mean"),
        ((None, {"temperature": torch.ones(2)}), r"buffers\[1\]\['temperature'\] must be a tensor of shape \(\)"),
        (({"temperature": 1.0}, None), r"buffers\[0\]\['temperature'\] must be a tensor of shape \(\), found float"),
    ],
)
def test_refusals(buffers: Any, message: str) -> None:
    a, b = networks()
    objective = Objective(a, nn.CrossEntropyLoss(), data())
    ends = torch.stack([objective.ravel(dict(net.named_parameters())) for net in (a, b)])
    with pytest.raises(InputError, match=message):
        follow(objective, Path(ends), buffers=buffers)

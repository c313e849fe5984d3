"""Permutations leave the function alone; what was permuted is found again; aligning lowers a measured barrier."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.cases import CASES, mlp
from thalweg.errors import InputError
from thalweg.landscape import align, interpolate
from thalweg.landscape.permutations import Member, indices, permute_buffers, unit_groups
from thalweg.models import ModelConfig, build
from thalweg.objective import Objective


class Written(nn.Module):
    """A network in the user's own words: functions in place of modules."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
        self.middle, self.head = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x):
        x = F.max_pool2d(torch.relu(self.norm(self.conv(x))), 2)
        return self.head(F.leaky_relu(self.middle(x.mean((2, 3)))))


IMAGES = (1, 8, 8)
NETWORKS = {
    "mlp": lambda: mlp(64, 7, 6, 5, 3)(),
    "mlp-images": lambda: build(ModelConfig(hidden=(7, 6)), IMAGES, 3),
    "mlp-no-bias": lambda: mlp(64, 7, 6, 3, phi=nn.ReLU, bias=False)(),
    "mlp-norm": lambda: nn.Sequential(nn.Linear(64, 7), nn.BatchNorm1d(7), nn.SiLU(), nn.Dropout(0.5), nn.Linear(7, 3)),
    "cnn": lambda: build(ModelConfig(kind="cnn", channels=(4, 6), hidden=(5,)), IMAGES, 3),
    "cnn-norm": lambda: build(ModelConfig(kind="cnn", channels=(4, 6), hidden=(5,), batchnorm=True), IMAGES, 3),
    "cnn-even": lambda: build(ModelConfig(kind="cnn", channels=(4, 5), kernel=(2,), pool="average"), IMAGES, 3),
    "cnn-average": lambda: build(ModelConfig(kind="cnn", channels=(4, 6), head="average"), IMAGES, 3),
    "cnn-conv": lambda: build(ModelConfig(kind="cnn", channels=(4, 6), head="conv", batchnorm=True), IMAGES, 3),
    "written": Written,
}
FLAT = ("mlp", "mlp-no-bias", "mlp-norm")


def objective_of(name: str) -> Objective:
    torch.manual_seed(4)
    model = NETWORKS[name]().double().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(module.num_features))
            module.running_var.copy_(torch.rand(module.num_features) + 0.5)
    x = torch.randn(20, *((64,) if name in FLAT else IMAGES)).double()
    return Objective(model, nn.CrossEntropyLoss(), (x, torch.randint(0, 3, (20,))))


def mixed(objective: Objective, theta: torch.Tensor, seed: int = 0) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The same network with its units in a random order, for one θ."""
    groups = unit_groups(objective.module(objective.theta))
    chooser = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(group.size, generator=chooser) for group in groups]
    return theta[indices(objective.layout, groups, orders)], orders


def buffers_of(objective: Objective) -> dict[str, torch.Tensor]:
    return {n: b for n, b in objective.module(objective.theta).named_buffers() if b.is_floating_point()}


@pytest.mark.parametrize("name", NETWORKS)
def test_no_permutation_changes_the_function(name: str) -> None:
    objective = objective_of(name)
    theta, groups = objective.initial(seed=3), unit_groups(objective.module(objective.theta))
    for seed in range(3):
        other, orders = mixed(objective, theta, seed)
        assert not torch.equal(other, theta)
        model = objective.module(other)
        model.load_state_dict(permute_buffers(buffers_of(objective), groups, orders), strict=False)
        x = objective.batches.held[0][0]
        torch.testing.assert_close(model(x), objective.module(theta)(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("method", ["weights", "activations"])
@pytest.mark.parametrize("name", NETWORKS)
def test_what_was_permuted_is_found_again_with_barrier_zero(name: str, method: str) -> None:
    objective = objective_of(name)
    theta = objective.initial(replicas=2, seed=3)
    pairs = [mixed(objective, one, seed) for seed, one in enumerate(theta)]
    other = torch.stack([pair[0] for pair in pairs])
    found = align(objective, theta, other, method=method)
    assert torch.equal(found.theta(other), theta)
    for g, order in enumerate(found.permutations):
        for r in range(2):
            assert torch.equal(pairs[r][1][g][order[r]], torch.arange(found.groups[g].size))
    assert float(found.after.max()) == 0
    torch.testing.assert_close(found.before, (theta - other).norm(dim=-1))

    own = {name: value.expand(2, *value.shape) for name, value in buffers_of(objective).items()}
    groups = found.groups
    rows = [permute_buffers({n: v[r] for n, v in own.items()}, groups, pairs[r][1]) for r in range(2)]
    theirs = {n: torch.stack([row[n] for row in rows]) for n in own}
    back = found.buffers(theirs)
    for n, value in own.items():
        assert torch.equal(back[n], value)
    sure = 10 * theta  # outputs far apart: on the straight line they change
    for second, stats, same in ((10 * other, theirs, False), (10 * found.theta(other) + 1e-13, back, True)):
        line = interpolate(objective, sure, second, batchnorm="interpolated", buffers=(own, stats))
        inside = line.values["train"]["loss"][20:41]
        rounding = 1e-8 * inside.amax(0)
        assert bool((inside.amax(0) - inside.amin(0) < rounding).all()) is same
        assert not same or bool((line.barriers["train"].height < rounding).all())


@pytest.mark.parametrize("sizes", [(2, 4, 3, 2), (3, 3, 3, 3, 2)])
def test_weight_matching_against_all_permutations(sizes: tuple[int, ...]) -> None:
    """The descent ends in a local optimum; from its two starts it is nearly always the global one of small networks."""
    x = torch.randn(9, sizes[0]).double()
    objective = Objective(mlp(*sizes)().double(), nn.MSELoss(), (x, torch.randn(9, sizes[-1]).double()))
    groups = unit_groups(objective.module(objective.theta))
    hits = 0
    for seed in range(10):
        a, b = objective.initial(replicas=2, seed=seed)
        orders = itertools.product(*(itertools.permutations(range(group.size)) for group in groups))
        every = [b[indices(objective.layout, groups, [torch.tensor(one) for one in order])] for order in orders]
        best = min(float((a - one).norm()) for one in every)
        found = align(objective, a, b)
        assert best - 1e-12 <= float(found.after) <= float(found.before)
        hits += float(found.after) < best + 1e-9
    assert hits >= 6


def test_pairs_are_aligned_one_by_one() -> None:
    objective = objective_of("cnn")
    theta = objective.initial(replicas=6)
    together = align(objective, theta[:3].reshape(3, 1, -1), theta[3:].reshape(3, 1, -1))
    alone = align(objective, theta[2], theta[5])
    assert together.index.shape == (3, 1, objective.size)
    assert torch.equal(together.index[2, 0], alone.index)
    assert torch.equal(together.permutations[0][2, 0], alone.permutations[0])
    assert int(alone.sweeps) >= 1


def test_a_lost_network_keeps_its_order() -> None:
    objective = objective_of("mlp")
    theta = objective.initial(replicas=4)
    theta[3, 5] = torch.nan
    found = align(objective, theta[:2], theta[2:])
    assert found.after[1].isnan()
    assert torch.equal(found.index[1], torch.arange(objective.size))
    assert float(found.after[0]) < float(found.before[0])


def test_groups_of_a_convolutional_network() -> None:
    model = build(ModelConfig(kind="cnn", channels=(4, 6), hidden=(5,), batchnorm=True), IMAGES, 3)
    first, second, dense = unit_groups(model)
    normed = tuple(Member(f"1.{name}", 0) for name in ("weight", "bias", "running_mean", "running_var"))
    assert first.members == (Member("0.weight", 0), *normed, Member("4.weight", 1))
    assert second.members[-1] == Member("9.weight", 1, 4)
    assert (dense.layer, dense.size, dense.members[-1]) == ("9", 5, Member("11.weight", 1))


@pytest.mark.slow
def test_alignment_lowers_the_barrier_between_trained_networks() -> None:
    """Ten pairs of networks trained on digits from different starts; measured 0.05 to 0.1 of the barrier left."""
    from thalweg import tasks, train
    from thalweg.training import Recipe

    task = tasks.load(tasks.TaskConfig(), torch.float32)
    model = build(ModelConfig(hidden=(64, 64)), task.input_shape, task.outputs)
    objective = Objective(model, nn.CrossEntropyLoss(), task.train)
    theta = train(objective, None, Recipe(lr=1e-3, batch_size=64, epochs=60), replicas=20).snapshots[-1]
    a, b = theta[:10], theta[10:]
    heights = {"straight": interpolate(objective, a, b).barriers["train"].height}
    for method in ("weights", "activations"):
        heights[method] = (
            interpolate(objective, a, align(objective, a, b, method=method).theta(b)).barriers["train"].height
        )
    print({name: round(float(height.median()), 3) for name, height in heights.items()})  # noqa: T201
    for method in ("weights", "activations"):
        assert bool((heights[method] < 0.35 * heights["straight"]).all())


class Skip(nn.Module):
    """A path beside a layer."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        h = torch.relu(self.first(x))
        return self.head(h + torch.relu(self.second(h)))


class Twice(nn.Module):
    """One layer used twice."""

    def __init__(self):
        super().__init__()
        self.first, self.loop, self.head = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.head(torch.relu(self.loop(torch.relu(self.loop(torch.relu(self.first(x)))))))


def same_weights() -> nn.Module:
    model = mlp(4, 4, 4)()
    model[2].weight = model[0].weight
    return model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Skip, "'relu', where paths part or join"),
        (lambda: build(ModelConfig(kind="resnet"), IMAGES, 3), "where paths part or join"),
        (CASES["attention"].model, "alignment (needs|understands)"),
        (CASES["tied"].model, "alignment understands plain chains"),
        (Twice, "layer 'loop', which is used twice"),
        (same_weights, "layer '2', which shares its weight"),
        (lambda: nn.Sequential(nn.Linear(3, 2)), "a network with hidden units, found none"),
        (lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 3, groups=2), nn.Flatten()), "grouped convolution"),
        (lambda: nn.Sequential(nn.Linear(3, 4), nn.Softmax(-1), nn.Linear(4, 2)), r"'1' \(Softmax\)"),
        (lambda: nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)), r"\(LayerNorm\)"),
        (lambda: nn.Sequential(nn.Linear(3, 4), nn.Flatten(), nn.Linear(4, 2)), "flattens what a linear layer made"),
        (lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Linear(6, 2)), "are not the units of '0'"),
        (lambda: nn.Sequential(nn.Linear(4, 4), nn.MaxPool1d(2), nn.Linear(2, 2)), r"\(MaxPool1d\)"),
    ],
)
def test_other_networks_are_refused_in_one_sentence(model, message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        unit_groups(model())
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda o, a: align(o, a, a[:-1]), r"theta_b must have shape \(…, 556\)"),
        (lambda o, a: align(o, a, a.expand(2, -1)), "must have the same shape"),
        (lambda o, a: align(o, a, a, method="weight"), "method must be one of weights, activations.*did you mean"),
    ],
)
def test_refusals(call, message: str) -> None:
    objective = objective_of("mlp")
    with pytest.raises(InputError, match=message):
        call(objective, objective.theta)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("frozen-parameters", "theta to hold all layers, '0.weight' is a constant outside it"),
        ("loss-on-batch", "found loss_on='batch'"),
    ],
)
def test_objectives_that_cannot_be_aligned(name: str, message: str) -> None:
    objective = CASES[name].build()
    with pytest.raises(InputError, match=message):
        align(objective, objective.theta, objective.theta)

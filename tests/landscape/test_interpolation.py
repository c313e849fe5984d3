"""Interpolation against plain PyTorch and closed forms, barriers against theirs, statistics against hooks."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tests.cases import CASES, mlp
from thalweg.errors import InputError
from thalweg.landscape import interpolate, valley, with_ends
from thalweg.objective import Objective


def objective_of(*, samples: int = 60, **options) -> Objective:
    torch.manual_seed(5)
    data = torch.randn(samples, 3).double(), torch.randint(0, 3, (samples,))
    return Objective(mlp(3, 6, 3)().double(), nn.CrossEntropyLoss(), data, **options)


def convolutional(samples: int = 24, **options) -> Objective:
    torch.manual_seed(6)
    layers = (nn.Conv2d(1, 4, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3))
    data = torch.randn(samples, 1, 4, 4).double(), torch.randint(0, 3, (samples,))
    return Objective(nn.Sequential(*layers).double(), nn.CrossEntropyLoss(), data, **options)


def pair(objective: Objective, *lead: int) -> tuple[torch.Tensor, torch.Tensor]:
    count = torch.Size(lead).numel()
    theta = objective.initial(replicas=2 * count, seed=1)
    return theta[:count].reshape(*lead, -1), theta[count:].reshape(*lead, -1)


@pytest.mark.parametrize("name", ["mlp-ce", "mlp-l2", "cnn", "residual", "attention", "loss-on-batch", "mlp-ragged"])
def test_ends_are_exact_and_the_rest_is_plain_pytorch(name: str) -> None:
    objective = CASES[name].build()
    a, b = pair(objective, 2)
    line = interpolate(objective, a, b, [-0.5, 0.0, 0.3, 1.0])
    found = line.values["train"]
    whole = found["objective"] if objective.l2 else found["loss"]
    assert torch.equal(whole[1], objective.value(a))
    assert torch.equal(whole[3], objective.value(b))
    for metric, value in objective.metrics(b).items():
        assert torch.equal(found[metric][3], value)
    for i, alpha in enumerate(line.positions.tolist()):
        for r in range(2):
            module = objective.module((1 - alpha) * a[r] + alpha * b[r])
            expected = Objective(module, objective.loss, list(objective.batches.held), loss_on=objective.loss_on)
            torch.testing.assert_close(found["loss"][i, r], expected.value(expected.theta), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("lead", [(), (3,), (2, 2)])
def test_leading_axes_and_memory_change_nothing(lead: tuple[int, ...]) -> None:
    objective, tight = objective_of(), objective_of(memory=20_000)
    a, b = pair(objective, *lead)
    line, chunked = (
        interpolate({"train": one, "again": one}, a, b, with_ends(-1, 2, 13)) for one in (objective, tight)
    )
    assert line.values["train"]["accuracy"].shape == (13, *lead)
    torch.testing.assert_close(chunked.values["again"]["loss"], line.values["train"]["loss"])
    torch.testing.assert_close(chunked.barriers["again"].error, line.barriers["train"].error)


def test_a_quadratic_in_closed_form() -> None:
    """On L = mean (θx)² with opposite ends, L = (1−2α)² L₀: a valley, no barrier; negated, the barrier is L₀ at ½."""
    x = torch.randn(50, 1).double()

    def negative(output, target):
        return -(output - target).square().mean()

    for loss, sign in ((nn.MSELoss(), 1.0), (negative, -1.0)):
        objective = Objective(nn.Linear(1, 1, bias=False).double(), loss, (x, torch.zeros_like(x)))
        a = torch.tensor([2.0]).double()
        line = interpolate(objective, a, -a)
        expected = sign * (1 - 2 * line.positions) ** 2 * 4 * x.square().mean()
        torch.testing.assert_close(line.values["train"]["loss"], expected)
        barrier = line.barriers["train"]
        level = float(4 * x.square().mean())
        assert float(barrier.height) == pytest.approx(0.0 if sign > 0 else level)
        assert float(barrier.over_mean) == pytest.approx(0.0 if sign > 0 else level)
        if sign < 0:
            assert float(barrier.position) == pytest.approx(0.5)
    assert float(line.mean()) == pytest.approx(-level / 3, rel=2e-2)  # ∫(1−2α)² = ⅓, by 21 trapezia


def test_barrier_definitions() -> None:
    objective = objective_of()
    a, b = pair(objective, 3)
    line = interpolate(objective, 4 * a, 4 * b)
    loss, alpha = line.values["train"]["loss"][20:41], line.positions[20:41]
    for r in range(3):
        one = loss[:, r]
        excess = [float(v - (1 - s) * one[0] - s * one[-1]) for v, s in zip(one, alpha, strict=True)]
        barrier = line.barriers["train"]
        assert float(barrier.height[r]) == pytest.approx(max(excess))
        assert float(barrier.position[r]) == pytest.approx(float(alpha[excess.index(max(excess))]))
        assert float(barrier.over_mean[r]) == pytest.approx(float(one.max() - (one[0] + one[-1]) / 2))
        assert float(barrier.over_larger[r]) == pytest.approx(float(one.max() - max(one[0], one[-1])))


def test_error_is_that_of_the_mean_over_the_samples() -> None:
    """One sample per part would be the textbook's standard error; ten parts estimate it."""
    objective = objective_of(samples=4000)
    a, b = (8 * theta for theta in pair(objective))
    barrier = interpolate(objective, a, b, subsets=200).barriers["train"]
    s = float(barrier.position)
    x, y = objective.batches.held[0]
    each = [
        nn.functional.cross_entropy(objective.module(p)(x), y, reduction="none") for p in (a, (1 - s) * a + s * b, b)
    ]
    gaps = (each[1] - (1 - s) * each[0] - s * each[2]).detach()
    assert float(gaps.mean()) == pytest.approx(float(barrier.height))
    assert float(barrier.error) == pytest.approx(float(gaps.std()) / 4000**0.5, rel=0.2)
    assert barrier.subsets == 200


def test_error_covers_other_samples() -> None:
    """The barrier on all the data lies within three standard errors of that on a tenth of them."""
    whole = objective_of(samples=6000)
    a, b = (8 * theta for theta in pair(whole, 8))
    few = whole.subset(torch.arange(600))
    truth, found = (interpolate(one, a, b).barriers["train"] for one in (whole, few))
    assert bool(((found.height - truth.height).abs() < 3.5 * found.error + 1e-12).all())


def test_without_subsets_there_is_no_error() -> None:
    objective = objective_of()
    a, b = pair(objective)
    assert interpolate(objective, a, b, subsets=0).barriers["train"].error.isnan()
    batches = Objective(mlp(3, 6, 3)().double(), nn.CrossEntropyLoss(), [objective.batches.held[0]])
    barrier = interpolate(batches, a, b).barriers["train"]
    assert barrier.subsets == 0
    assert barrier.error.isnan()


def test_a_lost_network_is_lost_alone() -> None:
    objective = objective_of()
    a, b = pair(objective, 3)
    alone = interpolate(objective, a[:2], b[:2])
    b[2] = torch.nan
    line = interpolate(objective, a, b)
    assert line.values["train"]["loss"][1:20, 2].isnan().all()
    assert float(line.values["train"]["loss"][20, 2]) == float(objective.value(a)[2])
    for name in ("height", "error", "position", "over_mean", "over_larger"):
        found = getattr(line.barriers["train"], name)
        assert found[2].isnan()
        torch.testing.assert_close(found[:2], getattr(alone.barriers["train"], name))


def test_models_and_points_stay_as_they_are() -> None:
    objective = convolutional()
    a, b = pair(objective, 2)
    kept, before = copy.deepcopy(objective._model.state_dict()), (a.clone(), b.clone())
    interpolate(objective, a, b)
    assert torch.equal(a, before[0])
    assert torch.equal(b, before[1])
    for name, value in objective._model.state_dict().items():
        assert torch.equal(value, kept[name])


def statistics_by_hooks(model: nn.Module, x: torch.Tensor) -> None:
    """Sets the running statistics of the only normalisation layer to those of its inputs."""
    seen = []
    handle = model[1].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model(x)
    handle.remove()
    model[1].running_mean.copy_(seen[0].mean((0, 2, 3)))
    model[1].running_var.copy_(seen[0].transpose(0, 1).flatten(1).var(1))


def test_recomputed_statistics_are_those_of_the_training_data() -> None:
    """Also for the test set."""
    objective = convolutional()
    test = objective.with_data((torch.randn(11, 1, 4, 4).double(), torch.randint(0, 3, (11,))))
    a, b = pair(objective)
    line = interpolate({"train": objective, "test": test}, a, b, [0.0, 0.4, 1.0])
    assert "recomputed at every place on the train data" in line.batchnorm
    for i, alpha in enumerate(line.positions.tolist()):
        model = objective.module((1 - alpha) * a + alpha * b).eval()
        with torch.no_grad():
            statistics_by_hooks(model, objective.batches.held[0][0])
            for name, one in (("train", objective), ("test", test)):
                x, y = one.batches.held[0]
                torch.testing.assert_close(line.values[name]["loss"][i], nn.functional.cross_entropy(model(x), y))
    expected = objective.with_batchnorm("recomputed").value(a)
    assert float(line.values["train"]["loss"][0]) == float(expected)


@pytest.mark.parametrize("policy", ["first", "last", "interpolated"])
@pytest.mark.parametrize("lead", [(), (2,)])
def test_statistics_of_the_ends(policy: str, lead: tuple[int, ...]) -> None:
    objective = convolutional()
    a, b = pair(objective, *lead)
    ends = [
        {"1.running_mean": torch.randn(*lead, 4).double(), "1.running_var": torch.rand(*lead, 4).double() + 0.5}
        for _ in range(2)
    ]
    line = interpolate(objective, a, b, [0.0, 0.25, 1.0], batchnorm=policy, buffers=(ends[0], ends[1]))
    for i, alpha in enumerate((0.0, 0.25, 1.0)):
        share = {"first": 0.0, "last": 1.0, "interpolated": alpha}[policy]
        own = {name: (1 - share) * ends[0][name] + share * ends[1][name] for name in ends[0]}
        theta = (1 - alpha) * a + alpha * b
        torch.testing.assert_close(line.values["train"]["loss"][i], objective.metrics(theta, own)["loss"])


def test_frozen_statistics_of_the_model_are_the_default_ends() -> None:
    objective = CASES["batchnorm-eval"].build()
    a, b = pair(objective, 2)
    line = interpolate(objective, a, b, batchnorm="first")
    assert torch.equal(line.values["train"]["loss"][20], objective.value(a))
    assert line.batchnorm == "the statistics of the first end at every place"


def test_valley_of_a_parabola() -> None:
    alphas = with_ends(-1, 2, 3001)
    low, high = valley(alphas, torch.stack([alphas**2, 4 * (alphas - 1) ** 2], dim=1), 0.0, 0.25)
    assert float(low[0]) == pytest.approx(-0.5)
    assert float(high[0]) == pytest.approx(0.5)
    assert float(low[1]) == pytest.approx(1 - 4.25**0.5 / 2, abs=1e-6)
    assert high[1] == torch.inf
    low, high = valley(with_ends(), torch.full((61,), torch.nan), 1.0, 0.1)
    assert low.isnan()
    assert high.isnan()
    wall = torch.where(with_ends() > 0.5, torch.inf, 0.0)
    assert float(valley(with_ends(), wall, 0.0, 0.1)[1]) == pytest.approx(0.5)


def test_a_valley_narrower_than_an_interval() -> None:
    """L = c (α − end)² with √(rise/c) far below the distance of two α: chords alone see a fifth of the width."""
    steep = torch.tensor([4e3, 1e3], dtype=torch.float64)
    alphas = with_ends()  # 0.05 apart
    loss = torch.minimum(alphas[:, None] ** 2, (alphas[:, None] - 1) ** 2) * steep

    def at(alpha: torch.Tensor) -> torch.Tensor:
        return torch.minimum(alpha**2, (alpha - 1) ** 2) * steep

    expected = (0.1 / steep).sqrt()
    for end in (0.0, 1.0):
        low, high = valley(alphas, loss, end, 0.1, at)
        torch.testing.assert_close(high - end, expected, rtol=2e-2, atol=0)
        torch.testing.assert_close(end - low, expected, rtol=2e-2, atol=0)
        assert (valley(alphas, loss, end, 0.1)[1] - end < 0.5 * expected).all()


def refusals():
    objective = objective_of()
    other = Objective(mlp(3, 7, 3)().double(), nn.CrossEntropyLoss(), objective.batches.held[0])
    a, b = pair(objective)
    return [
        (lambda: interpolate(objective, a, other.theta), r"theta_b must have shape \(…, 45\).*found \(52,\)"),
        (lambda: interpolate(objective, a, b.expand(2, -1)), "theta_a and theta_b must have the same shape"),
        (lambda: interpolate(objective, a, a), "must be two points, found the same one twice"),
        (
            lambda: interpolate({"train": objective, "test": other}, a, b),
            r"objectives\['test'\] must be .* same network",
        ),
        (lambda: interpolate({}, a, b), "objectives must hold at least one objective"),
        (lambda: interpolate(objective, a, b, []), "alphas must be a list of at least one number"),
        (lambda: interpolate(objective, a, b, batchnorm="recompute"), "batchnorm must be one of recomputed.*did you"),
        (lambda: with_ends(0.5, 2), "alphas must reach from at most 0 to at least 1, found 0.5 … 2"),
        (lambda: with_ends(-1, 2, 3), "points must be at least 4, found 3"),
        (lambda: with_ends(-100, 100, 5), "points must be enough to tell 0 from 1 between -100 and 100, found 5"),
        (lambda: valley(with_ends(), with_ends(), 0.33, 0.1), "end must be one of the alphas, found 0.33"),
    ]


@pytest.mark.parametrize(("call", "message"), refusals())
def test_refusals(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()

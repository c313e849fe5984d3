"""Neighbour ratios of functions whose answer is known."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import binomtest, f
from torch import nn

from thalweg.curvature.intervals import wilson_interval
from thalweg.curvature.neighbours import neighbour_ratio
from thalweg.errors import InputError
from thalweg.objective import Objective


class Quadratic(nn.Module):
    """L(θ) = θᵀHθ/2 + gᵀθ + c, as an `Objective` on one sample."""

    def __init__(self, curvature: list[float], slope: list[float] | None = None, constant: float = 0.0) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(len(curvature), dtype=torch.float64))
        self.register_buffer("h", torch.tensor(curvature, dtype=torch.float64))
        self.register_buffer("g", torch.tensor(slope or [0.0] * len(curvature), dtype=torch.float64))
        self.constant = constant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value = 0.5 * (self.h * self.theta**2).sum() + (self.g * self.theta).sum() + self.constant
        return value + 0.0 * x


def quadratic(curvature: list[float], slope: list[float] | None = None, constant: float = 0.0) -> Objective:
    data = torch.zeros(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    return Objective(Quadratic(curvature, slope, constant), lambda output, target: (output - target).mean(), data)


def agrees(higher: int, samples: int, truth: float) -> bool:
    return binomtest(higher, samples, truth).pvalue > 1e-4


@pytest.mark.parametrize("scale", ["norm", "coordinate"])
@pytest.mark.parametrize(("up", "down"), [(3, 1), (2, 2), (1, 5)])
def test_a_saddle_of_known_index(scale: str, up: int, down: int) -> None:
    """P(Σ₊δ² > Σ₋δ²) for equal curvatures: the ratio of two χ² is F-distributed."""
    truth = f.cdf(up / down, down, up)
    found = neighbour_ratio(
        quadratic([1.0] * up + [-1.0] * down), torch.zeros(up + down).double(), [1e-4, 1.0], samples=3000, scale=scale
    )
    for higher in found.higher.tolist():
        assert agrees(higher, 3000, truth)
    assert bool(((found.low < truth) & (truth < found.high)).all())
    assert found.undecided.sum() == 0


def test_minimum_maximum_and_line() -> None:
    theta = torch.zeros(4).double()
    assert neighbour_ratio(quadratic([1.0, 2.0, 1e-3, 5.0]), theta, [1e-3, 1.0], samples=300).ratio.tolist() == [1, 1]
    assert neighbour_ratio(quadratic([-1.0] * 4), theta, [1e-3], samples=300).ratio.tolist() == [0.0]
    line = neighbour_ratio(quadratic([0.0] * 4, [1.0, -2.0, 0.0, 3.0]), theta, [1e-3], samples=3000)
    assert agrees(int(line.higher), 3000, 0.5)


@pytest.mark.parametrize("radius", [0.01, 0.3, 1.0, 4.0])
def test_slope_and_curvature_mix_with_the_radius(radius: float) -> None:
    """L = |δ|²/2 + g·δ on a sphere of radius r rises where cos ∠(δ, g) > −r / (2|g|)."""
    objective = quadratic([1.0, 1.0, 1.0], [0.0, 0.0, 1.0])
    truth = min(1.0, 0.5 * (1.0 + radius / 2.0))  # in three dimensions the cosine is uniform (Archimedes)
    found = neighbour_ratio(objective, torch.zeros(3).double(), [radius], samples=3000)
    assert agrees(int(found.higher), 3000, truth) if truth < 1 else int(found.higher) == 3000


def test_steps_are_as_long_as_said() -> None:
    """L = ‖θ‖²-like probes: thresholds on the loss measure the lengths."""
    objective = quadratic([2.0, 2.0])  # L = |δ|²
    at = torch.zeros(2).double()
    for scale, radius, threshold, share in (
        ("norm", 3.0, 9.0 - 1e-9, 1.0),
        ("norm", 3.0, 9.0 + 1e-9, 0.0),
        ("coordinate", 3.0, 9.0, math.exp(-0.5)),  # χ²₂ > 1
    ):
        found = neighbour_ratio(objective, at, [radius], samples=2000, scale=scale, rounding=threshold)
        assert agrees(int(found.higher), 2000, share) if 0 < share < 1 else float(found.ratio) == share
    here = torch.tensor([5.0, -3.0]).double()
    slopes = quadratic([0.0, 0.0], [1.0, 0.0])  # L = θ₁: only |θ₁| matters for relative steps
    uniform = neighbour_ratio(slopes, here, [0.1], samples=4000, scale="relative-uniform", rounding=0.25)
    assert agrees(int(uniform.higher), 4000, 0.25)  # δ₁ uniform in ± 0.5
    assert agrees(int(uniform.lower), 4000, 0.25)
    gauss = neighbour_ratio(slopes, here, [0.1], samples=4000, scale="relative", rounding=0.5)
    assert agrees(int(gauss.higher), 4000, 0.15866)  # δ₁ ~ N(0, 0.5²)


def test_changes_within_rounding_are_undecided() -> None:
    found = neighbour_ratio(quadratic([1.0] * 3, constant=1.0), torch.zeros(3).double(), [1e-9, 1e-2], samples=200)
    assert found.undecided.tolist() == [200, 0]
    assert found.ratio.tolist() == [0.0, 1.0]
    assert (float(found.low[0]), float(found.high[0])) == (0.0, 1.0)  # nothing is known at the smaller radius
    flat = neighbour_ratio(quadratic([0.0] * 3), torch.ones(3).double(), [1.0], samples=50)
    assert flat.undecided.tolist() == [50]


def test_small_residuals_make_the_rounding_larger_than_that_of_the_loss() -> None:
    x = torch.linspace(-1, 1, 30).double()[:, None]
    model = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    with torch.no_grad():
        target = model(x) + 1e-7
    objective = Objective(model, nn.MSELoss(), (x, target))
    found = neighbour_ratio(objective, objective.theta, [1e-3], samples=20)
    assert float(found.rounding) > 100 * 2.2e-16 * float(found.loss)


def test_replicas_are_independent_of_their_company_and_one_bad_one_harms_none() -> None:
    objective = quadratic([1.0, -1.0, 0.5], [0.1, 0.0, 0.0])
    theta = torch.randn(2, 3, 3, dtype=torch.float64)
    theta[1, 0] = math.nan
    whole = neighbour_ratio(objective, theta, [0.1, 1.0], samples=100, seed=5)
    assert whole.ratio.shape == (2, 3, 2)
    assert whole.status == ("counted",) * 3 + ("nonfinite",) + ("counted",) * 2
    assert bool(whole.ratio[1, 0].isnan().all())
    assert whole.higher[1, 0].tolist() == whole.undecided[1, 0].tolist() == [0, 0]
    alone = neighbour_ratio(objective, theta[1, 2], [0.1, 1.0], samples=100, seed=5, first=5)
    assert torch.equal(alone.higher, whole.higher[1, 2])
    lean = neighbour_ratio(objective, theta, [0.1, 1.0], samples=100, seed=5, memory=1)
    assert torch.equal(lean.higher, whole.higher)
    other = neighbour_ratio(objective, theta, [0.1, 1.0], samples=100, seed=6)
    assert not torch.equal(other.higher, whole.higher)


def test_wilson_intervals_agree_with_scipy_and_cover() -> None:
    for k in (0, 1, 17, 99, 100):
        low, high = wilson_interval(torch.tensor(k), 100, 0.9)
        reference = binomtest(k, 100).proportion_ci(0.9, method="wilson")
        assert (float(low), float(high)) == pytest.approx((reference.low, reference.high), abs=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"radii": []}, "radii must hold at least one radius, found none"),
        ({"radii": [0.1, 0.0]}, "radii must be positive and finite, found 0.0"),
        ({"samples": 0}, "samples must be at least 1, found 0"),
        ({"scale": "sigma"}, "scale must be one of norm, coordinate, relative, relative-uniform, found 'sigma'"),
        ({"rounding": -1.0}, "rounding must not be negative, found -1.0"),
        ({"confidence": 0.0}, "confidence must lie between 0 and 1, found 0.0"),
        ({"theta": torch.zeros(0, 2).double()}, "theta must hold at least one vector, found shape (0, 2)"),
    ],
)
def test_bad_input(arguments: dict, message: str) -> None:
    given = {"theta": torch.zeros(2).double(), "radii": [0.1]} | arguments
    with pytest.raises(InputError) as caught:
        neighbour_ratio(quadratic([1.0, 1.0]), **given)
    assert str(caught.value) == message

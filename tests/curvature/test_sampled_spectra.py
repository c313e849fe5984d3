"""Densities and counts on drawn samples: against the exact spectrum of all data, with the error that they state."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import nn

from thalweg.curvature import estimate_counts, hessian, hessian_operator, minimal_ratio, spectral_density
from thalweg.errors import InputError
from thalweg.generalization import hessian_sharpness
from thalweg.objective import Objective

SAMPLES = 400
torch.manual_seed(0)
X = torch.randn(SAMPLES, 4, dtype=torch.float64)
OBJECTIVE = Objective(
    nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).double(), nn.MSELoss(), (X, X[:, :2].sin() + X[:, 2:])
)
THETA = OBJECTIVE.theta
EXACT = torch.linalg.eigvalsh(hessian(OBJECTIVE, THETA)).numpy()
OPERATOR = hessian_operator(OBJECTIVE, THETA)
GRID, WIDTH, BAND = torch.linspace(-0.1, 1.0, 12, dtype=torch.float64), 0.08, 0.02


def smoothed(grid: np.ndarray) -> np.ndarray:
    """The exact density under the same kernel."""
    return norm.pdf(grid[:, None], EXACT, WIDTH).mean(1)


def test_errors_of_a_density_cover_the_exact_one() -> None:
    truth, hits, scaled = smoothed(GRID.numpy()), [], []
    for seed in range(6):
        found = spectral_density(
            OPERATOR, probes=12, steps=23, width=WIDTH, grid=GRID, samples=100, subsets=6, seed=seed
        )
        error = np.hypot(found.sampling_errors.numpy(), (found.upper - found.lower).numpy() / 4)
        scaled.append(np.abs(found.density.numpy() - truth) / error)
        low, high = found.reach
        hits.append((low.numpy() <= truth) & (truth <= high.numpy()))
    assert np.mean(hits) >= 0.9  # 95 % asked for
    assert 0.3 < np.median(scaled) < 1.5  # and the error is not simply too large: 0.67 for a Gaussian


def test_errors_of_counts_cover_the_exact_ones() -> None:
    truth = {
        "negative": (EXACT < -BAND).sum(),
        "undecided": (np.abs(EXACT) <= BAND).sum(),
        "positive": (EXACT > BAND).sum(),
    }
    hits = []
    for seed in range(6):
        found = estimate_counts(OPERATOR, BAND, probes=12, steps=23, samples=100, subsets=6, seed=seed)
        assert found.negative + found.undecided + found.positive == pytest.approx(found.size)
        for name, number in truth.items():
            low, high = getattr(found, f"{name}_interval")
            hits.append(low <= number <= high)
    assert np.mean(hits) >= 0.85


def test_all_samples_have_no_error_of_the_draw() -> None:
    whole = spectral_density(OPERATOR, probes=4, steps=20, width=WIDTH, grid=GRID)
    drawn = spectral_density(OPERATOR, probes=4, steps=20, width=WIDTH, grid=GRID, samples=SAMPLES, subsets=2)
    torch.testing.assert_close(drawn.density, whole.density)
    assert float(drawn.sampling_errors.max()) == 0.0
    torch.testing.assert_close(torch.stack(drawn.reach), torch.stack([whole.lower, whole.upper]))
    counts = estimate_counts(OPERATOR, BAND, probes=4, steps=20, samples=SAMPLES)
    assert counts.sampling_errors == (0.0, 0.0, 0.0)
    assert counts.positive_interval == pytest.approx(
        estimate_counts(OPERATOR, BAND, probes=4, steps=20).positive_interval
    )


def test_the_error_falls_with_the_samples() -> None:
    errors = [
        float(spectral_density(OPERATOR, probes=8, steps=30, width=WIDTH, grid=GRID, samples=n).sampling_errors.mean())
        for n in (40, 160)
    ]
    assert errors[1] < errors[0] / 1.5  # √4 = 2, and 1 − n/N


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(InputError, match="samples must be from 1 to the 400"):
        spectral_density(OBJECTIVE, samples=500)
    with pytest.raises(InputError, match="samples needs the operator of an objective"):
        estimate_counts(torch.eye(3, dtype=torch.float64), 0.1, samples=2)
    assert math.isfinite(estimate_counts(OBJECTIVE, BAND, samples=40, subsets=2, probes=2, steps=5).positive)


def test_intervals_of_a_minimal_ratio_cover_the_exact_one() -> None:
    exact = float(minimal_ratio(OBJECTIVE, THETA, method="eigvalsh").ratio)
    hits, widths = 0, []
    for seed in range(6):
        found = minimal_ratio(OBJECTIVE, THETA, samples=100, steps=23, minimum_band=BAND, seed=seed)
        of_all = minimal_ratio(OBJECTIVE, THETA, method="estimate", steps=23, minimum_band=BAND, seed=seed)
        hits += float(found.low) <= float(of_all.ratio) <= float(found.high)
        widths.append(float(found.high - found.low) >= float(of_all.high - of_all.low) - 0.05)
    assert found.method == "estimate"
    assert float(found.loss) != float(OBJECTIVE.value(THETA))  # that of the samples
    assert hits >= 5
    assert sum(widths) >= 5
    assert 0 < exact <= 1
    with pytest.raises(InputError, match="samples applies to method 'estimate' only, found method 'ldl'"):
        minimal_ratio(OBJECTIVE, THETA, method="ldl", samples=100)


def test_errors_of_sharpness_on_samples_are_its_scatter() -> None:
    """λmax and the trace over many draws, against the exact ones and against the errors stated."""
    found = [hessian_sharpness(OBJECTIVE, THETA, samples=100, trace_products=100, seed=seed) for seed in range(30)]
    for column, name, true in ((0, "largest", EXACT[-1]), (2, "trace", EXACT.sum())):
        off = np.array([float(getattr(one, name)) for one in found]) - true
        errors = np.array([float(one.sampling_errors[column]) for one in found])
        assert 0.6 < np.sqrt(np.mean(errors**2)) / np.sqrt(np.mean(off**2)) < 1.7, name
    alone = hessian_sharpness(OBJECTIVE, torch.stack([THETA, 2 * THETA]), samples=100, seed=3)
    assert float(alone.largest[0]) == pytest.approx(float(found[3].largest), rel=1e-6)
    assert alone.sampling_errors is not None
    assert alone.sampling_errors.shape == (2, 3)
    assert "The draw of 100 samples adds" in alone.summary()
    assert "trace sampling error" in alone.table().columns


def test_sharpness_on_all_samples_is_that_of_all_data() -> None:
    found, whole = (hessian_sharpness(OBJECTIVE, THETA, samples=n, trace_products=100) for n in (SAMPLES, None))
    for name in ("largest", "smallest", "trace", "loss"):
        assert float(getattr(found, name)) == pytest.approx(float(getattr(whole, name)), rel=1e-6)
    assert found.sampling_errors.abs().max() < 1e-12
    assert whole.sampling_errors is None

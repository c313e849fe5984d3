"""Estimated counts: their intervals hold the truth, whatever the spectrum does at the thresholds."""

from __future__ import annotations

import math

import pytest
import torch

from thalweg.curvature.counts import estimate_counts, share_below
from thalweg.curvature.density import quadrature
from thalweg.curvature.operator import Operator
from thalweg.errors import InputError


def matrix_with(values: torch.Tensor) -> torch.Tensor:
    n = len(values)
    basis, _ = torch.linalg.qr(torch.randn(n, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    matrix = (basis * values) @ basis.mT
    return 0.5 * (matrix + matrix.mT)


APART = torch.cat([-torch.linspace(0.5, 1, 40), torch.zeros(60), torch.linspace(0.3, 2, 200)]).double()
DENSE_AT_ZERO = torch.linspace(-1, 1, 300, dtype=torch.float64) ** 5
FEW_NEGATIVE = torch.cat([-torch.linspace(0.5, 1, 3), torch.linspace(0.1, 2, 297)]).double()


@pytest.mark.parametrize("values", [APART, DENSE_AT_ZERO, FEW_NEGATIVE], ids=["apart", "dense at zero", "few negative"])
def test_the_intervals_hold_the_counts(values: torch.Tensor) -> None:
    operator, band = Operator.dense(matrix_with(values)), 1e-3
    truth = [int((values < -band).sum()), int((values.abs() <= band).sum()), int((values > band).sum())]
    held = []
    for seed in range(40):
        found = estimate_counts(operator, band, probes=8, steps=30, seed=seed)
        assert found.negative + found.undecided + found.positive == pytest.approx(len(values), rel=1e-12)
        intervals = (found.negative_interval, found.undecided_interval, found.positive_interval)
        held.append([low <= count <= high for (low, high), count in zip(intervals, truth, strict=True)])
    assert min(torch.tensor(held).double().mean(0).tolist()) >= 0.9  # 0.95 asked; 40 draws


def test_a_single_eigenvalue_is_covered_as_often_as_asked_for() -> None:
    """Its weight is a squared Gaussian, skewed: Student's interval held it in 80 to 88 % of cases."""
    values = torch.cat([torch.full((1,), -3.0), torch.linspace(0.5, 1, 119)]).double()
    operator = Operator(120, torch.float64, torch.device("cpu"), lambda rows: rows * values)
    held = []
    for seed in range(300):
        found = estimate_counts(operator, 0.1, probes=4, steps=8, seed=seed)
        intervals = (found.negative_interval, found.positive_interval)
        held.append([low <= count <= high for (low, high), count in zip(intervals, (1, 119), strict=True)])
    assert min(torch.tensor(held).double().mean(0).tolist()) >= 0.915


def test_a_gap_at_the_thresholds_leaves_the_sampling_error_only() -> None:
    found = estimate_counts(Operator.dense(matrix_with(APART)), 0.1, probes=30, steps=40)
    assert found.negative == pytest.approx(40, abs=6)
    assert found.undecided == pytest.approx(60, abs=8)
    assert found.undecided_interval[1] - found.undecided_interval[0] < 12


def test_a_mass_unresolved_from_the_threshold_widens_the_interval() -> None:
    values = torch.cat([torch.full((150,), -2e-4), torch.linspace(0.5, 100, 150)]).double()
    found = estimate_counts(Operator.dense(matrix_with(values)), 1e-4, probes=8, steps=4)
    assert found.negative_interval[0] < 10
    assert found.negative_interval[1] > 140


@pytest.mark.parametrize("x", [-0.7, -0.2, 0.0, 0.31, 5.0])
def test_the_bounds_of_the_quadrature_hold_for_every_probe(x: float) -> None:
    values = torch.linspace(-1, 1, 100, dtype=torch.float64) ** 3
    rule = quadrature(Operator.dense(torch.diag(values)), probes=20, steps=12, seed=4)
    low, high = share_below(rule, x)
    generator = torch.Generator().manual_seed(4)
    for i in range(20):
        v = torch.randn(100, generator=generator, dtype=torch.float64)
        exact = float((v / v.norm())[values < x].square().sum())
        assert low[i] - 1e-12 <= exact <= high[i] + 1e-12


def test_an_exhausted_probe_is_exact() -> None:
    values = torch.tensor([-1.0, -1.0, 2.0, 2.0, 2.0], dtype=torch.float64)
    rule = quadrature(Operator.dense(matrix_with(values)), probes=3, steps=5)
    low, high = share_below(rule, 0.0)
    torch.testing.assert_close(low, high)


def test_nan_products_are_a_status_and_bad_input_is_named() -> None:
    found = estimate_counts(Operator.dense(torch.full((5, 5), math.nan)), 0.1)
    assert found.status == "nonfinite"
    assert math.isnan(found.negative)
    with pytest.raises(InputError, match=r"band must be positive and finite, found 0\.0"):
        estimate_counts(Operator.dense(torch.eye(5)), 0.0)
    with pytest.raises(InputError, match=r"confidence must lie between 0 and 1, found 2\.0"):
        estimate_counts(Operator.dense(torch.eye(5)), 1.0, confidence=2.0)

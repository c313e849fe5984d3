"""Spectral densities against closed forms, and the band against repeated runs."""

from __future__ import annotations

import math

import pytest
import torch

from thalweg.curvature.density import quadrature, spectral_density
from thalweg.curvature.operator import Operator
from thalweg.errors import InputError


def semicircle_matrix(n: int) -> torch.Tensor:
    """Wigner (1958): eigenvalues fill [−1, 1] with density 2/π √(1 − x²)."""
    a = torch.randn(n, n, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return (a + a.mT) / math.sqrt(8 * n)


def covariance_matrix(n: int, ratio: float) -> torch.Tensor:
    """Marchenko & Pastur (1967): n / samples = ratio, unit variance."""
    x = torch.randn(n, round(n / ratio), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return x @ x.mT / x.shape[1]


def smoothed(density: torch.Tensor, grid: torch.Tensor, width: float, at: torch.Tensor) -> torch.Tensor:
    kernel = torch.exp(-0.5 * ((at[:, None] - grid) / width) ** 2) / (width * math.sqrt(2 * math.pi))
    return torch.trapezoid(kernel * density, grid)


def test_semicircle() -> None:
    found = spectral_density(Operator.dense(semicircle_matrix(1000)), probes=30, steps=60)
    x = torch.linspace(-1, 1, 4001, dtype=torch.float64)
    truth = smoothed(2 / math.pi * (1 - x**2).sqrt(), x, found.width, found.grid)
    assert float(torch.trapezoid((found.density - truth).abs(), found.grid)) < 0.05  # total variation, in all 2
    assert float(((found.lower <= truth) & (truth <= found.upper)).double().mean()) > 0.8
    assert float(torch.trapezoid(found.density, found.grid)) == pytest.approx(1.0, abs=1e-5)
    assert float(torch.trapezoid(found.density * found.grid**2, found.grid)) == pytest.approx(
        0.25 + found.width**2, rel=0.03
    )


def test_marchenko_pastur() -> None:
    ratio = 0.25
    found = spectral_density(Operator.dense(covariance_matrix(1000, ratio)), probes=30, steps=60)
    low, high = (1 - math.sqrt(ratio)) ** 2, (1 + math.sqrt(ratio)) ** 2
    x = torch.linspace(low, high, 4001, dtype=torch.float64)
    truth = ((high - x) * (x - low)).clamp(min=0).sqrt() / (2 * math.pi * ratio * x)
    truth = smoothed(truth, x, found.width, found.grid)
    assert float(torch.trapezoid((found.density - truth).abs(), found.grid)) < 0.05
    assert float(((found.lower <= truth) & (truth <= found.upper)).double().mean()) > 0.8


def test_marchenko_pastur_with_an_atom_at_zero() -> None:
    found = spectral_density(Operator.dense(covariance_matrix(800, 2.0)), probes=30, steps=60, width=0.01)
    near = found.grid.abs() < 0.05  # the bulk starts at (1 − √2)² = 0.17
    assert float(torch.trapezoid(found.density[near], found.grid[near])) == pytest.approx(0.5, abs=0.02)


def test_the_band_covers_the_exact_smoothed_density_as_often_as_said() -> None:
    matrix = semicircle_matrix(200)
    values = torch.linalg.eigvalsh(matrix)
    grid = torch.linspace(-0.9, 0.9, 10, dtype=torch.float64)
    width = 0.08
    truth = torch.exp(-0.5 * ((grid[:, None] - values) / width) ** 2).mean(-1) / (width * math.sqrt(2 * math.pi))
    inside = []
    for seed in range(100):
        found = spectral_density(Operator.dense(matrix), probes=6, steps=40, grid=grid, width=width, seed=seed)
        inside.append((found.lower <= truth) & (truth <= found.upper))
    covered = torch.stack(inside).double().mean()
    assert 0.91 < float(covered) < 0.98  # 0.95 over 100 independent runs at 10 correlated points


def test_the_band_covers_an_isolated_eigenvalue() -> None:
    matrix = torch.diag(torch.cat([torch.linspace(-0.1, 0.1, 99), torch.ones(1)]).double())
    grid, width = torch.ones(1, dtype=torch.float64), 0.05
    truth = 0.01 / (width * math.sqrt(2 * math.pi))  # one eigenvalue of a hundred
    inside = 0
    for seed in range(300):
        found = spectral_density(Operator.dense(matrix), probes=6, steps=20, grid=grid, width=width, seed=seed)
        inside += bool(found.lower <= truth <= found.upper)
    assert 0.89 < inside / 300 < 0.98  # 0.93 expected for χ² samples with one degree of freedom; Student's reaches 0.83


def test_more_probes_narrow_the_band() -> None:
    operator = Operator.dense(semicircle_matrix(300))
    few, many = (spectral_density(operator, probes=k, steps=30, width=0.1) for k in (10, 90))
    shrink = float((many.upper - many.lower).mean() / (few.upper - few.lower).mean())
    assert shrink == pytest.approx(1 / 3 * 1.99 / 2.26, rel=0.25)  # 1/√9 and Student's quantiles


def test_quadrature_integrates_polynomials_exactly() -> None:
    """m steps are exact to degree 2m − 1 against the measure of each probe."""
    matrix = semicircle_matrix(100)
    rule = quadrature(Operator.dense(matrix), probes=3, steps=4, seed=5)
    generator = torch.Generator().manual_seed(5)
    for i in range(3):
        v = torch.randn(100, generator=generator, dtype=torch.float64)
        v = v / v.norm()
        for power in range(8):
            exact = v @ torch.linalg.matrix_power(matrix, power) @ v
            assert float(rule.weights[i] @ rule.nodes[i] ** power) == pytest.approx(float(exact), abs=1e-12)


def test_memory_decides_only_how_many_probes_run_together() -> None:
    operator = Operator.dense(semicircle_matrix(60))
    one, all_ = quadrature(operator, probes=4, steps=10, memory=1), quadrature(operator, probes=4, steps=10)
    torch.testing.assert_close(one.nodes, all_.nodes)
    torch.testing.assert_close(one.weights, all_.weights)
    assert one.products == all_.products == 40


def test_without_reorthogonalisation_copies_share_their_weight() -> None:
    values = torch.cat([torch.linspace(0, 1, 200, dtype=torch.float64), torch.tensor([10.0, 20.0]).double()])
    operator = Operator.dense(torch.diag(values))
    lean = quadrature(operator, probes=4, steps=80, reorthogonalise=False)
    full = quadrature(operator, probes=4, steps=80)
    assert int((lean.nodes > 19).sum()) > int((full.nodes > 19).sum()) == 4
    for edge in (1.5, 15.0):
        torch.testing.assert_close(
            (lean.weights * (lean.nodes > edge)).sum(-1),
            (full.weights * (full.nodes > edge)).sum(-1),
            rtol=1e-6,
            atol=0,
        )


@pytest.mark.parametrize("values", [[2.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0], [1.0, 1.0, -3.0]])
def test_few_distinct_eigenvalues(values: list[float]) -> None:
    matrix = torch.diag(torch.tensor(values, dtype=torch.float64))
    found = spectral_density(Operator.dense(matrix), probes=4)
    rule = found.quadrature
    torch.testing.assert_close(rule.weights.sum(-1), torch.ones(4, dtype=torch.float64))
    real = rule.nodes[rule.weights > 1e-12]
    assert float((real[:, None] - torch.tensor(values).double()).abs().min(-1).values.max()) < 1e-12
    assert float(torch.trapezoid(found.density, found.grid)) == pytest.approx(1.0, abs=1e-5)


def test_nan_products_are_a_status() -> None:
    matrix = semicircle_matrix(50)
    matrix[3, 4] = math.nan
    found = spectral_density(Operator.dense(matrix), probes=2, steps=5)
    assert found.status == "nonfinite"
    assert bool(found.density.isnan().all())


@pytest.mark.parametrize("width", [1e-12, 1e-200, 5e-324])
def test_a_width_for_which_no_grid_fits(width: float) -> None:
    with pytest.raises(InputError, match=f"width must fit in the memory of .*, found {width:g} between eigenvalues"):
        spectral_density(Operator.dense(torch.diag(torch.arange(5.0).double())), width=width)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"probes": 1}, "probes must be at least 2, found 1"),
        ({"steps": 0}, "steps must be at least 1, found 0"),
        ({"width": 0.0}, "width must be positive and finite, found 0.0"),
        ({"width": math.inf}, "width must be positive and finite, found inf"),
        ({"confidence": 1.0}, "confidence must lie between 0 and 1, found 1.0"),
        ({"grid": torch.zeros(2, 2)}, "grid must have shape (G,), found (2, 2)"),
        ({"points": 1}, "points must be at least 2, found 1"),
    ],
)
def test_bad_input(arguments: dict, message: str) -> None:
    with pytest.raises(InputError) as caught:
        spectral_density(Operator.dense(torch.eye(5)), **arguments)
    assert str(caught.value) == message


def test_the_range_is_that_of_the_spectrum_where_probes_are_exhausted() -> None:
    """Two eigenvalues end Lanczos after two steps; what followed stretched range and kernel down to zero."""
    values = torch.cat([torch.full((50,), 100.0), torch.full((50,), 101.0)]).double()
    operator = Operator(100, torch.float64, torch.device("cpu"), lambda rows: rows * values)
    found = spectral_density(operator, probes=3, steps=40)
    assert found.width == pytest.approx(1.2 / 40)
    assert 99 < float(found.grid[0]) < float(found.grid[-1]) < 102
    assert float(torch.trapezoid(found.density, found.grid)) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("steps", [1, 5])
def test_a_multiple_of_the_identity_has_a_kernel_that_floats_resolve(steps: int) -> None:
    values = torch.full((50,), 0.1, dtype=torch.float64)
    operator = Operator(50, torch.float64, torch.device("cpu"), lambda rows: rows * values)
    found = spectral_density(operator, probes=5, steps=steps)
    assert found.width == pytest.approx(1e-4)
    assert float(torch.trapezoid(found.density, found.grid)) == pytest.approx(1, abs=1e-6)

"""Eigenpairs against dense decompositions, on spectra that break a plain Lanczos."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse.linalg
import torch

from thalweg.curvature.bounds import norm_bounds
from thalweg.curvature.lanczos import eigenpairs
from thalweg.curvature.operator import Operator
from thalweg.errors import InputError


def matrix_with(values: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """A dense symmetric matrix with these eigenvalues in a random basis."""
    n = len(values)
    basis, _ = torch.linalg.qr(torch.randn(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
    matrix = (basis * values) @ basis.mT
    return 0.5 * (matrix + matrix.mT)


def network_like(n: int = 400) -> torch.Tensor:
    """Few outliers, a thin positive tail, a bulk at zero, some negative ones."""
    generator = torch.Generator().manual_seed(1)
    outliers = torch.tensor([30.0, 14.0, 9.0, 6.0, 4.5], dtype=torch.float64)
    tail = torch.empty(150, dtype=torch.float64).exponential_(20.0, generator=generator)
    bulk = 1e-4 * torch.randn(n - 165, generator=generator, dtype=torch.float64)
    return torch.cat([outliers, tail, bulk, -torch.linspace(0.1, 1.5, 10, dtype=torch.float64)])


SPECTRA = {
    "network": network_like(),
    "uniform": torch.linspace(-1, 1, 100, dtype=torch.float64),
    "geometric": torch.logspace(-2, 0, 200, dtype=torch.float64),
    "negative": -torch.logspace(-1, 2, 100, dtype=torch.float64),
    "kronecker": torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0, 0.1], dtype=torch.float64).repeat_interleave(10),
    "two values": torch.tensor([1.0, 2.0], dtype=torch.float64).repeat_interleave(40),
    "identity": torch.ones(50, dtype=torch.float64),
    "low rank": torch.cat([torch.tensor([3.0, -2.0], dtype=torch.float64), torch.zeros(98, dtype=torch.float64)]),
    "zero": torch.zeros(30, dtype=torch.float64),
    "tiny": torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64),
    "one": torch.tensor([-3.0], dtype=torch.float64),
}


def wanted(values: torch.Tensor, k: int, which: str) -> torch.Tensor:
    ascending, count = values.sort().values, len(values)
    if which == "largest":
        return ascending.flip(0)[:k]
    if which == "smallest":
        return ascending[:k]
    if which == "magnitude":
        return ascending[ascending.abs().argsort(descending=True)][:k]
    return ascending.flip(0) if 2 * k >= count else torch.cat([ascending.flip(0)[:k], ascending[:k].flip(0)])


@pytest.mark.parametrize("which", ["largest", "smallest", "both", "magnitude"])
@pytest.mark.parametrize("name", SPECTRA)
def test_agrees_with_the_dense_decomposition(name: str, which: str) -> None:
    values = SPECTRA[name]
    matrix = matrix_with(values)
    operator = Operator.dense(matrix)
    found = eigenpairs(operator, 5, which=which, tolerance=1e-6, relative_to="norm")
    norm = max(float(values.abs().max()), 1e-300)
    assert found.status == "converged", found.message
    assert found.products == operator.products
    assert bool(found.converged.all())
    assert found.complete
    torch.testing.assert_close(
        found.values.abs() if which == "magnitude" else found.values,
        wanted(values, 5, which).abs() if which == "magnitude" else wanted(values, 5, which),
        rtol=0,
        atol=1e-6 * norm,
    )
    true = torch.linalg.vector_norm(found.vectors @ matrix - found.values[:, None] * found.vectors, dim=-1)
    torch.testing.assert_close(true, found.residuals, rtol=1e-3, atol=1e-12 * norm)
    beyond = values[(values > found.excluded[1] + 1e-9 * norm) | (values < found.excluded[0] - 1e-9 * norm)]
    listed = (found.values > found.excluded[1] + 1e-9 * norm) | (found.values < found.excluded[0] - 1e-9 * norm)
    assert len(beyond) == int(listed.sum())
    identity = torch.eye(len(found.values), dtype=torch.float64)
    torch.testing.assert_close(found.vectors @ found.vectors.mT, identity, rtol=0, atol=1e-12)


def test_nothing_lies_in_the_excluded_part_of_the_spectrum() -> None:
    values = SPECTRA["network"]
    for seed in range(10):
        found = eigenpairs(Operator.dense(matrix_with(values)), 3, which="both", seed=seed)
        low, high = found.excluded
        assert found.complete
        high, low = high + 1e-9, low - 1e-9  # an end may be one of the values found, to rounding
        assert int((values > high).sum()) == int((found.values > high).sum())
        assert int((values < low).sum()) == int((found.values < low).sum())
        assert high <= 1.01 * float(found.values[2])
        assert low >= 1.01 * float(found.values[3])


@pytest.mark.parametrize("name", ["network", "geometric", "uniform"])
def test_search_needs_fewer_products_than_arpack(name: str) -> None:
    values = SPECTRA[name]
    matrix = matrix_with(values)
    operator = Operator.dense(matrix)
    ours = [eigenpairs(operator, 5, which="largest", check=False, seed=seed) for seed in range(3)]
    assert all(bool((o.residuals <= 1e-4 * o.values.abs()).all()) for o in ours)
    theirs = Operator.dense(matrix)
    for seed in range(3):
        start = np.random.default_rng(seed).normal(size=len(values))
        scipy.sparse.linalg.eigsh(theirs.to_scipy(), k=5, which="LA", tol=1e-4, v0=start)
    assert sum(o.products for o in ours) < theirs.products


def test_with_its_check_a_network_spectrum_costs_fewer_products_than_arpack() -> None:
    matrix = matrix_with(SPECTRA["network"])
    ours = eigenpairs(Operator.dense(matrix), 5)
    theirs = Operator.dense(matrix)
    scipy.sparse.linalg.eigsh(theirs.to_scipy(), k=5, which="LA", tol=1e-4, v0=np.ones(len(matrix)))
    assert ours.complete
    assert ours.products < theirs.products


def test_thick_restart_in_a_small_subspace_reaches_the_same_values() -> None:
    values = SPECTRA["geometric"]
    found = eigenpairs(Operator.dense(matrix_with(values)), 4, subspace=15, tolerance=1e-8)
    assert found.restarts > 3
    assert bool(found.converged.all())
    torch.testing.assert_close(found.values, wanted(values, 4, "largest"), rtol=1e-10, atol=0)


def test_a_start_near_the_answer_saves_products() -> None:
    operator = Operator.dense(matrix_with(SPECTRA["uniform"]))
    cold = eigenpairs(operator, 2, tolerance=1e-3, check=False)
    warm = eigenpairs(operator, 2, tolerance=1e-3, check=False, start=cold.vectors)
    assert warm.products < cold.products / 2
    assert eigenpairs(operator, 1, start=cold.vectors[0]).status == "converged"


def test_an_eigenvector_as_start_hides_nothing() -> None:
    matrix = torch.diag(torch.tensor([1.0, 2.0, 7.0, 7.0], dtype=torch.float64))
    found = eigenpairs(Operator.dense(matrix), 2, start=torch.eye(4, dtype=torch.float64)[0])
    assert found.values.tolist() == pytest.approx([7.0, 7.0])


def test_a_budget_too_small_is_said() -> None:
    found = eigenpairs(Operator.dense(matrix_with(SPECTRA["uniform"])), 5, max_products=20)
    assert found.products == 20
    assert found.status == "unconverged"
    assert not found.complete
    assert not bool(found.converged.all())
    assert "of 5 eigenpairs" in found.message
    few = eigenpairs(Operator.dense(matrix_with(SPECTRA["uniform"])), 5, max_products=2)
    assert few.values.isnan().tolist() == [False, False, True, True, True]


def test_an_unsettled_check_is_said() -> None:
    found = eigenpairs(Operator.dense(matrix_with(SPECTRA["uniform"])), 5, margin=1e-9, tolerance=1e-3)
    assert found.status == "converged"
    assert not found.complete
    assert found.excluded[1] > float(found.values[-1])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nonfinite_products_are_a_status(bad: float) -> None:
    matrix = matrix_with(SPECTRA["network"])
    calls = iter(range(1000))

    def matvec(rows: torch.Tensor) -> torch.Tensor:
        return rows @ matrix * (bad if next(calls) == 4 else 1.0)

    found = eigenpairs(Operator(len(matrix), torch.float64, matrix.device, matvec, "Hessian"), 3)
    assert found.status == "nonfinite"
    assert bool(found.values.isnan().all())
    assert bool(found.vectors.isnan().all())
    assert not bool(found.converged.any())
    assert "Hessian" in found.message


def test_an_asymmetric_product_is_measured_and_kept_out_of_convergence() -> None:
    matrix = matrix_with(SPECTRA["network"])
    matrix = matrix + 0.01 * torch.randn(matrix.shape, dtype=torch.float64)
    found = eigenpairs(Operator.dense(matrix), 2, max_products=100)
    assert found.asymmetry > 0.01
    assert found.status == "unconverged"
    assert "asymmetric" in found.message


def test_float32_operators_reach_what_float32_can() -> None:
    values = SPECTRA["network"]
    found = eigenpairs(Operator.dense(matrix_with(values).float()), 5)
    assert found.vectors.dtype == torch.float32
    assert bool(found.converged.all())
    torch.testing.assert_close(found.values, wanted(values, 5, "largest"), rtol=1e-5, atol=0)


def test_the_seed_decides_the_numbers() -> None:
    operator = Operator.dense(matrix_with(SPECTRA["network"]))
    one, two, other = (eigenpairs(operator, 2, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(one.vectors, two.vectors)
    assert not torch.equal(one.vectors, other.vectors)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "k must be at least 1, found 0"),
        ({"which": "top"}, "which must be one of largest, smallest, both, magnitude, found 'top'"),
        ({"tolerance": 0.0}, "tolerance must lie between 0 and 1, found 0.0"),
        ({"relative_to": "trace"}, "relative_to must be 'value' or 'norm', found 'trace'"),
        ({"margin": -1.0}, "margin must be positive, found -1.0"),
        ({"max_products": 0}, "max_products must be at least 1, found 0"),
        ({"k": 5, "subspace": 6}, "subspace must be at least 8 for 5 pairs, found 6"),
        ({"start": torch.ones(3)}, "start must have shape (50,) or (b, 50), found (3,)"),
        ({"start": torch.zeros(50)}, "start must hold finite, non-zero vectors"),
    ],
)
def test_bad_input(arguments: dict, message: str) -> None:
    with pytest.raises(InputError) as caught:
        eigenpairs(Operator.dense(torch.eye(50, dtype=torch.float64)), **arguments)
    assert str(caught.value) == message


def test_float32_products_whose_squares_overflow() -> None:
    """The norm of a product was infinite, so that every residual counted as rounding: wrong values, "converged"."""
    values = torch.linspace(-1, 1, 50) * 1e20
    found = eigenpairs(Operator(50, torch.float32, torch.device("cpu"), lambda rows: rows * values), 2)
    assert found.status == "converged"
    torch.testing.assert_close(found.values, values.double().flip(0)[:2], rtol=1e-3, atol=0)


def test_float64_products_whose_squares_overflow_are_not_finite() -> None:
    values = torch.linspace(-1, 1, 50, dtype=torch.float64) * 1e160
    operator = Operator(50, torch.float64, torch.device("cpu"), lambda rows: rows * values)
    assert eigenpairs(operator, 2).status == "nonfinite"
    assert all(math.isnan(bound) for bound in norm_bounds(operator))

"""Trace and diagonal: exact on low rank, convergent, and honest about their errors."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from thalweg.curvature.operator import Operator
from thalweg.curvature.trace import diagonal, trace
from thalweg.errors import InputError


def matrix_with(values: torch.Tensor, seed: int = 0) -> torch.Tensor:
    n = len(values)
    basis, _ = torch.linalg.qr(torch.randn(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
    return (basis * values) @ basis.mT


DECAY = matrix_with(0.8 ** torch.arange(120, dtype=torch.float64))
FLAT = matrix_with(torch.linspace(-1, 3, 120, dtype=torch.float64))


@pytest.mark.parametrize("method", ["xtrace", "hutch++", "hutchinson"])
@pytest.mark.parametrize("matrix", [DECAY, FLAT], ids=["decay", "flat"])
def test_the_standard_error_of_the_trace_is_the_error(method: str, matrix: torch.Tensor) -> None:
    operator = Operator.dense(matrix)
    found = [trace(operator, method=method, products=30, seed=seed) for seed in range(200)]
    errors = torch.tensor([f.value for f in found]).double() - matrix.trace()
    claimed = torch.tensor([f.standard_error for f in found]).double()
    actual = float(errors.square().mean().sqrt())
    assert abs(float(errors.mean())) < 4 * actual / math.sqrt(len(found))  # no bias
    assert 0.6 < float(claimed.square().mean().sqrt()) / actual < 1.6
    assert float((errors.abs() < 2 * claimed).double().mean()) > 0.85
    assert {f.products for f in found} == {30}


def test_the_standard_error_of_xtrace_sees_that_its_estimates_share_their_vectors() -> None:
    """Forty outliers for thirty vectors: the spread of the estimates alone was half the error."""
    values = torch.cat([torch.linspace(0, 0.1, 110), torch.linspace(1, 20, 40)]).double()
    operator = Operator(150, torch.float64, torch.device("cpu"), lambda rows: rows * values)
    found = [trace(operator, products=60, seed=seed) for seed in range(100)]
    errors = torch.tensor([f.value for f in found]).double() - values.sum()
    claimed = torch.tensor([f.standard_error for f in found]).double()
    assert 0.75 < float(claimed.square().mean().sqrt() / errors.square().mean().sqrt()) < 1.3
    assert float((errors.abs() < 2 * claimed).double().mean()) > 0.88


def test_the_better_methods_are_better_where_eigenvalues_decay() -> None:
    operator = Operator.dense(DECAY)
    rms = {
        method: float(
            torch.tensor(
                [trace(operator, method=method, products=60, seed=s).value - float(DECAY.trace()) for s in range(40)]
            )
            .square()
            .mean()
            .sqrt()
        )
        for method in ("xtrace", "hutch++", "hutchinson")
    }
    assert rms["xtrace"] < 0.2 * rms["hutch++"]
    assert rms["hutch++"] < 0.1 * rms["hutchinson"]


@pytest.mark.parametrize("method", ["xtrace", "hutch++"])
@pytest.mark.parametrize("rank", [0, 1, 5])
def test_low_rank_is_exact(method: str, rank: int) -> None:
    values = torch.zeros(80, dtype=torch.float64)
    values[:rank] = torch.arange(1, rank + 1, dtype=torch.float64) * torch.tensor([1.0, -1.0] * 40)[:rank].double()
    matrix = matrix_with(values)
    found = trace(Operator.dense(matrix), method=method, products=30)
    assert found.value == pytest.approx(float(values.sum()), abs=1e-12)
    assert found.standard_error < 1e-12
    estimate = diagonal(Operator.dense(matrix), products=30)
    torch.testing.assert_close(estimate.values, matrix.diagonal(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", ["xdiag", "hutchinson"])
@pytest.mark.parametrize("matrix", [DECAY, FLAT], ids=["decay", "flat"])
def test_the_standard_error_of_the_diagonal_is_the_error(method: str, matrix: torch.Tensor) -> None:
    operator = Operator.dense(matrix)
    found = [diagonal(operator, method=method, products=30, seed=seed) for seed in range(100)]
    errors = torch.stack([f.values for f in found]) - matrix.diagonal()
    claimed = torch.stack([f.standard_errors for f in found])
    ratio = (claimed.square().mean(0) / errors.square().mean(0)).sqrt()
    assert 0.6 < float(ratio.median()) < 1.6
    assert float((errors.mean(0) / (errors.std(0) / 10)).abs().max()) < 4.5  # no bias on any of the 120 entries


def test_xdiag_beats_hutchinson_where_eigenvalues_decay() -> None:
    operator = Operator.dense(DECAY)
    error = [
        float((diagonal(operator, method=m, products=60).values - DECAY.diagonal()).norm())
        for m in ("xdiag", "hutchinson")
    ]
    assert error[0] < 0.05 * error[1]


def test_xtrace_is_its_own_definition() -> None:
    """The fast formulas against leaving one or two vectors out at a time, by hand."""
    n, m = 20, 5
    matrix = matrix_with(torch.linspace(-1, 2, n, dtype=torch.float64))
    generator = torch.Generator().manual_seed(3)
    probes = torch.stack([torch.randn(n, generator=generator, dtype=torch.float64) for _ in range(m)])

    def estimate(i: int, *without: int) -> torch.Tensor:
        others = probes[[k for k in range(m) if k not in (i, *without)]]
        q, _ = torch.linalg.qr(matrix @ others.mT)
        rest = probes[i] - q @ (q.mT @ probes[i])
        return (q.mT @ matrix @ q).trace() + (n - len(others)) * (rest @ matrix @ rest) / (rest @ rest)

    by_hand = torch.stack([estimate(i) for i in range(m)])
    pairs = list(itertools.combinations(range(m), 2))
    shared = [(by_hand[i] - estimate(i, j)) * (by_hand[j] - estimate(j, i)) for i, j in pairs]
    variance = float(by_hand.var()) / m + max(0.0, float(torch.stack(shared).mean()))
    found = trace(Operator.dense(matrix), products=2 * m, seed=3)
    assert found.value == pytest.approx(float(by_hand.mean()), rel=1e-12)
    assert found.standard_error == pytest.approx(math.sqrt(variance), rel=1e-10)


@pytest.mark.parametrize("size", [1, 2, 30])
def test_enough_products_make_it_exact(size: int) -> None:
    a = torch.randn(size, size, dtype=torch.float64)
    matrix = a + a.mT
    found, estimate = trace(Operator.dense(matrix), products=30), diagonal(Operator.dense(matrix), products=30)
    assert found.method == estimate.method == "exact"
    assert found.products == estimate.products == size
    assert found.standard_error == 0.0
    assert found.value == pytest.approx(float(matrix.trace()), rel=1e-14)
    assert torch.equal(estimate.values, matrix.diagonal())


@pytest.mark.parametrize("method", ["xtrace", "hutch++", "hutchinson"])
def test_a_nan_product_gives_nan_not_an_exception(method: str) -> None:
    matrix = FLAT.clone()
    matrix[3, 4] = math.nan
    found = trace(Operator.dense(matrix), method=method)
    assert math.isnan(found.value)
    assert math.isnan(found.standard_error)
    assert bool(diagonal(Operator.dense(matrix)).values.isnan().all())


def test_bad_input() -> None:
    operator = Operator.dense(FLAT)
    with pytest.raises(InputError, match=r"method must be one of xtrace, hutch\+\+, hutchinson, found 'exact'"):
        trace(operator, method="exact")
    with pytest.raises(InputError, match="products must be at least 6 for 'xtrace', found 5"):
        trace(operator, products=5)
    with pytest.raises(InputError, match="products must be at least 4 for 'xdiag', found 3"):
        diagonal(operator, products=3)

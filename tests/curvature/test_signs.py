"""Signs with a band: what it consists of, and that no sign outside it flips."""

from __future__ import annotations

import math

import pytest
import torch

from thalweg.curvature.bounds import norm_bounds
from thalweg.curvature.operator import Operator
from thalweg.curvature.signs import count_signs
from thalweg.errors import InputError

EPS = torch.finfo(torch.float64).eps


def matrix_with(values: torch.Tensor, seed: int = 0) -> torch.Tensor:
    n = len(values)
    basis, _ = torch.linalg.qr(torch.randn(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
    matrix = (basis * values) @ basis.mT
    return 0.5 * (matrix + matrix.mT)


@pytest.mark.parametrize("size", [40, 260])
def test_the_pieces_of_the_band_bound_what_they_name(size: int) -> None:
    matrix = matrix_with(torch.linspace(-1, 4, size, dtype=torch.float64))
    skew = 1e-9 * torch.randn(size, size, dtype=torch.float64)
    skew = skew - skew.mT
    noise = 1e-8 * torch.randn(size, size, dtype=torch.float64)
    noise = noise + noise.mT
    signs = count_signs(matrix + skew, permuted=matrix + skew + noise)
    for name, truth in (
        ("norm", torch.linalg.matrix_norm(matrix, 2)),
        ("asymmetry", torch.linalg.matrix_norm(skew, 2)),
        ("permutation", torch.linalg.matrix_norm(noise, 2)),
    ):
        assert float(truth) * (1 - 1e-9) <= float(getattr(signs, name)) <= 1.25 * float(truth), name
    assert float(signs.rounding) == pytest.approx(size * EPS * float(signs.norm))
    assert float(signs.band) == pytest.approx(float(signs.rounding + signs.asymmetry + signs.permutation))
    assert int(signs.positive + signs.negative + signs.undecided) == size


@pytest.mark.parametrize("size", [30, 220])
def test_no_sign_outside_the_band_flips_when_samples_are_permuted(size: int) -> None:
    """Σ xxᵀ in float64 over many orders: null directions change sign, counted ones do not."""
    x = torch.randn(2 * size, size // 2, dtype=torch.float64) @ torch.randn(size // 2, size, dtype=torch.float64)
    weights = torch.randn(2 * size, dtype=torch.float64) * 10.0 ** torch.randint(-6, 3, (2 * size,)).double()
    versions = []
    for _ in range(6):
        total = torch.zeros(size, size, dtype=torch.float64)
        for i in torch.randperm(2 * size).tolist():
            total += weights[i] * torch.outer(x[i], x[i])
        versions.append(total)
    signs = count_signs(versions[0], permuted=versions[1])
    strict = [int((torch.linalg.eigvalsh(v) > 0).sum()) for v in versions]
    assert max(strict) > min(strict)  # a strict count is noise here
    for version in versions:
        values = torch.linalg.eigvalsh(version)
        assert int((values > 0).sum()) >= int(signs.positive)
        assert int((values < 0).sum()) >= int(signs.negative)
    assert int(signs.undecided) >= size // 2  # the null space


def test_leading_axes_and_one_bad_replica() -> None:
    stack = torch.stack([torch.eye(4), -torch.eye(4), torch.full((4, 4), math.nan)]).double()
    signs = count_signs(stack, permuted=stack)
    assert signs.positive.tolist() == [4, 0, 0]
    assert signs.negative.tolist() == [0, 4, 0]
    assert signs.finite.tolist() == [True, True, False]
    assert signs.ratio.isnan().tolist() == signs.band.isnan().tolist() == [False, False, True]
    assert signs.ratio_at_most[:2].tolist() == [1.0, 0.0]


def test_without_a_permuted_copy_the_band_says_so() -> None:
    signs = count_signs(torch.eye(3, dtype=torch.float64))
    assert math.isnan(float(signs.permutation))
    assert float(signs.band) == pytest.approx(3 * EPS)


def test_a_zero_hessian_is_undecided_and_a_minimum_band_is_kept() -> None:
    signs = count_signs(torch.zeros(5, 5, dtype=torch.float64))
    assert int(signs.undecided) == 5
    signs = count_signs(torch.diag(torch.tensor([1.0, 0.01])).double(), minimum_band=0.1)
    assert (int(signs.positive), int(signs.undecided), float(signs.band)) == (1, 1, 0.1)


@pytest.mark.parametrize("size", [1, 2, 50, 400])
def test_norm_bounds_hold_the_norm(size: int) -> None:
    matrix = matrix_with(torch.linspace(-3, 1, size, dtype=torch.float64))
    for seed in range(10):
        low, high = norm_bounds(Operator.dense(matrix), seed=seed)
        assert low * (1 - 1e-12) <= 3.0 <= high * (1 + 1e-12)
        assert high <= 1.15 * low
    assert norm_bounds(Operator.dense(0 * matrix)) == (0.0, 0.0)


def test_the_band_of_a_float32_hessian_is_that_of_float32() -> None:
    """A float64 band about a float32 matrix counts the signs of its rounding errors."""
    torch.manual_seed(0)
    basis = torch.linalg.qr(torch.randn(50, 50))[0]
    signs = count_signs(basis * torch.tensor([3.0] + [0.0] * 49) @ basis.mT)
    assert (int(signs.positive), int(signs.negative), int(signs.undecided)) == (1, 0, 49)


def test_bad_input() -> None:
    with pytest.raises(InputError, match=r"hessian must hold real floating-point numbers, found torch\.int64"):
        count_signs(torch.eye(2).long())
    with pytest.raises(InputError, match=r"hessian must have shape \(…, P, P\), found \(3,\)"):
        count_signs(torch.zeros(3))
    with pytest.raises(InputError, match=r"permuted must have the shape of hessian \(3, 3\), found \(2, 2\)"):
        count_signs(torch.eye(3), permuted=torch.eye(2))
    with pytest.raises(InputError, match=r"minimum_band must be finite and not negative, found -1\.0"):
        count_signs(torch.eye(3), minimum_band=-1.0)

"""Counts by factors against counts by eigenvalues."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import thalweg.curvature.inertia as module
from thalweg.curvature.inertia import counted, inertia
from thalweg.errors import InputError


def matrix_with(values: torch.Tensor, seed: int = 0) -> torch.Tensor:
    n = len(values)
    basis, _ = torch.linalg.qr(torch.randn(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
    matrix = (basis * values) @ basis.mT
    return 0.5 * (matrix + matrix.mT)


def counts(found: module.Inertia) -> list[int]:
    return [int(found.negative), int(found.within), int(found.positive)]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([-2.0, -1e-3, -1e-13, 0.0, 1e-13, 1e-3, 1.0, 1e4]), min_size=1, max_size=40),
    st.integers(0, 5),
)
def test_both_methods_count_what_was_put_in(values: list[float], seed: int) -> None:
    given_values = torch.tensor(values, dtype=torch.float64)
    matrix, band = matrix_with(given_values, seed), 1e-8
    truth = [sum(v < -band for v in values), sum(abs(v) <= band for v in values), sum(v > band for v in values)]
    for method in ("eigvalsh", "ldl"):
        assert counts(inertia(matrix, band, method=method)) == truth


@pytest.mark.parametrize(
    "matrix",
    [
        [[0.0, 1.0], [1.0, 0.0]],  # one 2 × 2 pivot
        [[0.0, 0.0, 1.0], [0.0, 0.0, 2.0], [1.0, 2.0, 0.0]],  # a 2 × 2 pivot, then a zero
        [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 5], [0, 0, 5, 0]],  # two of them in a row
        [[1e-3, 7.0, 0.0], [7.0, -1e-3, 0.0], [0.0, 0.0, -4.0]],
    ],
)
def test_two_by_two_pivots(matrix: list[list[float]]) -> None:
    a = torch.tensor(matrix, dtype=torch.float64)
    values = torch.linalg.eigvalsh(a)
    found = inertia(a, 1e-9, method="ldl")
    assert found.fallbacks == 0
    assert counts(found) == [int((values < -1e-9).sum()), int((values.abs() <= 1e-9).sum()), int((values > 1e-9).sum())]


def test_large_multipliers_are_no_growth() -> None:
    # The pivot 1e-6 is accepted with a multiplier of 1e3, while no entry of D exceeds 1: nothing has lost digits.
    a = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 1e-3], [0.0, 1e-3, 1e-6]], dtype=torch.float64)
    found = inertia(a, 1e-13, method="ldl")
    assert found.fallbacks == 0
    assert counts(found) == counts(inertia(a, 1e-13, method="eigvalsh"))


def test_large_indefinite_matrix_counts_by_factors() -> None:
    values = torch.cat([-torch.linspace(1e-6, 3, 111), torch.zeros(37), torch.linspace(1e-6, 5, 152)]).double()
    found = inertia(matrix_with(values), 1e-8)
    assert (found.method, found.fallbacks) == ("ldl", 0)
    assert counts(found) == [111, 37, 152]


def test_the_matrix_is_left_as_it_was_and_may_be_slightly_asymmetric() -> None:
    matrix = matrix_with(torch.linspace(-1, 1, 60, dtype=torch.float64))
    matrix = matrix + 1e-9 * torch.randn(60, 60, dtype=torch.float64)
    before = matrix.clone()
    for method in ("eigvalsh", "ldl"):
        assert counts(inertia(matrix, 1e-6, method=method)) == [30, 0, 30]
    assert torch.equal(matrix, before)


@pytest.mark.parametrize("method", ["eigvalsh", "ldl"])
def test_leading_axes_and_one_bad_replica(method: str) -> None:
    stack = torch.stack(
        [
            matrix_with(torch.tensor(v, dtype=torch.float64))
            for v in ([-1.0, 1.0, 2.0], [-1.0, -2.0, 0.0], [1.0, 2.0, 3.0], [1.0, 1.0, 1.0])
        ]
    ).reshape(2, 2, 3, 3)
    stack[1, 1, 0, 2] = math.nan
    found = inertia(stack, torch.tensor([[1e-9, 1e-9], [1.5, 1e-9]]), method=method)
    assert found.negative.tolist() == [[1, 2], [0, 0]]
    assert found.within.tolist() == [[0, 1], [1, 0]]
    assert found.positive.tolist() == [[2, 0], [2, 0]]
    assert found.finite.tolist() == [[True, True], [True, False]]


def test_a_factorisation_that_cannot_be_trusted_is_replaced() -> None:
    matrix = matrix_with(torch.linspace(-1, 1, 250, dtype=torch.float64))
    tight = inertia(matrix, 1e-18)  # far below the rounding of any factorisation
    assert (tight.method, tight.fallbacks) == ("ldl", 1)
    assert counts(tight) == [125, 0, 125]
    singular = inertia(torch.diag(torch.tensor([1.0, -1.0, 3.0], dtype=torch.float64)), 1.0, method="ldl")
    assert singular.fallbacks == 1  # the shift makes a pivot exactly zero
    assert counts(singular) == [0, 2, 1]


def test_strict_signs_at_band_zero() -> None:
    assert counts(inertia(torch.diag(torch.tensor([0.0, -1.0, 2.0])), 0.0)) == [1, 1, 1]
    assert counts(inertia(torch.tensor([[-4.0]]), 0.0)) == [1, 0, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(2, 3), 0.1), "matrix must have shape (…, P, P), found (2, 3)"),
        ((torch.zeros(0, 0), 0.1), "matrix must have shape (…, P, P), found (0, 0)"),
        ((torch.eye(2), -0.1), "band must not be negative, found -0.1"),
        ((torch.eye(2), torch.zeros(3)), "band must be a number or have shape (), found (3,)"),
    ],
)
def test_bad_input(arguments: tuple, message: str) -> None:
    with pytest.raises(InputError) as caught:
        inertia(*arguments)
    assert str(caught.value) == message
    with pytest.raises(InputError, match="method must be one of auto, eigvalsh, ldl, found 'qr'"):
        inertia(torch.eye(2), 0.1, method="qr")


def test_counting_in_place_counts_the_same_and_leaves_the_matrix_as_it_was() -> None:
    chooser = torch.Generator().manual_seed(5)
    matrix = torch.randn(2, 300, 300, generator=chooser, dtype=torch.float64)
    matrix = matrix + matrix.mT
    values, before = torch.linalg.eigvalsh(matrix), matrix.clone()
    found = counted(matrix, 3.0, "ldl", work=True)
    assert found.fallbacks == 0
    assert torch.equal(found.negative, (values < -3.0).sum(-1))
    assert torch.equal(found.positive, (values > 3.0).sum(-1))
    assert torch.equal(matrix, before)

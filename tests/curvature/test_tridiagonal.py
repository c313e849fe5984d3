"""Blocks of plain Lanczos processes, and how they end."""

from __future__ import annotations

import math

import torch

from thalweg.curvature.operator import Operator
from thalweg.curvature.tridiagonal import lanczos_block


def test_each_process_tridiagonalises_its_krylov_space() -> None:
    a = torch.randn(30, 30, dtype=torch.float64)
    matrix, starts = a + a.mT, torch.randn(3, 30, dtype=torch.float64)
    alphas, betas = lanczos_block(Operator.dense(matrix), starts, 30)
    inner = betas[:, :-1]
    tridiagonal = torch.diag_embed(alphas) + torch.diag_embed(inner, 1) + torch.diag_embed(inner, -1)
    for one in tridiagonal:  # all 30 steps: similar to the matrix itself
        torch.testing.assert_close(torch.linalg.eigvalsh(one), torch.linalg.eigvalsh(matrix), rtol=0, atol=1e-11)
    assert betas[:, -1].tolist() == [0.0, 0.0, 0.0]


def test_an_exhausted_process_ends_in_zeros_beside_one_that_goes_on() -> None:
    matrix = torch.diag(torch.arange(5, dtype=torch.float64))
    starts = torch.tensor([[0.0, 1, 1, 0, 0], [1, 1, 1, 1, 1]], dtype=torch.float64)
    alphas, betas = lanczos_block(Operator.dense(matrix), starts, 4)
    assert betas[0, 1:].tolist() == [*alphas[0, 2:].tolist(), 0.0] == [0.0, 0.0, 0.0]
    assert bool((betas[1] > 0.1).all())


def test_nan_reaches_the_result_of_its_own_process_only() -> None:
    matrix = torch.eye(4, dtype=torch.float64)
    starts = torch.ones(2, 4, dtype=torch.float64)
    starts[1, 2] = math.nan
    alphas, _ = lanczos_block(Operator.dense(matrix), starts, 2)
    assert alphas[0].tolist() == [1.0, 0.0]
    assert bool(alphas[1].isnan().all())

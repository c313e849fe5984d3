"""Linear algebra as compositions of elementary operations, right in every derivative.

torch's formulas are right in the first two reverse derivatives. They are wrong from the third (determinants through
`torch.func`), in forward mode (`cholesky_inverse`) or in forward mode inside of other derivatives (`solve`, `slogdet`,
Householder products), where they take factors of the matrix for constants.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from thalweg.objective.products import is_differentiable, product

__all__ = ["ALGEBRA"]


def det(A: Tensor) -> Tensor:
    """Returns determinants (…, n, n) -> (…): polynomials up to n = 3 (singular ones too), else by a factorization."""
    n = A.shape[-1] if A.dim() > 1 else 0
    if not _is_square(A) or n == 0:
        return NotImplemented
    if n == 1:
        return A[..., 0, 0]
    if n == 2:
        return A[..., 0, 0] * A[..., 1, 1] - A[..., 0, 1] * A[..., 1, 0]
    if n == 3:
        return (A[..., 0, :] * torch.linalg.cross(A[..., 1, :], A[..., 2, :], dim=-1)).sum(-1)
    diagonal, swaps = _factored(A)
    return NotImplemented if _has_zero(diagonal) else swaps * product(diagonal, -1)


def slogdet(A: Tensor) -> Any:
    """Returns the sign of the determinant and the logarithm of its absolute value."""
    if not _is_square(A) or A.shape[-1] == 0:
        return NotImplemented
    diagonal, swaps = _factored(A)
    found = swaps * product(diagonal.sgn(), -1), diagonal.abs().log().sum(-1)
    return torch.return_types.linalg_slogdet(found)  # pyrefly: ignore - made by torch at run time


def logdet(input: Tensor) -> Tensor:  # noqa: A002 - the names of torch's arguments, which may be given by keyword
    """Returns the logarithm of the determinant, NaN where it is negative."""
    if input.is_complex() or (found := slogdet(input)) is NotImplemented:
        return NotImplemented
    return torch.where(found[0] < 0, torch.full_like(found[1], math.nan), found[1])


def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """Returns X with A X = B (or X A = B) from an LU factorization, as torch's own kernel does."""
    vector = B.dim() == 1 or (B.dim() == A.dim() - 1 and B.shape == A.shape[:-1])
    if not _is_square(A) or A.shape[-1] == 0 or (vector and not left):
        return NotImplemented
    try:
        factors, pivots = torch.linalg.lu_factor(A)
        if not vector:
            return torch.linalg.lu_solve(factors, pivots, B, left=left)
        return torch.linalg.lu_solve(factors, pivots, B.unsqueeze(-1)).squeeze(-1)
    except RuntimeError:
        return NotImplemented  # torch's own function says what is wrong


def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> Any:
    """Returns X as `solve`, and zeros for "no error"."""
    found = solve(A, B, left=left)
    if found is NotImplemented:
        return found
    info = torch.zeros(A.shape[:-2], dtype=torch.int32, device=A.device)
    return torch.return_types.linalg_solve_ex((found, info))  # pyrefly: ignore - made by torch at run time


def tensorsolve(A: Tensor, B: Tensor, dims: tuple[int, ...] | None = None) -> Tensor:
    """Returns X with tensordot(A, X) = B."""
    if dims is not None:
        A = torch.movedim(A, tuple(dims), tuple(range(A.dim() - len(dims), A.dim())))
    n = B.numel()
    if A.numel() != n * n:
        return NotImplemented
    found = solve(A.reshape(n, n), B.reshape(n))
    return found if found is NotImplemented else found.reshape(A.shape[B.dim() :])


def cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    """Returns the inverse of L Lᴴ (or of Uᴴ U), reading one triangle."""
    if not _is_square(L):
        return NotImplemented
    inverse = torch.linalg.solve_triangular(L, torch.eye(L.shape[-1], dtype=L.dtype, device=L.device), upper=upper)
    return inverse @ inverse.mH if upper else inverse.mH @ inverse


def householder_product(input: Tensor, tau: Tensor) -> Tensor:  # noqa: A002 - as above
    """Returns the first columns of H₁ H₂ … with Hᵢ = I - τᵢ vᵢ vᵢᴴ, where vᵢ stands below the diagonal of `input`."""
    rows, columns = input.shape[-2:]
    unit = torch.eye(rows, columns, dtype=input.dtype, device=input.device)
    vectors = input.tril(-1) + unit
    out = unit.expand_as(input)
    for i in reversed(range(tau.shape[-1])):
        v = vectors[..., i : i + 1]
        out = out - tau[..., i, None, None] * (v @ (v.mH @ out))
    return out


def _factored(A: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the diagonal of U in A = P L U, and the sign of P."""
    factors, pivots, _ = torch.linalg.lu_factor_ex(A)
    moved = pivots != torch.arange(1, A.shape[-1] + 1, device=A.device)
    return factors.diagonal(dim1=-2, dim2=-1), (1 - 2 * (moved.sum(-1) % 2)).to(A.dtype)


def _has_zero(x: Tensor) -> bool:
    try:
        return bool((x == 0).any())
    except RuntimeError:
        return False  # under vmap no number can be looked at


def _is_square(A: Tensor) -> bool:
    return is_differentiable(A) and A.dim() >= 2 and A.shape[-1] == A.shape[-2]


_FUNCTIONS: dict[Callable[..., Any], tuple[Any, ...]] = {
    det: (torch.det, torch.linalg.det, Tensor.det),
    slogdet: (torch.slogdet, torch.linalg.slogdet, Tensor.slogdet),
    logdet: (torch.logdet, Tensor.logdet),
    solve: (torch.linalg.solve,),
    solve_ex: (torch.linalg.solve_ex,),
    tensorsolve: (torch.linalg.tensorsolve,),
    cholesky_inverse: (torch.cholesky_inverse, Tensor.cholesky_inverse),
    householder_product: (torch.linalg.householder_product, torch.orgqr, Tensor.orgqr),
}

# The function as torch reports it -> its name in messages, its composition.
ALGEBRA: dict[Any, tuple[str, Callable[..., Any]]] = {
    key: (composition.__name__, composition) for composition, keys in _FUNCTIONS.items() for key in keys
}

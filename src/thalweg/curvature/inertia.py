"""How many eigenvalues of a dense symmetric matrix lie below, within and above a band about zero.

Signs need no eigenvalues. By Sylvester's law A = L D Lᵀ has as many negative eigenvalues as D, whose 1 × 1 and 2 × 2
blocks (Bunch & Kaufman 1977) are counted at sight: factoring A + εI and A − εI counts λ < −ε and λ > ε, each for a
fraction of the work of an eigenvalue decomposition, and in the memory of one copy of A.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor

from thalweg._short import short
from thalweg.curvature.sized import dense
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.objective.arguments import floating
from thalweg.objective.stack_blocks import mirror
from thalweg.objective.tensors import all_finite
from thalweg.progress import each

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

__all__ = ["Inertia", "inertia"]

Method = Literal["auto", "eigvalsh", "ldl"]

SMALL = 200
"""Up to this size a batched eigvalsh is about as fast as two factorisations, and it yields the eigenvalues."""

TILE = 256
"""Rows of the tiles in which a matrix is symmetrised: a transposed read of the whole took a quarter of a factoring."""


@short
@dataclass(frozen=True)
class Inertia:
    """Numbers of eigenvalues on either side of a band, for matrices (…, P, P).

    Args:
        negative: λ < −band, int64, (…).
        within: |λ| ≤ band, (…).
        positive: λ > band, (…).
        finite: Whether the matrix was finite, (…); where it was not, all three counts are 0.
        method: "eigvalsh" or "ldl".
        fallbacks: Number of matrices whose factorisation could not be trusted and that went through eigvalsh instead.
    """

    negative: Tensor
    within: Tensor
    positive: Tensor
    finite: Tensor
    method: Literal["eigvalsh", "ldl"]
    fallbacks: int


@declared
@dense
def inertia(matrix: Tensor, band: Tensor | float, *, method: Method = "auto") -> Inertia:
    """Counts the eigenvalues of (A + Aᵀ)/2 below −band, within the band and above it.

    Args:
        matrix: A, (…, P, P), computed with in float64.
        band: Half-width of the zero band, ≥ 0, (…) or a number. At 0 the counts are those of strict signs, by eigvalsh.
        method: "ldl" factors A ± band·I; "eigvalsh" computes the eigenvalues; "auto" takes the latter up to P = 200. A
            factorisation that fails, or whose rounding error could carry an eigenvalue across the band, is replaced by
            eigvalsh and counted in `fallbacks`.

    Raises:
        InputError: The matrix is not square, or the band is negative or of another shape.

    Example:
        >>> found = inertia(torch.diag(torch.tensor([-2.0, 1e-12, 3.0, 4.0])), band=1e-9)
        >>> int(found.negative), int(found.within), int(found.positive)
        (1, 1, 2)
    """
    matrix = floating(matrix, "matrix")
    return counted(matrix, band, method)


def counted(matrix: Tensor, band: Tensor | float, method: Method, *, work: bool = False) -> Inertia:
    """What `inertia` does; with `work` in the memory of the matrices, which must be exactly symmetric.

    Factors take the place of the lower triangle, which is copied back from the upper one: afterwards all is as before.
    """
    if matrix.dim() < 2 or matrix.shape[-1] != matrix.shape[-2] or matrix.shape[-1] == 0:
        raise InputError(f"matrix must have shape (…, P, P), found {tuple(matrix.shape)}")
    if method not in get_args(Method):
        raise InputError(f"method must be one of {', '.join(get_args(Method))}, found '{method}'")
    lead, size = matrix.shape[:-2], matrix.shape[-1]
    bands = torch.as_tensor(band, dtype=torch.float64).to("cpu")
    if bands.dim() and bands.shape != lead:
        raise InputError(f"band must be a number or have shape {tuple(lead)}, found {tuple(bands.shape)}")
    if bool((bands < 0).any()):
        raise InputError(f"band must not be negative, found {float(bands.min())}")
    flat, bands = matrix.reshape(-1, size, size), bands.expand(lead).reshape(-1)
    chosen = ("eigvalsh" if size <= SMALL else "ldl") if method == "auto" else method
    finite = torch.tensor([all_finite(m) for m in flat], dtype=torch.bool) & torch.isfinite(bands)
    counts = torch.zeros(len(flat), 2, dtype=torch.int64)
    fallbacks = 0
    if chosen == "eigvalsh":
        counts[finite] = _by_eigenvalues(flat[finite.to(flat.device)], bands[finite])
    else:
        inside = work and flat.dtype == torch.float64 and flat.device.type == "cpu" and flat.is_contiguous()
        buffer = None if inside else torch.empty(size, size, dtype=torch.float64, device=matrix.device)
        for i in each("signs by factors, matrices", finite.nonzero().flatten().tolist()):
            sides = _by_factors(flat[i], float(bands[i]), buffer)
            fallbacks += sides is None
            counts[i] = _by_eigenvalues(flat[i][None], bands[i : i + 1])[0] if sides is None else torch.tensor(sides)
    negative, positive = counts[:, 0], counts[:, 1]
    within = torch.where(finite, size - negative - positive, 0)
    negative, within, positive, finite = (
        t.reshape(lead).to(matrix.device) for t in (negative, within, positive, finite)
    )
    return Inertia(negative, within, positive, finite, "eigvalsh" if chosen == "eigvalsh" else "ldl", fallbacks)


def _by_eigenvalues(matrices: Tensor, bands: Tensor) -> Tensor:
    """Counts (B, 2) below −band and above band."""
    double = matrices.to(torch.float64)
    values = torch.linalg.eigvalsh((double + double.mT).mul_(0.5)).cpu()
    return torch.stack([(values < -bands[:, None]).sum(-1), (values > bands[:, None]).sum(-1)], dim=-1)


def _by_factors(matrix: Tensor, band: float, buffer: Tensor | None) -> tuple[int, int] | None:
    """Counts below −band and above band by two factorisations, or None if one of them cannot be trusted.

    Without a buffer the matrix must be symmetric; its own lower triangle is the buffer.
    """
    counts, diagonal_before = [], matrix.diagonal().clone()
    for sign in (1.0, -1.0):
        if buffer is None:
            matrix.diagonal().add_(sign * band)
            largest = float(torch.linalg.vector_norm(matrix, math.inf))
        else:
            largest = _shifted_triangle(matrix, sign * band, buffer)
        factored = _factor(matrix if buffer is None else buffer)
        if buffer is None:
            _restore(matrix, diagonal_before)
        if factored is None:
            return None
        diagonal, off, first = factored
        grown = max(float(diagonal.abs().max()), float(off[first[:-1]].abs().amax()) if bool(first.any()) else 0.0)
        # Backward error of the factorisation, with the square root of P for the random signs of rounding (Higham &
        # Mary 2019). Within it an eigenvalue may be counted on the wrong side of ±band: it must not reach zero.
        error = math.sqrt(len(diagonal)) * torch.finfo(torch.float64).eps * max(grown, largest)
        if not error < band:
            return None
        counts.append(_signs(diagonal, off, first))
    return counts[0][0], counts[1][1]


def _shifted_triangle(matrix: Tensor, shift: float, buffer: Tensor) -> float:
    """Writes the lower triangle of (A + Aᵀ)/2 + shift·I into the buffer; returns its largest entry in modulus."""
    size, largest = len(matrix), 0.0
    for start in range(0, size, TILE):
        rows = slice(start, start + TILE)
        for other in range(0, start + 1, TILE):
            columns = slice(other, other + TILE)
            tile = buffer[rows, columns]
            tile.copy_(matrix[rows, columns]).add_(matrix[columns, rows].mT).mul_(0.5)
            if other == start:
                tile.diagonal().add_(shift)
            largest = max(largest, float(torch.linalg.vector_norm(tile, math.inf)))
    return largest


def _restore(matrix: Tensor, diagonal: Tensor) -> None:
    """Makes a matrix symmetric again from its strict upper triangle and its diagonal, in place."""
    mirror(matrix.mT)
    matrix.diagonal().copy_(diagonal)


@cache
def _lapack_threads() -> ThreadpoolController:
    """Handle on SciPy's thread pool, which knows nothing of torch's number of threads.

    Two pools that wait for each other by spinning made a factorisation 15 times slower on a busy machine.
    """
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _factor(triangle: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
    """Diagonal (P,), off-diagonal (P−1,) and first rows of 2 × 2 blocks (P,) of D, from a lower triangle.

    The triangle is overwritten on the CPU. Beside a 1 × 1 block the off-diagonal holds a multiplier, no entry of D.
    """
    if triangle.device.type == "cpu":
        # SciPy's LAPACK was 1.2 to 1.3 times faster than torch's at P = 2,000 to 6,000, and it works in place.
        from scipy.linalg import get_lapack_funcs

        array = triangle.numpy().T  # Fortran order without a copy, so that the triangle is the upper one
        sytrf, sytrf_lwork = get_lapack_funcs(("sytrf", "sytrf_lwork"), (array,))
        work, _ = sytrf_lwork(len(array), lower=0)
        with _lapack_threads().limit(limits=torch.get_num_threads(), user_api="blas"):
            factor, pivots, info = sytrf(array, lower=0, lwork=int(work), overwrite_a=1)
        factor, pivots = torch.from_numpy(factor.T), torch.from_numpy(pivots)
    else:
        factor, pivots, info = torch.linalg.ldl_factor_ex(triangle)
    if int(info) != 0:  # a pivot exactly zero, or nothing useful
        return None
    diagonal, off = factor.diagonal().cpu().clone(), factor.diagonal(offset=-1).cpu().clone()
    if not bool(torch.isfinite(diagonal).all()):
        return None
    # LAPACK marks both rows of a 2 × 2 block by negative pivots: every odd one of them is a first row.
    paired = pivots.cpu() < 0
    return diagonal, off, paired & (paired.long().cumsum(0) % 2 == 1)


def _signs(diagonal: Tensor, off: Tensor, first: Tensor) -> tuple[int, int]:
    """Numbers of negative and positive eigenvalues of the block-diagonal D."""
    rows = first.nonzero().flatten()
    alone = ~first
    alone[rows + 1] = False
    single = diagonal[alone]
    a, b, c = diagonal[rows], off[rows], diagonal[rows + 1]
    # Scaled by b, which the pivoting chose to be large, so that the product cannot overflow.
    mixed = (a / b) * (c / b) < 1.0
    both = (~mixed) & (a + c > 0)
    negative = int((single < 0).sum()) + int(mixed.sum()) + 2 * int((~mixed & ~both).sum())
    positive = int((single > 0).sum()) + int(mixed.sum()) + 2 * int(both.sum())
    return negative, positive

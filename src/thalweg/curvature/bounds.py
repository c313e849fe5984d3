"""How far beyond the Ritz values the spectrum can still reach.

Ritz values lie inside the spectrum: they prove that something is there, never that nothing else is. What a random start
vector could have missed is bounded in probability (van Dorsselaer, Hochstenbach & van der Vorst 2000, "Computing
probabilistic bounds for extreme eigenvalues of symmetric matrices with the Lanczos method", SIAM J. Matrix Anal. 22),
here in the space orthogonal to the vectors already found.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from thalweg.curvature.krylov import Ritz, Subspace
from thalweg.curvature.operator import Operator
from thalweg.curvature.tridiagonal import lanczos_block

__all__ = ["RISK", "Probe", "norm_bounds", "probable_maximum"]

RISK = 1e-3
"""Probability with which a bound may be wrong."""


def probable_maximum(alphas: Tensor, betas: Tensor, dimension: int, risk: float = RISK) -> float:
    """Upper bound on the largest eigenvalue that j Lanczos steps leave possible, wrong with probability `risk`.

    With p the characteristic polynomial of the tridiagonal matrix and q the start vector, ‖p(A)q‖ = β₁ … β_j; an
    eigenvector u to λ gives |p(λ)|·|uᵀq| ≤ ‖p(A)q‖. For q uniform on the sphere of R^n, |uᵀq| < x has a probability
    of at most x·√(2n/π). So p(λ) ≤ β₁ … β_j · √(2n/π) / risk, and p grows beyond the largest Ritz value.

    Args:
        alphas: Diagonal of the tridiagonal matrix, (j,).
        betas: Off-diagonal, and last the norm of the remainder after the last step, (j,).
        dimension: n, of the space in which the start vector is random.
        risk: Accepted probability of a wrong bound.

    Returns:
        The bound; the largest Ritz value itself if a β is zero (an invariant subspace).

    Example:
        >>> one = torch.ones(1, dtype=torch.float64)
        >>> bound = probable_maximum(0 * one, one, dimension=2, risk=0.5)  # λ ≤ 1 · √(4/π) / 0.5
        >>> round(bound, 4)
        2.2568
    """
    ritz = torch.linalg.eigvalsh(torch.diag(alphas) + torch.diag(betas[:-1], 1) + torch.diag(betas[:-1], -1))
    top = float(ritz[-1])
    if float(betas.min()) <= 0.0:
        return top
    limit = float(betas.log().sum()) + 0.5 * math.log(2.0 * dimension / math.pi) - math.log(risk)
    gaps = top - ritz
    low, high = 0.0, math.exp(limit / len(alphas))  # at a distance x every factor of p is at least x
    for _ in range(50):
        middle = 0.5 * (low + high)
        if float((gaps + middle).log().sum()) <= limit:
            low = middle
        else:
            high = middle
    return top + high


class Probe:
    """Lanczos from a fresh random vector in the space orthogonal to a basis, to see what the basis has missed.

    Args:
        space: The basis Y at the start; its Ritz pairs are kept, its later growth is the probe's own.
    """

    def __init__(self, space: Subspace) -> None:
        self._found: Ritz = space.ritz()
        self._first = space.size
        self._dimension = space.operator.size - space.size
        self._betas: list[float] = []

    def step(self, space: Subspace) -> None:
        """Takes one step; costs one product."""
        if not self._betas:
            space.expand_randomly()
        else:
            space.expand(space.couplings[:, space.size - 1])
        if space.finite:
            self._betas.append(float(torch.linalg.vector_norm(space.couplings[:, space.size - 1])))

    @property
    def exhausted(self) -> bool:
        """Whether the probe has run into an invariant subspace, so that no further step exists."""
        return bool(self._betas) and self._betas[-1] == 0.0

    def maximum(self, space: Subspace, sign: int) -> float:
        """Probable bound on the largest eigenvalue (times `sign`) in the space orthogonal to the basis Y."""
        diagonal = space.projected.diagonal()[self._first : space.size]
        return probable_maximum(sign * diagonal, torch.tensor(self._betas, dtype=torch.float64), self._dimension)

    def reach(self, space: Subspace, edge: float, sign: int) -> float:
        """The least t ≥ edge such that the basis probably holds every eigenvalue beyond t (all times `sign`).

        In the basis Y and its complement, A − t = [Θ − t, Eᵀ; E, B − t]. By Haynsworth's inertia additivity A has no
        more eigenvalues above t than Θ has, as soon as B + E₋(t − Θ₋)⁻¹E₋ᵀ has none, where Θ₋ are the Ritz values
        below t. Their second term has norm τ(t); the first is bounded by `probable_maximum`.

        Args:
            space: The basis, grown by the steps of this probe.
            edge: Outermost value that matters, times `sign`.
            sign: +1 for the upper end of the spectrum, −1 for the lower.
        """
        complement, found = self.maximum(space, sign), self._found

        def beyond(t: float) -> bool:
            below = sign * found.values < t
            rows = found.couplings[:, below]
            if rows.numel() == 0:
                return complement <= t
            weighted = (rows / (t - sign * found.values[below])) @ rows.mT
            return complement + float(torch.linalg.eigvalsh(weighted)[-1]) <= t

        width = max(space.scale, abs(edge), complement - edge) + space.rounding
        low, high = edge, edge + width
        if beyond(low):
            return low
        while not beyond(high):
            width *= 2.0
            high = edge + width
        for _ in range(40):
            middle = 0.5 * (low + high)
            low, high = (low, middle) if beyond(middle) else (middle, high)
        return high


def norm_bounds(operator: Operator, *, steps: int = 30, seed: int = 0) -> tuple[float, float]:
    """Bounds on the spectral norm: the largest Ritz value in modulus, and what can probably not be exceeded.

    Args:
        operator: The symmetric operator.
        steps: Lanczos steps, each one product. The bounds are within about 10 % of each other after 30 of them for the
            hardest spectra, those that thin out to their end, and far closer with outliers.
        seed: Of the random start vector.

    Returns:
        (low, high), both NaN if a product was not finite. `high` is wrong with probability `RISK` at each end.

    Example:
        >>> low, high = norm_bounds(Operator.dense(torch.diag(torch.linspace(-3, 1, 50, dtype=torch.float64))))
        >>> low <= 3.0 <= high < 1.1 * low
        True
    """
    start = torch.randn(1, operator.size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    steps = min(steps, operator.size)
    with operator.tracked("norm", steps):
        alphas, betas = lanczos_block(operator, start.to(operator.device, operator.dtype), steps)
    alphas, betas = alphas[0].to("cpu", torch.float64), betas[0].to("cpu", torch.float64)
    if not bool(torch.isfinite(alphas).all() and torch.isfinite(betas).all()):
        return math.nan, math.nan
    ended = (betas == 0).nonzero().flatten()
    count = int(ended[0]) + 1 if len(ended) else len(betas)
    alphas, betas = alphas[:count], betas[:count]
    off = betas[:-1]
    ritz = torch.linalg.eigvalsh(torch.diag(alphas) + torch.diag(off, 1) + torch.diag(off, -1))
    high = max(abs(probable_maximum(sign * alphas, betas, operator.size)) for sign in (1, -1))
    return float(ritz.abs().max()), high

"""How many eigenvalues are negative, about zero and positive, when the matrix is too large to be written down.

An estimate, with two errors in its interval: the spread over random probes, and what the quadrature cannot see. The
second is bounded without luck: with a node placed on a threshold x (Gauss–Radau; Golub 1973), the weight on either side
of x brackets the measure on that side (Chebyshev–Markov–Stieltjes), and the weight on x itself is the doubt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg._short import short
from thalweg.curvature.density import Quadrature, quadrature, share_interval
from thalweg.curvature.operator import Operator
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.objective import Objective

__all__ = ["CountEstimate", "estimate_counts"]


@short
@dataclass(frozen=True)
class CountEstimate:
    """Estimated numbers of eigenvalues below −band, within and above band, each with an interval (low, high).

    The three estimates sum to P. They are estimates, never counts: whatever lies within the resolution of the
    quadrature of a threshold widens the intervals, up to (0, P) where nothing can be said.

    Args:
        negative: Estimate of N(λ < −band).
        undecided: Of N(|λ| ≤ band).
        positive: Of N(λ > band).
        negative_interval: At the confidence level, sampling and quadrature together.
        undecided_interval: The same.
        positive_interval: The same.
        band: Half-width of the zero band.
        confidence: Level of the intervals.
        size: P.
        products: Products spent.
        status: "ok" or "nonfinite".
    """

    negative: float
    undecided: float
    positive: float
    negative_interval: tuple[float, float]
    undecided_interval: tuple[float, float]
    positive_interval: tuple[float, float]
    band: float
    confidence: float
    size: int
    products: int
    status: str


@declared
def estimate_counts(
    operator: Operator | Objective,
    band: float,
    *,
    probes: int = 10,
    steps: int = 80,
    confidence: float = 0.95,
    reorthogonalise: bool = True,
    memory: int = 2**30,
    seed: int = 0,
) -> CountEstimate:
    """Estimates how many eigenvalues lie below −band, within the band and above it.

    Args:
        operator: The symmetric operator; an objective stands for its Hessian at `objective.theta`.
        band: Half-width of the zero band, > 0 in the units of the eigenvalues.
        probes: Number of random vectors.
        steps: Lanczos steps each; more of them resolve eigenvalues nearer to the thresholds.
        confidence: Level of the intervals over the probes (`share_interval`), around the bounds of the quadrature.
        reorthogonalise: See `thalweg.curvature.quadrature`. The bounds of the quadrature are proven with it only.
        memory: See `thalweg.curvature.quadrature`.
        seed: Of the probes.

    Raises:
        InputError: An argument is out of range.

    Example:
        >>> values = torch.cat([-torch.ones(10), torch.zeros(20), torch.ones(70)]).double()
        >>> found = estimate_counts(Operator.dense(torch.diag(values)), 0.1, probes=50, steps=5)
        >>> found.positive_interval[0] < 70 < found.positive_interval[1]
        True
    """
    if not (band > 0.0 and math.isfinite(band)):
        raise InputError(f"band must be positive and finite, found {band}")
    if not 0.0 < confidence < 1.0:
        raise InputError(f"confidence must lie between 0 and 1, found {confidence}")
    rule = quadrature(operator, probes=probes, steps=steps, reorthogonalise=reorthogonalise, memory=memory, seed=seed)
    size = rule.size
    if not rule.finite:
        nan, none = math.nan, (math.nan, math.nan)
        return CountEstimate(nan, nan, nan, none, none, none, band, confidence, size, rule.products, "nonfinite")
    below_low, below_high = share_below(rule, -band)  # (K,) each
    under_low, under_high = share_below(rule, band)
    negative = (rule.weights * (rule.nodes < -band)).sum(-1).mean()
    positive = (rule.weights * (rule.nodes > band)).sum(-1).mean()

    def interval(low: Tensor, high: Tensor) -> tuple[float, float]:
        return share_interval(low, confidence)[0] * size, share_interval(high, confidence)[1] * size

    return CountEstimate(
        negative=float(negative) * size,
        undecided=float(1.0 - negative - positive) * size,
        positive=float(positive) * size,
        negative_interval=interval(below_low, below_high),
        undecided_interval=interval((under_low - below_high).clamp(min=0.0), under_high - below_low),
        positive_interval=interval(1.0 - under_high, 1.0 - under_low),
        band=band,
        confidence=confidence,
        size=size,
        products=rule.products,
        status="ok",
    )


def share_below(rule: Quadrature, x: float) -> tuple[Tensor, Tensor]:
    """Bounds of each probe's measure of (−∞, x): (K,), (K,).

    The lower one is the weight of the Gauss–Radau nodes below x, the upper one adds the node on x.
    """
    low, high = [], []
    for alphas, betas in zip(rule.alphas, rule.betas, strict=True):
        ends = (betas == 0.0).nonzero().flatten()
        m = int(ends[0]) + 1 if len(ends) else len(alphas)
        diagonal, off = alphas[:m], betas[:m]
        tridiagonal = torch.diag(diagonal) + torch.diag(off[:-1], 1) + torch.diag(off[:-1], -1)
        exact = float(off[-1]) == 0.0
        if not exact:  # one more row, with the diagonal entry that makes x an eigenvalue
            corner = torch.zeros(m, dtype=torch.float64)
            corner[-1] = off[-1].square()
            shifted = tridiagonal - x * torch.eye(m, dtype=torch.float64)
            solution, failed = torch.linalg.solve_ex(shifted, corner)
            if not int(failed) and bool(torch.isfinite(solution).all()):
                larger = torch.zeros(m + 1, m + 1, dtype=torch.float64)
                larger[:m, :m] = tridiagonal
                larger[m, m - 1] = larger[m - 1, m] = off[-1]
                larger[m, m] = x + solution[-1]
                tridiagonal = larger
        nodes, vectors = torch.linalg.eigh(tridiagonal)
        weights = vectors[0].square()
        place = int((nodes - x).abs().argmin())
        if exact:  # the measure itself: only a node on x to rounding is in doubt
            near = (nodes - x).abs() <= 1e-12 * float(nodes.abs().max())
        else:
            near = torch.arange(len(nodes)) == place
        below = float(weights[(nodes < x) & ~near].sum())
        low.append(below)
        high.append(below + float(weights[near].sum()))
    return torch.tensor(low, dtype=torch.float64), torch.tensor(high, dtype=torch.float64)

"""How many eigenvalues are negative, about zero and positive, when the matrix is too large to be written down.

An estimate, with two errors in its interval: the spread over random probes, and what the quadrature cannot see. The
second is bounded without luck: with a node placed on a threshold x (Gauss–Radau; Golub 1973), the weight on either side
of x brackets the measure on that side (Chebyshev–Markov–Stieltjes), and the weight on x itself is the doubt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from thalweg.curvature.density import Quadrature, quadrature
from thalweg.curvature.estimates import CountEstimate
from thalweg.curvature.intervals import share_interval
from thalweg.curvature.operator import Operator, as_operator
from thalweg.curvature.subsampled import on_parts
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.objective.drawing import SUBSETS

__all__ = ["estimate_counts"]


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
    samples: int | None = None,
    subsets: int = SUBSETS,
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
        samples: Estimate on so many samples, drawn without replacement, instead of all; no others are read. The error
            of the draw, by a jackknife over `subsets`, widens the intervals. Costs subsets + 1 times the products.
        subsets: Parts of the samples, each of which is left out once.
        seed: Of the probes and of the draw.

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
    rule_of = partial(quadrature, probes=probes, steps=steps, reorthogonalise=reorthogonalise, memory=memory, seed=seed)
    if samples is None:
        operator = as_operator(operator)
        return _counted(rule_of(operator), band, confidence, operator.precision)
    drawn = on_parts(operator, samples, subsets, seed)
    whole = drawn.whole()
    found = _counted(rule_of(whole), band, confidence, whole.precision)
    rules = [rule_of(rest) for rest in drawn.without()]
    errors = drawn.jackknifed(_shares(found) / found.size, [_rule_shares(rule, band) for rule in rules]) * found.size
    spent = found.products + sum(rule.products for rule in rules)
    return _widened(replace(found, products=spent, samples=samples), errors.tolist())


def _counted(rule: Quadrature, band: float, confidence: float, precision: str) -> CountEstimate:
    size = rule.size
    if not rule.finite:
        nan, none = math.nan, (math.nan, math.nan)
        return CountEstimate(
            nan, nan, nan, none, none, none, band, confidence, size, rule.products, "nonfinite", precision=precision
        )
    below_low, below_high = share_below(rule, -band)  # (K,) each
    under_low, under_high = share_below(rule, band)
    negative, undecided, positive = _rule_shares(rule, band).tolist()

    def interval(low: Tensor, high: Tensor) -> tuple[float, float]:
        return share_interval(low, confidence)[0] * size, share_interval(high, confidence)[1] * size

    return CountEstimate(
        negative=negative * size,
        undecided=undecided * size,
        positive=positive * size,
        negative_interval=interval(below_low, below_high),
        undecided_interval=interval((under_low - below_high).clamp(min=0.0), under_high - below_low),
        positive_interval=interval(1.0 - under_high, 1.0 - under_low),
        band=band,
        confidence=confidence,
        size=size,
        products=rule.products,
        status="ok",
        precision=precision,
    )


def _rule_shares(rule: Quadrature, band: float) -> Tensor:
    """Weight of the nodes below −band, within and above band: means over the probes, (3,)."""
    negative = (rule.weights * (rule.nodes < -band)).sum(-1).mean()
    positive = (rule.weights * (rule.nodes > band)).sum(-1).mean()
    return torch.stack([negative, 1.0 - negative - positive, positive])


def _shares(found: CountEstimate) -> Tensor:
    return torch.tensor([found.negative, found.undecided, found.positive], dtype=torch.float64)


def _widened(found: CountEstimate, errors: Sequence[float]) -> CountEstimate:
    """The intervals with the error of the draw added in squares, within 0 and P."""
    from scipy.stats import norm

    quantile, intervals = float(norm.ppf(0.5 + 0.5 * found.confidence)), {}
    for name, error in zip(("negative", "undecided", "positive"), errors, strict=True):
        value, (low, high) = getattr(found, name), getattr(found, f"{name}_interval")
        low, high = (value + sign * math.hypot(end - value, quantile * error) for sign, end in ((-1, low), (1, high)))
        intervals[f"{name}_interval"] = (max(0.0, low), min(float(found.size), high)) if low <= high else (low, high)
    return replace(found, sampling_errors=(errors[0], errors[1], errors[2]), **intervals)


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

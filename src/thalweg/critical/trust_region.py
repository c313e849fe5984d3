"""The trust-region subproblem for diagonal models, batched over replicas."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["solve"]

BISECTIONS = 30  # of an interval of 60 in the logarithm: ‖s‖ = Δ to about 1e-7
TINY = 1e-300


def solve(curvature: Tensor, slope: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
    """Minimises b·s + ½ Σ A_i s_i² over ‖s‖ ≤ Δ (Moré & Sorensen 1983), the hard case included.

    The multiplier μ ≥ max(0, −min A) with ‖s(μ)‖ = Δ is found by bisection in log(μ + min A), which resolves
    multipliers next to the pole; no step of it depends on another replica. Interior replicas skip it.

    Args:
        curvature: A (R, P), in any order.
        slope: b (R, P).
        radius: Δ (R,).

    Returns:
        s (R, P), and whether it lies inside the region (R,), where it is the plain Newton step.

    Example:
        >>> s, inside = solve(torch.tensor([[2.0, -1.0]]).double(), torch.tensor([[0.0, 0.0]]).double(),
        ...                   torch.ones(1).double())
        >>> s.abs().tolist(), inside.tolist()
        ([[0.0, 1.0]], [False])
    """
    absolute = curvature.abs()
    definite = curvature.amin(1) > 1e-14 * (absolute.amax(1) + TINY)
    newton = -slope / torch.where(absolute < TINY, TINY, curvature)
    inside = definite & (newton.norm(dim=1) <= radius)
    rows = (~inside).nonzero()[:, 0]
    if len(rows):
        newton[rows] = _on_border(curvature[rows], slope[rows], radius[rows], definite[rows])
    return newton, inside


def _on_border(curvature: Tensor, slope: Tensor, radius: Tensor, definite: Tensor) -> Tensor:
    lowest, place = curvature.min(1)
    raised = (curvature + (-lowest).clamp(min=0)[:, None]).clamp(min=0)
    squares = slope.square()

    def square(log_shift: Tensor) -> Tensor:
        return (squares / (raised + log_shift.exp()[:, None]).square()).sum(1)

    high = torch.log(slope.norm(dim=1) / radius + 1e-130)  # so large that the square below does not underflow
    low, target = high - 60.0, radius.square()
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        long = square(middle) > target
        low, high = torch.where(long, middle, low), torch.where(long, high, middle)
    s = -slope / (raised + high.exp()[:, None])
    # Hard case: the slope has no part along the lowest mode, so even the longest regular step is short; add that mode.
    hard = (s.norm(dim=1) < 0.99 * radius) & ~definite
    along = s.gather(1, place[:, None])[:, 0]
    rest = (target - (s.square().sum(1) - along.square())).clamp(min=0).sqrt()
    sign = torch.where(slope.gather(1, place[:, None])[:, 0] > 0, -1.0, 1.0)
    filled = s.scatter(1, place[:, None], (sign * rest)[:, None])
    return torch.where(hard[:, None], filled, s)

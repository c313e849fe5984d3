"""The trust-region subproblem for diagonal models, batched over replicas."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["solve"]

BISECTIONS = 60


def solve(curvature: Tensor, slope: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
    """Minimises b·s + ½ Σ A_i s_i² over ‖s‖ ≤ Δ (Moré & Sorensen 1983), the hard case included.

    The multiplier μ ≥ max(0, −min A) with ‖s(μ)‖ = Δ is found by bisection in log(μ + min A), which resolves
    multipliers next to the pole to full precision; no step of it depends on another replica.

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
    tiny = 1e-300
    lowest, place = curvature.min(1)
    scale = curvature.abs().amax(1) + tiny
    definite = lowest > 1e-14 * scale
    newton = -slope / torch.where(curvature.abs() < tiny, tiny, curvature)
    inside = definite & (newton.norm(dim=1) <= radius)
    base = (-lowest).clamp(min=0)

    def step(log_shift: Tensor) -> Tensor:
        return -slope / ((curvature + base[:, None]).clamp(min=0) + log_shift.exp()[:, None])

    high = torch.log(slope.norm(dim=1) / radius + tiny)
    low = high - 60.0
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        long = step(middle).norm(dim=1) > radius
        low, high = torch.where(long, middle, low), torch.where(long, high, middle)
    s = step(high)
    # Hard case: the slope has no part along the lowest mode, so even the longest regular step is short; add that mode.
    hard = ~inside & (s.norm(dim=1) < 0.99 * radius) & ~definite
    along = s.gather(1, place[:, None])[:, 0]
    rest = (radius.square() - (s.square().sum(1) - along.square())).clamp(min=0).sqrt()
    sign = torch.where(slope.gather(1, place[:, None])[:, 0] > 0, -1.0, 1.0)
    filled = s.scatter(1, place[:, None], (sign * rest)[:, None])
    s = torch.where(hard[:, None], filled, s)
    return torch.where(inside[:, None], newton, s), inside

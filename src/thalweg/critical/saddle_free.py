"""Saddle-free Newton (Dauphin et al. 2014): Newton's step with |H| in place of H, which every saddle repels."""

from __future__ import annotations

import torch
from torch import Tensor

from thalweg.critical.damped import Values, damped_steps
from thalweg.critical.problem import Problem, as_search
from thalweg.critical.searches import Search
from thalweg.declared import declared

__all__ = ["saddle_free"]


@declared
def saddle_free(
    problem: Problem, theta: Tensor, *, steps: int = 500, tolerance: float = 1e-12, damping: float = 1e-2
) -> Search:
    """Descends by s = −(|H| + λI)⁻¹ g, λ adapted to whether the loss fell.

    Args:
        problem: Any.
        theta: Starts (R, P), float64; or what `search` takes.
        steps: Budget of iterations.
        tolerance: A replica stops at ‖g‖ ≤ tolerance.
        damping: First λ.
    """

    def step(values: Tensor, slope: Tensor, lam: Tensor) -> Tensor:
        return -slope / (values.abs() + lam)

    def better(before: Values, after: Values, promised: Tensor) -> Tensor:
        resolved = promised > 1e-11 * before[0].abs()  # below it the loss cannot tell: the gradient must fall
        return torch.where(resolved, after[0] < before[0], after[1] < before[1])

    problem, theta = as_search(problem, theta)
    label = "saddle-free Newton"
    return damped_steps(problem, theta, step, better, steps=steps, tolerance=tolerance, damping=damping, label=label)

"""Saddle-free Newton (Dauphin et al. 2014): Newton's step with |H| in place of H, which every saddle repels."""

from __future__ import annotations

import torch
from torch import Tensor

from thalweg import progress
from thalweg.critical.points import Search
from thalweg.critical.problem import Problem, modes_of

__all__ = ["saddle_free"]


def saddle_free(
    problem: Problem, theta: Tensor, *, steps: int = 500, tolerance: float = 1e-12, damping: float = 1e-2
) -> Search:
    """Descends by s = −(|H| + λI)⁻¹ g, λ adapted to whether the loss fell.

    Args:
        problem: Any.
        theta: Starts (R, P), float64.
        steps: Budget of iterations.
        tolerance: A replica stops at ‖g‖ ≤ tolerance.
        damping: First λ.
    """
    theta = theta.clone()
    lam = theta.new_full((len(theta),), damping)
    done = torch.zeros(len(theta), dtype=torch.long)
    value, gradient = problem.value_and_gradient(theta)
    history = []
    with progress.track("saddle-free Newton", total=steps) as advance:
        for step in range(steps):
            norms = gradient.norm(dim=1)
            rows = ((norms > tolerance) & norms.isfinite() & (lam < 1e8)).nonzero()[:, 0]
            if not len(rows):
                break
            values, modes, finite = modes_of(problem, theta[rows])
            lam[rows[~finite]] = torch.inf  # no Hessian: this replica stays where it is
            slope = (modes.mT @ gradient[rows][..., None])[..., 0]
            todo = finite.nonzero()[:, 0]
            for _ in range(6 if len(todo) else 0):
                at = rows[todo]
                s = -slope[todo] / (values[todo].abs() + lam[at][:, None])
                trial = theta[at] + (modes[todo] @ s[..., None])[..., 0]
                new_value, new_gradient = problem.value_and_gradient(trial)
                promised = -(slope[todo] * s).sum(1)
                resolved = promised > 1e-11 * value[at].abs()  # below it the loss cannot tell: the gradient must fall
                taken = torch.where(resolved, new_value < value[at], new_gradient.norm(dim=1) < norms[at])
                accepted = at[taken]
                theta[accepted], value[accepted] = trial[taken], new_value[taken]
                gradient[accepted] = new_gradient[taken]
                lam[at] = (lam[at] * torch.where(taken, 0.3, 4.0)).clamp(min=1e-15)
                todo = todo[~taken]
                if not len(todo):
                    break
            done[rows] += 1
            history.append((value.clone(), gradient.norm(dim=1)))
            advance(step + 1)
    return Search(theta, done, torch.zeros_like(done), tuple(history))

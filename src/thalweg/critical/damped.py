"""Steps in the modes of the exact Hessian, damped by a λ of each replica that follows its successes and failures."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from thalweg import progress
from thalweg.critical.problem import Problem
from thalweg.critical.searches import Search

__all__ = ["damped_steps"]

TRIES = 6
LARGEST, SMALLEST = 1e8, 1e-15  # λ

Values = tuple[Tensor, Tensor]
"""Loss (A,) and ‖g‖ (A,)."""


def damped_steps(
    problem: Problem,
    theta: Tensor,
    step: Callable[[Tensor, Tensor, Tensor], Tensor],
    better: Callable[[Values, Values, Tensor], Tensor],
    *,
    steps: int,
    tolerance: float,
    damping: float,
    label: str,
) -> Search:
    """Repeats: a step from the eigenvalues of H; where it is no better, again with a λ four times as large.

    Args:
        problem: Any.
        theta: Starts (R, P), float64.
        step: Eigenvalues E (A, P), slope q = Qᵀg (A, P) and λ (A, 1) of A replicas -> s (A, P) in the modes.
        better: What was before, what is after the step, and what its slope promised, −q·s (A,) -> whether to go there.
        steps: Budget of iterations, each with at most six tries.
        tolerance: A replica stops at ‖g‖ ≤ tolerance.
        damping: First λ.
        label: Shown by the progress bar.
    """
    theta = theta.clone()
    lam = theta.new_full((len(theta),), damping)
    done = torch.zeros(len(theta), dtype=torch.long)
    value, gradient = problem.value_and_gradient(theta)
    history = []
    with progress.track(label, total=steps) as advance:
        for iteration in range(steps):
            norms = gradient.norm(dim=1)
            rows = ((norms > tolerance) & norms.isfinite() & (lam < LARGEST)).nonzero()[:, 0]
            if not len(rows):
                break
            values, modes, exist = problem.modes(theta[rows])
            lam[rows[~exist]] = torch.inf  # no modes: this replica stays where it is
            slope = (modes.mT @ gradient[rows][..., None])[..., 0]
            todo = exist.nonzero()[:, 0]
            for _ in range(TRIES if len(todo) else 0):
                at = rows[todo]
                s = step(values[todo], slope[todo], lam[at][:, None])
                trial = theta[at] + (modes[todo] @ s[..., None])[..., 0]
                new_value, new_gradient = problem.value_and_gradient(trial)
                new_norms = new_gradient.norm(dim=1)
                taken = better((value[at], norms[at]), (new_value, new_norms), -(slope[todo] * s).sum(1))
                taken &= new_norms.isfinite()
                accepted = at[taken]
                theta[accepted], value[accepted], gradient[accepted] = (
                    trial[taken],
                    new_value[taken],
                    new_gradient[taken],
                )
                lam[at] = (lam[at] * torch.where(taken, 0.3, 4.0)).clamp(min=SMALLEST)
                todo = todo[~taken]
                if not len(todo):
                    break
            done[rows] += 1
            history.append((value.clone(), gradient.norm(dim=1)))
            advance(iteration + 1)
    return Search(theta, done, torch.zeros_like(done), tuple(history))

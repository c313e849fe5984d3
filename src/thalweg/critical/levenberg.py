"""Levenberg–Marquardt: damped Gauss–Newton on the loss, and damped least squares on the gradient itself."""

from __future__ import annotations

import torch
from torch import Tensor

from thalweg import progress
from thalweg.critical.damped import Values, damped_steps
from thalweg.critical.problem import Problem, as_search
from thalweg.critical.searches import Search
from thalweg.declared import declared

__all__ = ["levenberg_on_gradient", "levenberg_on_loss"]


@declared
def levenberg_on_loss(
    problem: Problem, theta: Tensor, *, steps: int = 1500, tolerance: float = 1e-5, damping: float = 1e-2
) -> Search:
    """Minimises a network's loss by (G + λI) s = −g with the Gauss–Newton matrix G (any loss; Martens 2010).

    λ follows Nielsen (1999): ρ is the gain over the model's promise; λ · max(1/5, 1 − (2ρ−1)³) after a success, growing
    faster with every failure.

    Args:
        problem: One with a Gauss–Newton matrix.
        theta: Starts (R, P), float64; or what `search` takes.
        steps: Budget of iterations.
        tolerance: A replica stops at ‖g‖ ≤ tolerance.
        damping: First λ.
    """
    problem, theta = as_search(problem, theta)
    theta = theta.clone()
    lam, growth = theta.new_full((len(theta),), damping), theta.new_full((len(theta),), 2.0)
    done = torch.zeros(len(theta), dtype=torch.long)
    value, gradient, matrix = problem.gauss_newton(theta)
    history = []
    with progress.track("Levenberg–Marquardt", total=steps) as advance:
        for step in range(steps):
            norms = gradient.norm(dim=1)
            rows = ((norms > tolerance) & norms.isfinite() & (lam < 1e7)).nonzero()[:, 0]
            if not len(rows):
                break
            damped = matrix[rows]
            damped.diagonal(dim1=1, dim2=2).add_(lam[rows][:, None])
            factor, failed = torch.linalg.cholesky_ex(damped)
            move = -torch.cholesky_solve(gradient[rows][..., None], factor)[..., 0]
            trial = theta[rows] + move
            new_value, new_gradient, new_matrix = problem.gauss_newton(trial)
            promised = 0.5 * (move * (lam[rows][:, None] * move - gradient[rows])).sum(1)
            ratio = (value[rows] - new_value) / (promised + 1e-300)
            taken = (ratio > 1e-4) & new_gradient.isfinite().all(1) & (failed == 0)
            shrink = (1 - (2 * ratio - 1) ** 3).clamp(min=0.2, max=2.0)
            lam[rows] = (lam[rows] * torch.where(taken, shrink, growth[rows])).clamp(1e-15, 1e8)
            growth[rows] = torch.where(taken, 2.0, (2 * growth[rows]).clamp(max=64))
            accepted = rows[taken]
            theta[accepted], value[accepted], gradient[accepted] = trial[taken], new_value[taken], new_gradient[taken]
            matrix[accepted] = new_matrix[taken]
            done[rows] += 1
            history.append((value.clone(), gradient.norm(dim=1)))
            advance(step + 1)
    return Search(theta, done, torch.zeros_like(done), tuple(history))


@declared
def levenberg_on_gradient(
    problem: Problem, theta: Tensor, *, steps: int = 200, tolerance: float = 1e-12, damping: float = 1e-3
) -> Search:
    """Minimises ½‖g‖² by (H² + λ²I) s = −H g: any index, but it stalls where g lies in the null space of H.

    The textbook's way to "zero gradient". Where it stops short, the point is *gradient-flat*, not critical (Frye et al.
    2021).

    Args:
        problem: Any.
        theta: Starts (R, P), float64; or what `search` takes.
        steps: Budget of iterations.
        tolerance: A replica stops at ‖g‖ ≤ tolerance.
        damping: First λ.
    """

    def step(values: Tensor, slope: Tensor, lam: Tensor) -> Tensor:
        return -values * slope / (values.square() + lam.square())

    def better(before: Values, after: Values, promised: Tensor) -> Tensor:
        return after[1] < before[1]

    problem, theta = as_search(problem, theta)
    label = "Levenberg–Marquardt on the gradient"
    return damped_steps(problem, theta, step, better, steps=steps, tolerance=tolerance, damping=damping, label=label)

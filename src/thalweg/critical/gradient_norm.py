"""The course's method: the norm of the gradient as the objective, by Adam or L-BFGS.

It finds points of any index, but most of its end points are gradient-flat, not critical (Frye et al. 2021): where
H g = 0 with g ≠ 0, ‖g‖² has a stationary point of its own. The certificate says which is which.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from thalweg import progress
from thalweg.critical.problem import Problem, as_search
from thalweg.critical.searches import Search
from thalweg.declared import declared
from thalweg.errors import InputError

__all__ = ["gradient_norm_adam", "gradient_norm_lbfgs"]


@declared
def gradient_norm_adam(
    problem: Problem, theta: Tensor, *, steps: int = 2000, lr: float = 1e-3, tolerance: float = 1e-12
) -> Search:
    """Minimises ½‖∇L‖² by Adam; its gradient H g is one Hessian-vector product a step, never a Hessian.

    Args:
        problem: Any.
        theta: Starts (R, P), float64; or what `search` takes.
        steps: Number of steps; replicas stop early at ‖g‖ ≤ tolerance.
        lr: Learning rate; Adam's other constants are torch's defaults.
        tolerance: On ‖g‖.
    """
    if steps < 0:
        raise InputError(f"steps must not be negative, found {steps}")
    problem, theta = as_search(problem, theta)
    leaf = theta.clone().requires_grad_()
    optimizer = torch.optim.Adam([leaf], lr=lr)
    value, gradient, product = problem.value_gradient_product(theta)
    done = torch.zeros(len(theta), dtype=torch.long)
    history = [(value, gradient.norm(dim=1))]
    with progress.track("gradient norm by Adam", total=steps) as advance:
        for step in range(steps):
            active = (history[-1][1] > tolerance) & history[-1][1].isfinite()
            if not bool(active.any()):
                break
            before = leaf.detach().clone()
            leaf.grad = product
            optimizer.step()
            with torch.no_grad():
                leaf[~active] = before[~active]
            done += active
            value, gradient, product = problem.value_gradient_product(leaf.detach())
            history.append((value, gradient.norm(dim=1)))
            advance(step + 1)
    return Search(leaf.detach(), done, torch.full_like(done, -1), tuple(history))


@declared
def gradient_norm_lbfgs(problem: Problem, theta: Tensor, *, steps: int = 2000, tolerance: float = 1e-12) -> Search:
    """Minimises ½‖∇L‖² by L-BFGS-B of SciPy (30 corrections), one replica after another.

    Args:
        problem: Any.
        theta: Starts (R, P), float64; or what `search` takes.
        steps: Budget of iterations of each replica.
        tolerance: On the largest element of H g.
    """
    problem, theta = as_search(problem, theta)
    ends, counts, rows = [], [], []
    with progress.track("gradient norm by L-BFGS", total=len(theta)) as advance:
        for r, start in enumerate(theta):
            track: list[tuple[float, float]] = []

            def function(x: np.ndarray, track: list[tuple[float, float]] = track) -> tuple[float, np.ndarray]:
                value, gradient, product = problem.value_gradient_product(torch.as_tensor(x)[None])
                track.append((float(value), float(gradient.norm())))
                return 0.5 * float(gradient.square().sum()), product[0].numpy()

            found = minimize(
                function,
                start.cpu().numpy(),
                jac=True,
                method="L-BFGS-B",
                options={"maxiter": steps, "maxfun": 2 * steps, "ftol": 0.0, "gtol": tolerance, "maxcor": 30},
            )
            ends.append(torch.as_tensor(found.x).to(theta))
            counts.append(int(found.nit))
            rows.append(torch.tensor(track, dtype=torch.float64))
            advance(r + 1)
    longest = max(len(row) for row in rows)
    padded = torch.stack([torch.cat([row, row[-1:].expand(longest - len(row), 2)]) for row in rows])  # (R, T, 2)
    history = tuple((padded[:, t, 0], padded[:, t, 1]) for t in range(longest))
    done = torch.tensor(counts)
    return Search(torch.stack(ends), done, torch.full_like(done, -1), history)

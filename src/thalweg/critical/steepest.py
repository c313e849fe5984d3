"""The path of steepest descent, dθ/dt = −∇f, in steps that are exact for the local quadratic model.

With H = Q E Qᵀ and q = Qᵀ∇f the flow of the model after a time τ has moved by s = −q (1 − e^{−Eτ})/E in the modes
(Page & McIver 1988, J. Chem. Phys. 88, for reaction paths). Ravines whose walls are 10⁷ times as steep as their floor
take no more steps than others, which no explicit integrator of the gradient can say.
"""

from __future__ import annotations

import torch
from torch import Tensor

from thalweg import progress
from thalweg.critical.problem import Problem, as_search
from thalweg.critical.searches import Search
from thalweg.declared import declared

__all__ = ["steepest_descent"]

SMALLEST = 1e-9  # step length at which a replica gives up
BISECTIONS = 22  # of an interval of 130 in the logarithm of the time: the length of a step to about 1e-5
TRUSTED = (
    0.3  # largest relative error of the model's promise that a step is taken with; a tenth of it lengthens the next
)


@declared
def steepest_descent(
    problem: Problem,
    theta: Tensor,
    *,
    steps: int = 2000,
    length: float = 0.05,
    tolerance: float = 1e-6,
    label: str = "steepest descent",
) -> Search:
    """Follows the path of steepest descent from each start.

    Args:
        problem: Any.
        theta: Starts (R, P), float64, or what `search` takes; at a critical point nothing moves.
        steps: Budget of steps.
        length: Of the longest step; shorter ones are taken where the quadratic model errs.
        tolerance: A replica stops at ‖g‖ ≤ tolerance, where all that is left is Newton's method.
        label: Shown by the progress bar.

    Example:
        >>> from thalweg.critical import FunctionProblem
        >>> problem = FunctionProblem(lambda x: (x[0] ** 2 - 1) ** 2 + 1e4 * x[1] ** 2, 2)
        >>> found = steepest_descent(problem, torch.tensor([[0.01, 0.5], [-0.01, 0.5]]).double())
        >>> found.theta[:, 0].round(decimals=6).tolist()
        [1.0, -1.0]
    """
    problem, theta = as_search(problem, theta)
    theta = theta.clone()
    longest = theta.new_full((len(theta),), 0.1 * length)
    done = torch.zeros(len(theta), dtype=torch.long)
    value, gradient = problem.value_and_gradient(theta)
    history = []
    with progress.track(label, total=steps) as advance:
        for step in range(steps):
            norms = gradient.norm(dim=1)
            rows = ((norms > tolerance) & norms.isfinite() & (longest > SMALLEST)).nonzero()[:, 0]
            if not len(rows):
                break
            values, modes, _ = problem.modes(theta[rows])
            slope = (modes.mT @ gradient[rows][..., None])[..., 0]
            s = _flow(values, slope, longest[rows])
            promised = -(slope * s + 0.5 * values * s.square()).sum(1)
            trial = theta[rows] + (modes @ s[..., None])[..., 0]
            new_value, new_gradient = problem.value_and_gradient(trial)
            # A difference of losses below their rounding means nothing; the work along the step still does.
            move = trial - theta[rows]
            work = -0.5 * ((gradient[rows] + new_gradient) * move).sum(1)
            gain = torch.where(promised > 1e-11 * value[rows].abs(), value[rows] - new_value, work)
            error = (gain / promised.clamp(min=1e-300) - 1).abs()
            taken = (error < TRUSTED) & new_gradient.isfinite().all(1)
            factor = torch.where(error < 0.1 * TRUSTED, 2.0, 1.0)
            longest[rows] = (longest[rows] * torch.where(taken, factor, 0.25)).clamp(max=length)
            at = rows[taken]
            theta[at], value[at], gradient[at] = trial[taken], new_value[taken], new_gradient[taken]
            done[rows] += 1
            history.append((value.clone(), gradient.norm(dim=1)))
            advance(step + 1)
    return Search(theta, done, torch.zeros_like(done), tuple(history))


def _flow(values: Tensor, slope: Tensor, length: Tensor) -> Tensor:
    """The model's flow until it has moved by `length` (R,), or to its end if nearer: E, q (R, P) -> s (R, P)."""

    def moved(log_time: Tensor) -> Tensor:
        time = log_time.exp()[:, None]
        steep = values.abs() * time > 1e-8
        # (1 − e^{−Eτ})/E, and its limit τ in flat modes; where it overflows the step is too long anyway.
        share = torch.where(steep, -torch.expm1(-values * time) / values, time)
        return torch.where(slope == 0, 0.0, -slope * share)

    low, high = length.new_full(length.shape, -50.0), length.new_full(length.shape, 80.0)
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        long = moved(middle).norm(dim=1) > length
        low, high = torch.where(long, low, middle), torch.where(long, middle, high)
    return moved(low)

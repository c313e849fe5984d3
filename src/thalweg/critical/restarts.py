"""Eigenvector following with second chances: replicas that wander start again near where they began."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from thalweg.critical.following import follow
from thalweg.critical.problem import Problem, as_search
from thalweg.critical.searches import Search
from thalweg.critical.steepest import steepest_descent
from thalweg.declared import declared
from thalweg.objective.seeds import replica_seed

__all__ = ["follow_again"]

DONE = 1e-10  # ‖g‖
STRIDE = 0.3  # longest step of the approach


@declared
def follow_again(
    problem: Problem,
    theta: Tensor,
    index: int | Tensor = 0,
    *,
    restarts: int = 3,
    approach: int = 0,
    spread: float = 1.0,
    seed: int = 0,
    **options: Any,
) -> Search:
    """Searches points of a prescribed index; unfinished replicas start again at θ + spread · rms(θ) · noise.

    Whether a search ends or wanders depends on its start as on a coin (about one in two at small weight decay, and
    those that end do so early), so that new starts are worth more than more steps.

    Args:
        problem: The function.
        theta: Starts (R, P), float64; or what `search` takes.
        index: k, or one per replica (R,).
        restarts: At most so many new starts of a replica; `iterations` sums over all.
        approach: Steps of steepest descent, none longer than 0.3, before every search. Fresh networks lie so high that
            many modes lead down; 60 steps bring them near the saddles (with many more they would lie in minima).
        spread: Size of the noise, relative to the root mean square of the replica's start.
        seed: Of the noise; replica r draws the same whatever the others do.
        **options: For `follow`.

    Example:
        >>> from thalweg.critical import FunctionProblem
        >>> problem = FunctionProblem(lambda x: torch.cos(x[0]) + torch.cos(x[1]), 2)
        >>> found = follow_again(problem, torch.tensor([[2.0, 0.5]]).double(), 1)
        >>> [round(abs(x), 6) for x in found.theta[0].tolist()]
        [3.141593, 0.0]
    """

    def attempted(starts: Tensor, wanted: int | Tensor) -> Search:
        down = steepest_descent(problem, starts, steps=approach, length=STRIDE, label="approaching")
        last = follow(problem, down.theta, wanted, **options)
        return Search(last.theta, down.iterations + last.iterations, last.index, down.history + last.history)

    problem, theta = as_search(problem, theta)
    found = attempted(theta, index)
    every = index if isinstance(index, Tensor) else torch.full((len(theta),), index)
    ends, iterations, last, history = found.theta.clone(), found.iterations.clone(), found.index.clone(), found.history
    for attempt in range(1, restarts + 1):
        norms = problem.value_and_gradient(ends)[1].norm(dim=1)
        # A replica that began outside the numbers stays there.
        again = (~(norms <= DONE) & theta.isfinite().all(1)).nonzero()[:, 0]
        if not len(again):
            break
        starts = torch.stack([_moved(theta[r], r, attempt, spread, seed) for r in again.tolist()])
        found = attempted(starts, every[again])
        ends[again], last[again] = found.theta, found.index
        iterations[again] += found.iterations
        if history:
            value, norm = history[-1]
            rows = [(value.index_copy(0, again, v), norm.index_copy(0, again, n)) for v, n in found.history]
            history = (*history, *rows)
    return Search(ends, iterations, last, history)


def _moved(start: Tensor, replica: int, attempt: int, spread: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(replica_seed(seed, replica, f"restart {attempt}"))
    noise = torch.randn(start.shape, generator=generator, dtype=start.dtype).to(start.device)
    return start + spread * start.square().mean().sqrt() * noise

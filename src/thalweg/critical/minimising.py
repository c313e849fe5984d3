"""The minimiser: Levenberg–Marquardt on the loss for the curved ravines, exact Newton for the end, alternated."""

from __future__ import annotations

import torch
from torch import Tensor

from thalweg.critical.following import follow
from thalweg.critical.levenberg import levenberg_on_loss
from thalweg.critical.problem import Problem, as_search
from thalweg.critical.searches import Search
from thalweg.declared import declared

__all__ = ["minimise"]

HANDOVER = (1e-6, 1e-7, 1e-9)  # ‖g‖ at which each round goes from Gauss–Newton to Newton


@declared
def minimise(
    problem: Problem, theta: Tensor, *, tolerance: float = 1e-10, first: int = 1500, second: int = 200
) -> Search:
    """Finds a minimum from each start: up to three rounds on the replicas that are not there yet.

    Args:
        problem: Any; without a Gauss–Newton matrix only Newton runs.
        theta: Starts (R, P), float64; or what `search` takes.
        tolerance: A replica is done at ‖g‖ ≤ tolerance.
        first: Budget of Gauss–Newton iterations in a round.
        second: Budget of Newton iterations in a round.
    """
    problem, theta = as_search(problem, theta)
    theta = theta.clone()
    done = torch.zeros(len(theta), dtype=torch.long)
    todo = torch.arange(len(theta))
    history = []
    last = problem.value_and_gradient(theta)
    last = last[0], last[1].norm(dim=1)
    for handover in HANDOVER:
        if not len(todo):
            break
        start = theta[todo]
        searches = [levenberg_on_loss(problem, start, steps=first, tolerance=handover)] if problem.has_ggn else []
        start = searches[0].theta if searches else start
        searches.append(follow(problem, start, 0, gauss_newton=True, steps=second, label="Newton"))
        for search in searches:
            done[todo] += search.iterations
            for value, norms in search.history:
                last = last[0].index_copy(0, todo, value), last[1].index_copy(0, todo, norms)
                history.append(last)
        theta[todo] = searches[-1].theta
        norms = problem.value_and_gradient(theta[todo])[1].norm(dim=1)
        todo = todo[~(norms <= tolerance)]
    return Search(theta, done, torch.zeros_like(done), tuple(history))

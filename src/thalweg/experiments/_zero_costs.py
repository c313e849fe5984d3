"""How long the searches of `zero-gradient` take: by steps and Hessians that are timed on a throwaway copy."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from thalweg.experiments.framework.stages import Other, Stage

if TYPE_CHECKING:
    from thalweg.experiments.zero_gradient import Config

__all__ = ["searches"]

HESSIANS = {"minima": 900, "followed": 1100, "downhill": 1800}
"""Exact Hessians of all points together that a search takes, about: it ends with the last of its points."""

STEPS = 20
"""Steps on the norm of the gradient that are timed."""


def searches(config: Config) -> list[Stage]:
    """The searches of a configuration, by the names under which each chunk of them is kept."""
    timed: dict[tuple[str, int], float] = {}

    def price(what: str, points: int, count: float) -> Callable[[], float]:
        def seconds() -> float:
            if (what, points) not in timed:
                timed[what, points] = _step(config, points) if what == "step" else _hessian(config, points)
            return count * timed[what, points]

        return seconds

    def chunks(name: str, total: int, what: str, count: float) -> list[Stage]:
        starts = range(0, total, config.chunk)
        sizes = [min(config.chunk, total - start) for start in starts]
        pairs = zip(starts, sizes, strict=True)
        return [Other(f"{name}-{start:05d}", price(what, size, count)) for start, size in pairs]

    found = chunks("end-points", config.replicas, "step", config.norm_steps)
    found += chunks("minima", min(config.minima, config.replicas), "hessian", HESSIANS["minima"])
    saddles = min(config.saddles, config.replicas)
    for index in config.indices if saddles else ():
        found += chunks(f"index-{index}", saddles, "hessian", HESSIANS["followed"])
    if config.downhill and saddles:
        found += chunks("downhill", saddles, "hessian", HESSIANS["downhill"])
    return found


def _hessian(config: Config, points: int) -> float:
    """Seconds of the Hessians of so many points together."""
    from thalweg.curvature import exact_curvature
    from thalweg.experiments.framework.costs import shortest, throwaway

    objective = throwaway(config).objective.double()
    theta = objective.initial(points, 0)
    return shortest(lambda: exact_curvature(objective, theta))


def _step(config: Config, points: int) -> float:
    """Seconds of a step of so many points together on the norm of the gradient."""
    from thalweg import critical
    from thalweg.experiments.framework.costs import throwaway

    objective = throwaway(config).objective.double()
    problem, theta = critical.as_problem(objective), objective.initial(points, 0)
    found = []
    for steps in (2, 2 + STEPS):  # the first call pays for what is made once
        began = time.perf_counter()
        critical.gradient_norm_adam(problem, theta, steps=steps, lr=config.norm_lr)
        found.append(time.perf_counter() - began)
    return found[1] / (2 + STEPS)

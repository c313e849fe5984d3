"""What a value, a gradient and a product cost on this machine, measured on a few samples."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg._short import short
from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.objective.drawing import numbers
from thalweg.results import Stored

__all__ = ["Costs", "measured", "some"]

LONG = 0.2
"""Seconds of a timing that can be trusted; the number of samples is quadrupled until one takes as long."""


@short
@dataclass(frozen=True, eq=False)
class Costs(Stored):
    """Seconds of one evaluation, as (of a call, of each sample in it).

    Args:
        value: Of L.
        gradient: Of ∇L.
        product: Of ∇²L v; NaN where the loss has no second derivative.
        samples: N.
        cut: Whether the data can be cut into subsets.
        size: P.
        precise: Whether evaluations are in float64.
        why: Why there is no product, in a sentence; else empty.
    """

    value: tuple[float, float]
    gradient: tuple[float, float]
    product: tuple[float, float]
    samples: int
    cut: bool
    size: int
    precise: bool
    why: str = ""

    def seconds(self, kind: str, samples: int, times: int = 1) -> float:
        """Of so many evaluations of a kind ("value", "gradient", "product") on so many samples."""
        call, each = getattr(self, kind)
        return times * (call + each * samples)


def some(objective: Objective, samples: int, seed: int = 0) -> Objective:
    """The objective on so many of its samples, drawn without replacement; all of them where that is as many."""
    if samples >= objective.samples:
        return objective
    return objective.subset(numbers(objective.samples, samples, seed))


def measured(objective: Objective, theta: Tensor, clock: Callable[[], float] = time.perf_counter) -> Costs:
    """Times a value, a gradient and a product at θ on few samples and on more, until one is long enough to be trusted.

    Args:
        objective: As it will be evaluated.
        theta: (P,).
        clock: Seconds.
    """
    vector = torch.randn(theta.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(theta)
    cut, found, why = objective.batches.indexable, {}, ""
    works: dict[str, Callable[[Objective], object]] = {
        "value": lambda part: part.value(theta),
        "gradient": lambda part: part.value_and_gradient(theta),
        "product": lambda part: part.hvp(theta, vector),
    }
    for kind, work in works.items():
        try:
            found[kind] = _timed(objective, work, clock, cut=cut)
        except InputError as error:
            found[kind], why = (float("nan"), float("nan")), str(error)
    precise = objective.dtype == torch.float64
    return Costs(**found, samples=objective.samples, cut=cut, size=objective.size, precise=precise, why=why)


def _timed(
    objective: Objective, work: Callable[[Objective], object], clock: Callable[[], float], *, cut: bool
) -> tuple[float, float]:
    count = min(1, objective.samples) if cut else objective.samples
    first = 0.0
    while True:
        part = some(objective, count)
        work(part)  # the first call of a size prepares
        begun = clock()
        work(part)
        taken = clock() - begun
        first = first or taken
        if taken >= LONG or count >= objective.samples:
            break
        count = min(4 * count, objective.samples)
    if not cut:
        return taken, 0.0
    each = max(taken - first, 0.0) / (count - 1) if count > 1 else taken
    return max(first - each, 0.0), each

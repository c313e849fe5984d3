"""The straight line through two solutions, and beyond them.

θ_α = (1−α)θ_a + αθ_b: α = 0 is the first network and α = 1 the second. Goodfellow, Vinyals & Saxe 2015 looked along
such lines first; Keskar et al. 2017 compared on them the surroundings of small-batch and large-batch solutions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.landscape.paths import Path, positions
from thalweg.landscape.profiles import Profile, Statistics, follow
from thalweg.objective import Objective
from thalweg.objective.arguments import as_objectives, as_theta, floating, same_shape
from thalweg.objective.from_modules import from_modules

__all__ = ["interpolate", "valley", "with_ends"]

HALVINGS = 6


@declared
def with_ends(low: float = -1.0, high: float = 2.0, points: int = 61) -> Tensor:
    """Evenly spaced α from `low` to `high`, in which the places nearest to 0 and 1 are exactly 0 and 1: (points,).

    Raises:
        InputError: Fewer than four points, or an interval that does not hold [0, 1] or is so coarsely divided that both
            ends would fall on one place.

    Example:
        >>> with_ends(-1, 2, 7)
        tensor([-1.0000, -0.5000,  0.0000,  0.5000,  1.0000,  1.5000,  2.0000], dtype=torch.float64)
    """
    if not low <= 0 < 1 <= high:
        raise InputError(f"alphas must reach from at most 0 to at least 1, found {low:g} … {high:g}")
    if points < 4:
        raise InputError(f"points must be at least 4, found {points}")
    alphas = torch.linspace(low, high, points, dtype=torch.float64)
    nearest = [int((alphas - end).abs().argmin()) for end in (0.0, 1.0)]
    if nearest[0] == nearest[1]:
        raise InputError(f"points must be enough to tell 0 from 1 between {low:g} and {high:g}, found {points}")
    alphas[nearest[0]], alphas[nearest[1]] = 0.0, 1.0
    return alphas


@from_modules(2)
@declared
def interpolate(
    objectives: Objective | Mapping[str, Objective],
    theta_a: Tensor,
    theta_b: Tensor,
    alphas: Tensor | list[float] | None = None,
    *,
    batchnorm: Statistics = "recomputed",
    buffers: tuple[Mapping[str, Tensor] | None, Mapping[str, Tensor] | None] = (None, None),
    subsets: int = 10,
    seed: int = 0,
) -> Profile:
    """Every metric on the line θ_α = (1−α)θ_a + αθ_b, and the barrier between its ends.

    Neither network is changed: the points are new vectors, and α = 0 and α = 1 give bit for bit the metrics of the two
    themselves. Where the alphas hold no 0 and 1 there is no barrier.

    Args:
        objectives: One objective (called "train"), or data set -> objective of the same network, such as
            {"train": objective, "test": objective.with_data(test)}.
        theta_a: (…, P), the first solution (α = 0), or one for each pair; or what `Objective.as_theta` takes: a model,
            a state_dict, an array, a list of these.
        theta_b: (…, P), the second (α = 1).
        alphas: (A,); default 61 from −1 to 2.
        batchnorm: As for `follow`, like the next three.
        buffers: See there.
        subsets: See there.
        seed: See there.

    Returns:
        Values of shape (A, …), and barriers of shape (…).

    Raises:
        InputError: Solutions of another architecture than the objectives', of different shapes, or the same twice.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 9), torch.nn.Tanh(), torch.nn.Linear(9, 3))
        >>> data = torch.randn(60, 2), torch.randint(0, 3, (60,))
        >>> objective = Objective(model, torch.nn.CrossEntropyLoss(), data)
        >>> line = interpolate(objective, objective.initial(seed=0), objective.initial(seed=1))
        >>> line.values["train"]["accuracy"].shape, float(line.barriers["train"].height) >= 0
        (torch.Size([61]), True)
    """
    first = next(iter(as_objectives(objectives, "train", "objectives").values()))
    theta_a, theta_b = as_theta(first, theta_a, "theta_a"), as_theta(first, theta_b, "theta_b")
    same_shape(theta_a, theta_b)
    if torch.equal(theta_a, theta_b):
        raise InputError("theta_a and theta_b must be two points, found the same one twice: no line leads through it")
    path = Path(torch.stack([theta_a, theta_b.to(theta_a)]))
    alphas = with_ends() if alphas is None else positions(alphas, "alphas")
    options: dict[str, Any] = {"batchnorm": batchnorm, "buffers": buffers, "subsets": subsets, "seed": seed}
    return follow(objectives, path, alphas, **options)


@declared
def valley(
    alphas: Tensor, loss: Tensor, end: float, rise: float, at: Callable[[Tensor], Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """How far one can go from an end along the line, both ways, before the loss has risen by so much.

    The width `high − low` is a measure of flatness in one direction, in units of the distance between the ends; like
    every such measure it depends on how the weights are scaled.

    Args:
        alphas: (A,), ascending.
        loss: (A, …).
        end: The α to start from, one of `alphas`.
        rise: By how much the loss may rise.
        at: The loss at an α of its own for every pair, (…) -> (…): the interval between two of `alphas` in which it
            has risen is then halved six times. Between two places the loss is taken as straight: without this, a
            valley that is hardly wider than an interval looks narrower than it is, because a loss that curves upwards
            lies below.

    Returns:
        low, high: (…) float64; −inf or inf where the loss has not risen so far within the range; NaN where the loss at
        the end is not finite.

    Example:
        >>> alphas = with_ends(-1, 2, 31)
        >>> [round(float(side), 2) for side in valley(alphas, alphas.abs(), 0.0, 0.25)]
        [-0.25, 0.25]
        >>> [round(float(valley(alphas, alphas**2, 0.0, 0.001, at)[1]), 4) for at in (None, torch.square)]  # √0.001
        [0.01, 0.0316]
    """
    alphas, loss = floating(alphas, "alphas"), floating(loss, "loss").double()
    found = (alphas == end).nonzero()
    if len(found) != 1:
        raise InputError(f"end must be one of the alphas, found {end:g}")
    start = int(found)
    level = loss[start] + rise
    sides = []
    for step, outside in ((-1, -torch.inf), (1, torch.inf)):
        crossed = torch.zeros_like(level, dtype=torch.bool)
        near, far = (torch.full_like(level, end) for _ in range(2))  # not yet risen, risen; equal where it never does
        below, above = loss[start], loss[start]
        i = start
        while 0 <= i + step < len(alphas):
            first = ~crossed & ~(loss[i + step] <= level)  # NaN and infinity are above any level
            near, far = torch.where(first, alphas[i], near), torch.where(first, alphas[i + step], far)
            below, above = torch.where(first, loss[i], below), torch.where(first, loss[i + step], above)
            crossed |= first
            i += step
        if at is not None and bool(crossed.any()):
            for _ in range(HALVINGS):
                middle = (near + far) / 2
                value = at(middle).to(loss)
                risen = ~(value <= level)
                near, far = torch.where(risen, near, middle), torch.where(risen, middle, far)
                below, above = torch.where(risen, below, value), torch.where(risen, value, above)
        share = ((level - below) / (above - below)).nan_to_num(nan=0.0)
        side = torch.where(crossed, near + (far - near) * share, outside)
        sides.append(side.masked_fill(~level.isfinite(), torch.nan))
    return sides[0], sides[1]

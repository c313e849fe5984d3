"""Where a surface is evaluated: coordinates along each direction, always with the centre among them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Literal, TypeAlias, cast

import numpy as np

from thalweg._short import short
from thalweg.declared import real, whole
from thalweg.errors import InputError, brief

__all__ = ["Axes", "Grid", "refined", "risen_range"]

Axes: TypeAlias = tuple[np.ndarray, ...]
Span: TypeAlias = float | tuple[float, float] | tuple[tuple[float, float], ...]

LADDER = 2.0 ** np.arange(-14, 4)
"""Steps, in units of ‖θ‖/‖d‖, at which an automatic range is looked for."""


@short
@dataclass(frozen=True)
class Grid:
    """A grid in the coordinates of some directions; zero, the centre, is always one of its points.

    Args:
        points: Number of points along every axis, or one number for each.
        span: Half the length of every axis; or its two ends, around zero; or two ends for each axis. Default 1, that is
            one length of each direction either way.
        rise: Instead of `span`: every axis goes either way until the loss has risen by this much over the centre.
        refine: Rounds of adaptive refinement. Each halves those intervals of an axis across which the first metric
            changes by more than `change`, anywhere along the other axes: whole lines are added, none interpolated.
        change: Share of the range of the (finite) values that may pass between two lines unrefined.
        scale: Whether changes are those of the value or of its logarithm ("log" sees the valley, "linear" the walls).

    Raises:
        InputError: An argument is out of range.

    Example:
        >>> [axis.tolist() for axis in Grid(points=(3, 4), span=((-1.0, 1.0), (-1.0, 2.0))).axes(2)]
        [[-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0, 2.0]]
    """

    points: int | tuple[int, ...] = 51
    span: Span | None = None
    rise: float | None = None
    refine: int = 0
    change: float = 0.1
    scale: Literal["linear", "log"] = "linear"

    def __post_init__(self) -> None:
        counts = self.points if isinstance(self.points, tuple | list) else (self.points,)
        if not counts or any(isinstance(n, bool) or not isinstance(n, int) or n < 2 for n in counts):
            raise InputError(f"points must be whole numbers of at least 2, found {self.points}")
        if self.span is not None and self.rise is not None:
            raise InputError("span and rise must not both be given: the rise of the loss decides the span")
        if self.rise is not None and not 0 < real("rise", self.rise) < math.inf:
            raise InputError(f"rise must be positive and finite, found {self.rise}")
        if whole("refine", self.refine) < 0:
            raise InputError(f"refine must not be negative, found {self.refine}")
        if not 0 < real("change", self.change) < 1:
            raise InputError(f"change must lie between 0 and 1, found {self.change}")
        if self.scale not in ("linear", "log"):
            raise InputError(f"scale must be 'linear' or 'log', found '{self.scale}'")

    def axes(self, count: int, spans: Sequence[tuple[float, float]] | None = None) -> Axes:
        """Places the points: both ends and zero are met exactly, and either side of zero is evenly spaced.

        Args:
            count: K, the number of axes.
            spans: The ends of each axis, where they were found by `rise`.

        Returns:
            K ascending float64 arrays.
        """
        points = (self.points,) * count if isinstance(self.points, int) else self.points
        if len(points) != count:
            raise InputError(f"points must be one number for each of the {count} directions, found {self.points}")
        return tuple(_line(n, *ends) for n, ends in zip(points, spans or self._spans(count), strict=True))

    def _spans(self, count: int) -> tuple[tuple[float, float], ...]:
        span = 1.0 if self.span is None else self.span
        if isinstance(span, int | float | Real):
            return cast("tuple[tuple[float, float], ...]", ((-span, span),) * count)
        if len(span) == 2 and not isinstance(span[0], tuple):
            return (cast("tuple[float, float]", span),) * count
        if len(span) != count:
            raise InputError(f"span must give two ends for each of the {count} directions, found {self.span}")
        return cast("tuple[tuple[float, float], ...]", span)


def _line(points: int, low: float, high: float) -> np.ndarray:
    try:
        low, high = float(low), float(high)
    except (OverflowError, TypeError, ValueError):
        raise InputError(f"span must be finite numbers, found {brief(low)} to {brief(high)}") from None
    if not -math.inf < low <= 0 <= high < math.inf or low == high:
        raise InputError(f"span must reach from a finite end below zero to one above, found {low} to {high}")
    if points == 2 and low < 0 < high:
        raise InputError("points must be at least 3 to meet both ends and zero, found 2")
    if not (points - 1) * (high - low) < math.inf:
        raise InputError(f"span times the number of points must be finite, found {low} to {high} at {points:,} points")
    before = round((points - 1) * -low / (high - low))
    before = min(max(before, int(low < 0)), points - 1 - int(high > 0))
    left, right = np.linspace(low, 0.0, before + 1), np.linspace(0.0, high, points - before)
    return np.concatenate([left[:-1], right])


def given_axes(grid: Sequence[Sequence[float] | np.ndarray], count: int) -> Axes:
    """Checks axes given point by point, and adds zero where it is missing.

    Raises:
        InputError: Another number of axes than directions, an empty axis, or one that is not finite or repeats a point.
    """
    if not isinstance(grid, list | tuple | np.ndarray):
        raise InputError(
            f"grid must be a Grid, a number of points or the coordinates of every axis, found {brief(grid)}"
        )
    if len(grid) != count:
        raise InputError(f"grid must have one axis for each of the {count} directions, found {len(grid)}")
    axes = []
    for number, values in enumerate(grid):
        try:
            axis = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError):
            raise InputError(f"grid[{number}] must be a list of coordinates, found {brief(values)}") from None
        if axis.ndim != 1 or len(axis) == 0:
            raise InputError(
                f"grid[{number}] must be a list of coordinates that is not empty, found shape {axis.shape}"
            )
        if not np.isfinite(axis).all() or not (np.diff(axis) > 0).all():
            raise InputError(f"grid[{number}] must be finite and ascending, found {axis.tolist()[:6]}")
        axes.append(np.union1d(axis, [0.0]))
    return tuple(axes)


def risen_range(
    values: Callable[[np.ndarray], np.ndarray], rise: float, units: Sequence[float]
) -> tuple[list[tuple[float, float]], list[str]]:
    """Finds how far along every axis, either way, the loss first rises by `rise` over the centre, to 5 %.

    Args:
        values: Coordinates (B, K) -> losses (B,).
        rise: The rise.
        units: (K,), the length of a large step along each axis: steps of 2⁻¹⁴ to 2³ of it are looked at.

    Returns:
        The ends of each axis, and a sentence on each.
    """
    count = len(units)
    centre = float(values(np.zeros((1, count)))[0])
    if not math.isfinite(centre):
        raise InputError(f"theta must have a finite loss to choose the range by its rise, found {centre}")

    def first(k: int, steps: np.ndarray) -> int:
        """Number of the first step that has risen, or that is not finite; all of them if none."""
        losses = values(steps[:, None] * np.eye(count)[k])
        risen = ~(losses - centre < rise)
        return int(risen.argmax()) if risen.any() else len(steps)

    spans, notes = [], []
    for k, unit in enumerate(units):
        ends: dict[int, float] = {}
        for sign in (-1, 1):
            steps = LADDER * unit
            found = first(k, sign * steps)
            if 0 < found < len(steps):
                steps = np.geomspace(steps[found - 1], steps[found], 17)[1:]
                found = first(k, sign * steps[:-1])  # the last is known to have risen
            if found < len(steps):
                ends[sign] = float(steps[found])
        flat = [sign for sign in (-1, 1) if sign not in ends]
        words = f"Axis {k + 1} goes either way until the loss has risen by {rise:g}"
        if flat:
            sides = " and ".join({-1: "downwards", 1: "upwards"}[sign] for sign in flat)
            words += f"; {sides} it does not within {LADDER[-1] * unit:.3g}, where the axis ends " + (
                "as far away as on the other side" if len(flat) == 1 else f"at {unit:.3g}"
            )
        notes.append(f"{words}.")
        spans.append((-ends.get(-1, ends.get(1, unit)), ends.get(1, ends.get(-1, unit))))
    return spans, notes


def refined(axes: Axes, values: np.ndarray, grid: Grid) -> Axes:
    """Halves the intervals of every axis across which the values change too much; see :class:`Grid`.

    Args:
        axes: The grid so far.
        values: On it, (len(axes[0]), len(axes[1]), …); an interval between a finite and another value is halved.
        grid: Says how much is too much.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        height = np.log(values) if grid.scale == "log" else values
    finite = np.isfinite(height)
    if not finite.any():
        return axes
    most = grid.change * np.ptp(height[finite])
    height = np.where(finite, height, 0.0)
    out = []
    for k, axis in enumerate(axes):
        steep = (np.abs(np.diff(height, axis=k)) > most) | np.diff(finite.astype(np.int8), axis=k).astype(bool)
        chosen = steep.any(axis=tuple(other for other in range(values.ndim) if other != k))
        out.append(np.union1d(axis, (0.5 * (axis[:-1] + axis[1:]))[chosen]))
    return tuple(out)

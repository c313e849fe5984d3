"""The figure of a swept field: what was found against its values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg.figures import Axis, Band, Figure, Line, Panel, Scatter
from thalweg.figures.mark import Mark
from thalweg.sweeps.planning import Plan, worded
from thalweg.sweeps.table import RESULT

if TYPE_CHECKING:
    import polars as pl

__all__ = ["against"]

CURVES = 8  # values of a second field that are told apart in one frame
WIDE_X, WIDE_Y = 16, 100  # ratio of largest to smallest from which an axis is logarithmic


def against(plan: Plan, complete: pl.DataFrame, key: str, names: Sequence[str]) -> Figure:
    """Numbers against a swept field, one frame each.

    Args:
        plan: The tasks.
        complete: Rows of the complete ones, of :func:`thalweg.sweeps.table.collect`.
        key: The field.
        names: The numbers.

    Returns:
        A point for every task, a line through the medians and a band over the range of all tasks that share the value.
        If one other field is swept, besides the seed, each of its values has a line of its own.
    """
    values = {task.name: task.values for task in plan.tasks}
    given = plan.sweeps[key]
    others = [other for other, several in plan.sweeps.items() if other not in (key, "seed") and len(several) > 1]
    by = others[0] if len(others) == 1 and len(plan.sweeps[others[0]]) <= CURVES else None
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in given)
    place = {worded(value): float(value) if numeric else float(index) for index, value in enumerate(given)}
    x = np.array([place[worded(values[run][key])] for run in complete["run"]])
    groups = np.array([f"{by} {worded(values[run][by])}" if by else "median" for run in complete["run"]])
    panels, lost = [], 0
    for name in names:
        y = complete[RESULT + name].cast(float).fill_null(np.nan).to_numpy()
        drawn = np.isfinite(y)
        lost += int((~drawn).sum())
        marks = [mark for group in dict.fromkeys(groups) for mark in _curve(x, y, drawn & (groups == group), group)]
        panels.append(Panel(_axis_x(key, given, numeric, place), _axis_y(name, y[drawn]), tuple(marks)))
    spread = [other for other, several in plan.sweeps.items() if other not in (key, by) and len(several) > 1]
    caption = "One point for every task; " if spread else "One point for every task."
    if spread:
        caption += f"line and band: median and range over {' and '.join(spread)}."
    if lost:
        words = (
            "1 value is not finite, or was not found, and has"
            if lost == 1
            else (f"{lost} values are not finite, or were not found, and have")
        )
        caption += f" {words} no place here."
    slug = "-".join(part for part in "".join(c if c.isalnum() else " " for c in key.lower()).split())
    return Figure(f"sweep-{slug}", f"Found against {key}", caption, tuple(panels))


def _curve(x: np.ndarray, y: np.ndarray, chosen: np.ndarray, label: str) -> list[Mark]:
    if not chosen.any():
        return []
    x, y = x[chosen], y[chosen]
    places = np.unique(x)
    sets = [y[x == place] for place in places]
    middle = np.array([np.median(values) for values in sets])
    marks: list[Mark] = []
    if max(map(len, sets)) > 1:
        low, high = (np.array([f(values) for values in sets]) for f in (np.min, np.max))
        marks.append(Band(places, low, high, group=label, opacity=0.15))
    marks.append(Line(places, middle, label=label, width=1.8))
    return [*marks, Scatter(x, y, group=label, size=4.0, opacity=0.7)]


def _axis_x(key: str, given: Sequence[Any], numeric: bool, place: dict[str, float]) -> Axis:
    if not numeric:
        return Axis(key, ticks=tuple((where, word) for word, where in place.items()))
    return Axis(key, scale="log" if _wide(given, WIDE_X) else "linear")


def _axis_y(name: str, finite: np.ndarray) -> Axis:
    return Axis(name.replace("_", " "), scale="log" if len(finite) and _wide(finite, WIDE_Y) else "linear")


def _wide(values: Sequence[float] | np.ndarray, ratio: float) -> bool:
    low, high = float(np.min(values)), float(np.max(values))
    return low > 0 and high >= ratio * low

"""Pictures of training: a quantity of several runs over the epochs, by median, range and every single run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from thalweg.figures import Axis, Band, Figure, Line, Lines, Mark, Panel

__all__ = ["FAN", "curves", "fan_words", "spread_over"]

FAN = 50
"""Thin lines that can be seen in one fan: of more runs the first are drawn, and median and range are those of all."""

POINTS = 1000
"""Places of a curve that are drawn: of more, evenly spaced ones."""


def fan_words(runs: int) -> str:
    """What the thin lines are.

    >>> fan_words(8), fan_words(200)
    ('runs', 'the first 50 of 200 runs')
    """
    return "runs" if runs <= FAN else f"the first {FAN} of {runs} runs"


def spread_over(
    epochs: np.ndarray, values: np.ndarray, label: str, names: tuple[str, ...], *, style: str = "solid"
) -> list[Mark]:
    """Median, range and single runs of values (T, R); what is not finite leaves a gap."""
    values = np.where(np.isfinite(values), values, np.nan)  # an infinite loss has no place on an axis
    alive = np.flatnonzero(~np.isnan(values).all(axis=1))  # a snapshot at which no run is left has no median
    if len(alive) > POINTS:
        alive = alive[np.unique(np.linspace(0, len(alive) - 1, POINTS).round().astype(int))]
    x, y = epochs[alive], values[alive]
    if not len(x):
        return []
    low, middle, high = (f(y, axis=1) for f in (np.nanmin, np.nanmedian, np.nanmax))
    if values.shape[1] == 1:
        return [Line(x, middle, label=label, width=1.6, style=style)]
    return [
        Lines(x, y.T[:FAN], group=label, names=names[:FAN], width=0.6, opacity=0.45),
        Band(x, low, high, group=label, opacity=0.15),
        Line(x, middle, label=f"{label} (median)", group=label, width=2.0, style=style),
    ]


def curves(epochs: np.ndarray, metrics: Mapping[str, Mapping[str, np.ndarray]], names: tuple[str, ...]) -> Figure:
    """One panel per metric, every data set in it.

    Args:
        epochs: (T,).
        metrics: metric -> data set -> (T, R); not finite where a run has diverged. Losses come on a log axis.
        names: (R,) names of the runs, shown under the cursor.
    """
    panels = []
    for metric, sets in metrics.items():
        styles = ("solid", *["dashed"] * (len(sets) - 1))
        marks = [
            mark
            for (name, values), style in zip(sets.items(), styles, strict=True)
            for mark in spread_over(epochs, values, name, names, style=style)
        ]
        finite = np.concatenate([values[np.isfinite(values)] for values in sets.values()])
        positive = len(finite) > 0 and finite.min() > 0 and not metric.endswith("accuracy")
        panels.append(Panel(Axis("epoch"), Axis(metric, scale="log" if positive else "linear"), tuple(marks)))
    what = " and ".join(metrics) if len(metrics) < 3 else f"{', '.join([*metrics][:-1])} and {[*metrics][-1]}"
    several = (
        f"all {len(names)} runs at the recorded steps (thin: {fan_words(len(names))}; thick: median; band: range over "
        "the runs)"
    )
    caption = f"{what} of {several if len(names) > 1 else 'the run at the recorded steps'}."
    return Figure("curves", "Training curves", caption[0].upper() + caption[1:], tuple(panels))

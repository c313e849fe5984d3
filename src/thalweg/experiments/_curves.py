"""Loss and accuracy of several runs over training: median, range and every single run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from thalweg.figures import Axis, Band, Figure, Line, Lines, Panel

__all__ = ["FAN", "curves", "fan_words"]

FAN = 50
"""Thin lines that can be seen in one fan: of more runs the first are drawn, and median and range are those of all."""


def fan_words(runs: int) -> str:
    """What the thin lines are.

    >>> fan_words(8), fan_words(200)
    ('runs', 'the first 50 of 200 runs')
    """
    return "runs" if runs <= FAN else f"the first {FAN} of {runs} runs"


def curves(epochs: np.ndarray, metrics: Mapping[str, Mapping[str, np.ndarray]], names: tuple[str, ...]) -> Figure:
    """One panel per metric, every data set in it.

    Args:
        epochs: (S,).
        metrics: metric -> data set -> (S, R); not finite where a run has diverged. The loss comes on a log axis.
        names: (R,) names of the runs, shown under the cursor.
    """
    panels = []
    for metric, sets in metrics.items():
        marks = []
        for name, values in sets.items():
            values = np.where(np.isfinite(values), values, np.nan)  # an infinite loss has no place on an axis
            alive = ~np.isnan(values).all(axis=1)  # a snapshot at which no run is left has no median
            x, y = epochs[alive], values[alive]
            low, middle, high = (f(y, axis=1) for f in (np.nanmin, np.nanmedian, np.nanmax))
            style = "solid" if name == next(iter(sets)) else "dashed"
            marks += [
                Lines(x, y.T[:FAN], group=name, names=names[:FAN], width=0.6, opacity=0.45),
                Band(x, low, high, group=name, opacity=0.15),
                Line(x, middle, label=f"{name} (median)", group=name, width=2.0, style=style),
            ]
        positive = all(np.nanmin(values, initial=np.inf) > 0 for values in sets.values())
        y = Axis(metric, scale="log" if metric == "loss" and positive else "linear")
        panels.append(Panel(Axis("epoch"), y, tuple(marks)))
    caption = (
        f"{' and '.join(metrics)} of all {len(names)} runs at the recorded snapshots (thin: {fan_words(len(names))}; "
        "thick: median; band: range over the runs)."
    )
    return Figure("curves", "Training curves", caption[0].upper() + caption[1:], tuple(panels))

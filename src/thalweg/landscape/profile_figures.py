"""Pictures of metrics along paths: medians of several pairs with their range, losses beside accuracies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from thalweg.figures import Axis, Band, Line, Mark, Panel, VLine

__all__ = ["NAMES", "loss_axis", "spread", "twin"]

NAMES = {"train": "training", "test": "test"}
STYLES = ("solid", "dashed", "dotted", "dashdot")


def spread(x: np.ndarray, values: np.ndarray, label: str, **look: Any) -> list[Mark]:
    """Median of the pairs (T, R) as a line, their range as a band; what is not finite leaves a gap."""
    values = np.where(np.isfinite(values), values, np.nan)
    alive = ~np.isnan(values).all(axis=1)
    x, values = x[alive], values[alive]
    shared = {key: look[key] for key in ("side", "colour") if key in look}
    low, middle, high = (f(values, axis=1) for f in (np.nanmin, np.nanmedian, np.nanmax))
    band = [Band(x, low, high, group=label, opacity=0.18, **shared)] if values.shape[1] > 1 else []
    return [*band, Line(x, middle, label=label, group=label, **look)]


def loss_axis(label: str, losses: Iterable[np.ndarray]) -> Axis:
    """A logarithmic axis if all losses that are finite are positive."""
    positive = all(np.nanmin(np.where(np.isfinite(loss), loss, np.nan), initial=np.inf) > 0 for loss in losses)
    return Axis(label, scale="log" if positive else "linear")


def twin(t: np.ndarray, values: Mapping[str, Mapping[str, np.ndarray]], *, title: str = "") -> Panel:
    """The classic panel: losses on the left axis and accuracies on the right, against t; dotted lines at both ends.

    Args:
        t: (T,) places.
        values: Data set -> metric -> (T, R), "loss" and perhaps "accuracy" among the metrics.
        title: Of the panel.
    """
    marks: list[Mark] = []
    styles = dict(zip(values, STYLES, strict=False))
    for data, metrics in values.items():
        marks += spread(t, metrics["loss"], f"{NAMES.get(data, data)} loss", colour=0, style=styles.get(data, "solid"))
    scored = [data for data, metrics in values.items() if "accuracy" in metrics]
    for data in scored:
        look = {"colour": 1, "side": "right", "style": styles.get(data, "solid")}
        marks += spread(t, values[data]["accuracy"], f"{NAMES.get(data, data)} accuracy", **look)
    marks += [VLine(0.0, style="dotted", colour="muted"), VLine(1.0, style="dotted", colour="muted")]
    right = Axis("accuracy", limits=(0.0, 1.02)) if scored else None
    losses = [metrics["loss"] for metrics in values.values()]
    return Panel(Axis("α"), loss_axis("loss", losses), tuple(marks), title=title, right=right)

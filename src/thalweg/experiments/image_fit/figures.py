"""The pictures of `image-fit`: curves, and where they end."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from thalweg.experiments.shared import member_figures as shared
from thalweg.figures import Axis, ErrorBars, Figure, Panel

__all__ = ["curves", "last"]


def curves(history: pl.DataFrame, classes: bool) -> Figure:
    """Loss, and of classes accuracy, of all networks."""
    caption = (
        f"{'Loss and accuracy' if classes else 'Loss'} of all networks on the training and test images (number of "
        "parameters in parentheses)."
    )
    return shared.courses(history, "curves", "Training and test curves", caption)


def last(ends: Mapping[str, pl.DataFrame], score: str) -> list[Figure]:
    """Where every network ended on the test images, or nothing without them."""
    rows = [(label, shared.column(part, f"test_{score}")) for label, part in ends.items()]
    rows = [(label, values) for label, values in rows if len(values)]
    if not rows:
        return []
    places = np.arange(len(rows), dtype=float)[::-1].copy()  # the first on top
    middle, low, high = (np.array([f(values) for _, values in rows]) for f in (np.median, np.min, np.max))
    marks = [
        ErrorBars(
            middle[k : k + 1],
            places[k : k + 1],
            left=low[k : k + 1],
            right=high[k : k + 1],
            symbol="circle",
            group=label,
        )
        for k, (label, _) in enumerate(rows)
    ]
    axis = Axis("", ticks=tuple(zip(places.tolist(), (label for label, _ in rows), strict=True)))
    caption = f"Test {score} after training: median and range over the runs."
    return [Figure("ends", "At the end", caption, (Panel(Axis(f"test {score}"), axis, tuple(marks)),), legend="none")]

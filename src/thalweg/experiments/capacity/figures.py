"""The picture of `capacity`: where training ends, against the number of parameters."""

from __future__ import annotations

import polars as pl

from thalweg.experiments.shared import member_figures as shared
from thalweg.figures import Axis, Figure, Mark, Panel, VLine

__all__ = ["figure"]


def figure(table: pl.DataFrame, classes: bool, threshold: int | None) -> Figure:
    """Losses, and of classes accuracies and the test error; a line at the `threshold` where there is one."""
    x = shared.axis(table, "parameters", "parameters")

    def marker(text: str) -> list[Mark]:
        return [] if threshold is None else [VLine(threshold, text=text, colour="muted")]

    panels = []
    for metric in ("loss", "accuracy")[: 1 + classes]:
        marks = [
            mark
            for key, name in shared.SETS.items()
            for mark in shared.spread(table, f"{key}_{metric}", "parameters", name)
        ]
        panels.append(
            Panel(
                x,
                shared.shared_axis(table, metric, metric),
                (*marks, *marker("everything fitted" if metric == "loss" else "")),
            )
        )
    if classes and not table["test_accuracy"].is_null().all():
        errors = table.with_columns(test_error=1 - table["test_accuracy"])
        marks = shared.spread(errors, "test_error", "parameters", "test")
        values = errors["test_error"].drop_nulls().drop_nans()
        wide = bool((values > 0).all()) and float(values.max() or 0) > 5 * float(values.min() or 0)  # type: ignore[arg-type]
        panels.append(Panel(x, Axis("test error", scale="log" if wide else "linear"), (*marks, *marker(""))))
    caption = "Where training ends, against the number of parameters: median of the runs, and their range."
    if threshold is not None:
        caption += " Dashed: the smallest size whose median training accuracy counts as fitted."
    return Figure("capacity", "Number of parameters and generalisation", caption, tuple(panels), columns=3)

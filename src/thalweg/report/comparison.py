"""Several runs of one experiment side by side: how they differ, their training curves in one chart, their numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg._lazy import polars as pl
from thalweg.figures import Axis, Band, Figure, Line, Mark, Panel
from thalweg.report.settings import flat, setting

if TYPE_CHECKING:
    from thalweg.runs import Run

__all__ = ["PANELS", "curve", "curves", "labels", "side_by_side"]

POINTS = 600  # of a drawn curve: longer recordings are drawn as the range and median of stretches
NAMED = 3  # settings that a label names; runs that differ in more are called by their folder

# What a recording may hold -> the panel that shows it; of several columns for one panel the first that is there.
PANELS = (
    ("training loss", ("loss", "train_loss")),
    ("test loss", ("test_loss",)),
    ("training accuracy", ("train_accuracy",)),
    ("test accuracy", ("test_accuracy",)),
    ("norm of the gradient", ("gradient_norm", "grad_norm")),
)


def labels(configs: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """A different name for every run: the settings in which they differ, or its folder's where these are many.

    Args:
        configs: The settings of each run.
        names: The folder of each.

    >>> labels([{"seed": 0, "net": {"width": 8}}, {"seed": 0, "net": {"width": 16}}], ["a", "b"])
    ['width 8', 'width 16']
    """
    given = [{name: setting(value) for name, value in flat(config).items()} for config in configs]
    every = list(dict.fromkeys(name for one in given for name in one))
    differ = [name for name in every if len({one.get(name) for one in given}) > 1]
    short = {name: name.rpartition(".")[2] for name in differ}
    words = {name: name if list(short.values()).count(short[name]) > 1 else short[name] for name in differ}
    if not 1 <= len(differ) <= NAMED:
        return list(names)
    return [", ".join(f"{words[name]} {one[name]}" for name in differ if name in one) for one in given]


def curves(runs: Sequence[Run], names: Sequence[str], experiment: str) -> Figure | None:
    """The training curves of all models of all runs, every quantity in one panel; None if nothing was recorded.

    Args:
        runs: Runs of one experiment.
        names: A different label for each.
        experiment: Its name.
    """
    models = {}
    for run, name in zip(runs, names, strict=True):
        recordings = run.recordings
        for recording in recordings:
            said = name if len(recordings) == 1 else f"{name}: {recording}"
            models[said] = run.recording(recording).metrics
    panels = []
    for title, columns in PANELS:
        marks: list[Mark] = []
        for label, metrics in models.items():
            column = next((c for c in columns if c in metrics.columns and metrics[c].count()), None)
            marks += curve(metrics, column, label) if column else []
        if marks:
            positive = all(np.nanmin(mark.y) > 0 for mark in marks if isinstance(mark, Line))
            log = "accuracy" not in title and positive
            panels.append(Panel(Axis("epoch"), Axis(title, scale="log" if log else "linear"), tuple(marks)))
    if not panels:
        return None
    caption = (
        f"The recorded training of {len(models)} models of {len(runs)} runs in the same axes: median over the replicas "
        f"of each (and over stretches, where more than {POINTS} points were recorded); the band is their whole range."
    )
    return Figure(f"compare-{experiment}", f"All models of {experiment} in one chart", caption, tuple(panels))


def curve(metrics: pl.DataFrame, column: str, label: str, against: str = "epoch") -> list[Mark]:
    """One recorded quantity as a line with a band: median and range over replicas, and over stretches if it is long.

    Args:
        metrics: Rows of one recording.
        column: Which quantity; values that are not finite are left out.
        label: Of the line.
        against: What is on the horizontal axis, ``"epoch"`` or ``"step"``.

    Returns:
        Marks; none if nothing finite was recorded.
    """
    value, steps = pl.col(column), metrics["step"].n_unique()
    stretch = (pl.col("step").rank("dense") - 1) // -(-steps // POINTS)
    kept = (
        metrics.select("step", x=pl.col(against), value=value.cast(pl.Float64), stretch=stretch)
        .filter(pl.col("value").is_finite())
        .group_by("stretch")
        .agg(pl.col("x").mean(), low=pl.col("value").min(), y=pl.col("value").median(), high=pl.col("value").max())
        .sort("stretch")
    )
    if kept.is_empty():
        return []
    x, low, y, high = (kept[name].to_numpy() for name in ("x", "low", "y", "high"))
    band: list[Mark] = [Band(x, low, high, group=label)] if (high > low).any() else []
    return [*band, Line(x, y, label=label)]


def side_by_side(names: Sequence[str], numbers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The main numbers of every run as a table: a row for each number, a column for each run.

    >>> side_by_side(["a", "b"], [{"loss": 1.0}, {"loss": 2.0, "gap": 0.5}])
    [{'number': 'loss', 'a': 1.0, 'b': 2.0}, {'number': 'gap', 'a': None, 'b': 0.5}]
    """
    every = dict.fromkeys(name for one in numbers for name in one)
    return [
        {"number": name} | {label: one.get(name) for label, one in zip(names, numbers, strict=True)} for name in every
    ]

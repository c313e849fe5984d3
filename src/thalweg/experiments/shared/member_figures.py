"""Figures, rows and sentences of experiments that compare several trained models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from thalweg._lazy import polars as pl
from thalweg.figures import Axis, Band, Figure, Line, Lines, Mark, Panel

__all__ = [
    "axis",
    "column",
    "course",
    "courses",
    "diverged",
    "groups",
    "how_to_read",
    "last",
    "median",
    "record",
    "shared_axis",
    "spread",
]

LONG = 200  # epochs
SETS = {"train": "training", "test": "test"}


def groups(table: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Rows of every member, in the order of the table."""
    return {str(part["member"][0]): part for part in table.partition_by("member", maintain_order=True)}


def last(history: pl.DataFrame) -> pl.DataFrame:
    """The rows of every run at its own last step: one that has learnt enough may have ended before others."""
    return history.filter(pl.col("step") == pl.col("step").max().over("member", "replica"))


def column(part: pl.DataFrame, name: str) -> np.ndarray:
    """Values of a column over the rows that completed; empty if it holds none."""
    if name not in part.columns:
        return np.zeros(0)
    values = part.filter(part["status"] == "completed")[name].drop_nulls().cast(float).to_numpy()
    return values[np.isfinite(values)]


def median(part: pl.DataFrame, name: str) -> float:
    """Median over the replicas that completed, NaN if there is none."""
    values = column(part, name)
    return float(np.median(values)) if len(values) else float("nan")


def spread(
    table: pl.DataFrame,
    name: str,
    x: str,
    label: str,
    *,
    side: str = "left",
    colour: int | str | None = None,
    style: str = "solid",
) -> list[Mark]:
    """A column against another one: the median of every member as a line with points, its range as a band.

    Args:
        table: Rows by member and replica.
        name: The column drawn.
        x: The column of the places, one value for each member; members without a place are left out, those
            without a value are a gap.
        label: In the legend.
        side: Whose axis.
        colour: Default that of the label.
        style: Of the line.
    """
    found = [(part[x][0], column(part, name)) for part in groups(table).values()]
    rows = sorted(((float(place), values) for place, values in found if place is not None), key=lambda row: row[0])
    if not any(len(values) for _, values in rows):
        return []
    places = np.array([place for place, _ in rows])
    ends = [[f(values) if len(values) else np.nan for _, values in rows] for f in (np.min, np.median, np.max)]
    low, middle, high = np.array(ends)
    line = Line(places, middle, label=label, symbol="circle", side=side, colour=colour, style=style)
    if np.array_equal(low, high, equal_nan=True):
        return [line]
    return [Band(places, low, high, group=label, opacity=0.15, side=side, colour=colour), line]


def axis(table: pl.DataFrame, x: str, label: str) -> Axis:
    """The axis of a column: logarithmic where its values are positive and span more than a factor of 20."""
    values = [value for value in table[x].to_list() if value is not None]
    wide = bool(values) and min(values) > 0 and max(values) > 20 * min(values)
    return Axis(label, scale="log" if wide else "linear")


def courses(
    history: pl.DataFrame, name: str, title: str, caption: str, guides: Mapping[str, Mark] | None = None
) -> Figure:
    """Loss and accuracy of all members against epochs: a frame for each metric and data set, all members in each.

    Args:
        history: Rows by member, step and replica, as `_members.histories` gives them.
        name: Of the figure.
        title: Of the figure.
        caption: What is compared; how to read the lines is added.
        guides: A mark that explains a frame, by the column drawn there such as "test_accuracy".
    """
    kept = history.filter(history["train_loss"].is_not_null() | history["loss"].is_null())
    sets = [key for key in SETS if not history[f"{key}_loss"].is_null().all()]
    metrics = [metric for metric in ("loss", "accuracy") if not history[f"train_{metric}"].is_null().all()]
    replicas = max(part["replica"].n_unique() for part in groups(kept).values())
    # Long trainings are told in the logarithm, with room for epoch 0.
    long = float(kept["epoch"].max() or 0) >= LONG  # type: ignore[arg-type] -- numbers
    epochs = Axis("epoch", scale="symlog", within=1.0) if long else Axis("epoch")
    panels = []
    for metric in metrics:
        for key in sets:
            marks = [mark for label, part in groups(kept).items() for mark in course(part, label, f"{key}_{metric}")]
            marks += [guides[drawn]] if guides and (drawn := f"{key}_{metric}") in guides else []
            panels.append(Panel(epochs, shared_axis(kept, metric, f"{SETS[key]} {metric}"), tuple(marks)))
    words = f"{caption} {how_to_read(replicas)}".strip()
    return Figure(name, title, words, tuple(panels), columns=len(sets), share_x=True)


def shared_axis(history: pl.DataFrame, metric: str, label: str) -> Axis:
    """The axis of a loss, logarithmic if all are positive, or of an accuracy."""
    if metric != "loss":
        return Axis(label)
    lowest = [history[f"{key}_loss"].drop_nulls().drop_nans().min() for key in SETS]
    return Axis(label, scale="log" if all(low is None or float(low) > 0 for low in lowest) else "linear")  # type: ignore[arg-type]


def matrix(part: pl.DataFrame, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Epochs (S,) and a column (S, R) of one member's history; R counts all its runs, also those of several tables.

    A run that has ended before the others, since it had learnt enough, stays where it was.
    """
    again = pl.int_range(pl.len()).over("step", "replica")  # tables of several runs may number theirs alike
    numbered = part.with_columns(pl.concat_str("replica", again, separator="/").alias("run"), pl.col(name).cast(float))
    ends = numbered.group_by("run", maintain_order=True).agg(pl.col("step").max())["step"].to_numpy()
    wide = numbered.pivot(on="run", index=["step", "epoch"], values=name).sort("step")
    values, steps = wide.drop("step", "epoch").fill_null(np.nan).to_numpy().copy(), wide["step"].to_numpy()
    for run, end in enumerate(ends):
        values[steps > end, run] = values[steps == end, run]
    return wide["epoch"].to_numpy(), values


def how_to_read(replicas: int) -> str:
    """What the marks of :func:`course` mean."""
    return "" if replicas == 1 else f"Thick: median of {replicas} runs; thin: single runs; band: their range."


def course(part: pl.DataFrame, label: str, name: str) -> list[Mark]:
    """A column of one member against epochs: its median, and every run with their range where there are several."""
    epochs, values = matrix(part, name)
    count = values.shape[1]
    values = np.where(np.isfinite(values), values, np.nan)  # an infinite loss has no place on an axis
    alive = ~np.isnan(values).all(axis=1)  # a snapshot at which no run is left has no median
    if not alive.any():
        return []
    x, y = epochs[alive], values[alive]
    low, middle, high = (f(y, axis=1) for f in (np.nanmin, np.nanmedian, np.nanmax))
    runs = [
        Lines(x, y.T, group=label, names=tuple(f"{label}, run {r + 1}" for r in range(count)), width=0.5, opacity=0.4),
        Band(x, low, high, group=label, opacity=0.12),
    ]
    return [*(runs if count > 1 else []), Line(x, middle, label=label, width=1.8)]


def diverged(table: pl.DataFrame) -> list[str]:
    """A sentence for every replica that diverged."""
    bad = table.filter(table["status"] == "diverged").unique(["member", "replica"], maintain_order=True)
    return [
        f"Run {row['replica'] + 1} of {row['member']} diverged ({row['message']}): left out of medians and ranges."
        for row in bad.iter_rows(named=True)
    ]


def record(part: pl.DataFrame, names: Sequence[str]) -> dict[str, Any]:
    """A row of a table: the medians of a member."""
    row: dict[str, Any] = {"model": part["member"][0], "parameters": part["parameters"][0]}
    row |= {"runs that completed": int((part["status"] == "completed").sum())}
    return row | {name.replace("_", " "): median(part, name) for name in names}

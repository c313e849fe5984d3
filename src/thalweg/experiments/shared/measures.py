"""What experiments share that set a measure of trained networks against a varied field: places, panels, rows, words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg._lazy import polars as pl
from thalweg.experiments.shared import member_figures as shared
from thalweg.experiments.shared.members import METRICS
from thalweg.experiments.shared.training import recipe_words, stop_words
from thalweg.figures import Axis, ErrorBars, Mark, Panel
from thalweg.figures.scales import number
from thalweg.results.words import counted, percent, range_words

if TYPE_CHECKING:
    from thalweg.experiments.shared.members import Members, Varied

__all__ = ["described", "ends", "field_words", "flat", "measured", "place", "rows", "scores", "setting", "twins"]


def described(trained: Members, table: pl.DataFrame) -> pl.DataFrame:
    """The table with what a sentence needs beside numbers: network, task and its number of training samples."""
    rows = []
    for member in trained.members:
        setup = trained.setup(member)
        rows.append((member.label, setup.network, setup.task.label, setup.objective.samples))
    words = pl.DataFrame(rows, schema=["member", "network", "task", "samples"], orient="row")
    return table.join(words, on="member", how="left", maintain_order="left")


def field_words(config: Varied) -> str:
    """The varied field as an axis or a sentence calls it."""
    if config.saved:
        return "checkpoint"
    return config.vary.rpartition(".")[2].replace("_", " ")


def setting(config: Varied, table: pl.DataFrame) -> str:
    """What was trained on what, what varies, and what all trainings have in common: epochs or steps."""
    network, task = table["network"][0], table["task"][0]
    if config.saved:
        which = counted(len(config.saved), "checkpoint")
        return f"Nothing was trained: {network} on {task} with the weights of {which}."
    others = table["network"].n_unique() - 1
    more = f" (and {counted(others, 'other')})" if others else ""
    parts = shared.groups(table)
    runs, settings = max(len(part) for part in parts.values()), len(parts)
    steps, epochs = (sorted(set(table[name].drop_nulls().to_list())) for name in ("steps", "epochs"))
    if len(steps) == 1:
        budget = f"each with {counted(int(steps[0]), 'step')}"
        budget += f", which are {number(epochs[0])} to {number(epochs[-1])} epochs" if len(epochs) > 1 else ""
    elif len(epochs) == 1:
        budget = f"each over {number(epochs[0])} epochs, which are {steps[0]:,} to {steps[-1]:,} steps"
    else:
        budget = f"of {steps[0]:,} to {steps[-1]:,} steps"
    budget += f", each run until {stop_words(config.training)}" if config.training.stop else ""
    words = recipe_words(config.training, int(table["samples"][0])).split(", ")
    common = [
        word for word, field in zip(words, ("training.optimizer", "training.lr"), strict=False) if field != config.vary
    ]
    found = list(parts)
    varied = f" for each of {settings} settings ({found[0]} to {found[-1]})" if settings > 1 else f" ({found[0]})"
    return f"{network}{more} on {task}; {', '.join(common)}; {counted(runs, 'training')}{varied}, {budget}."


def place(config: Varied, table: pl.DataFrame) -> tuple[pl.DataFrame, Axis]:
    """The table with a column `place`, and the axis of it: the varied number, or one tick for each word."""
    if not table["value"].is_null().any():
        return table.with_columns(place=pl.col("value")), shared.axis(table, "value", field_words(config))
    names = table["member"].unique(maintain_order=True).to_list()
    ticks = tuple((float(k), str(name)) for k, name in enumerate(names))
    numbered = table.with_columns(
        place=pl.col("member").replace_strict(names, range(len(names)), return_dtype=pl.Float64)
    )
    return numbered, Axis(field_words(config), ticks=ticks)


def measured(table: pl.DataFrame, name: str, label: str, error: str = "", **look: Any) -> list[Mark]:
    """A measure against the place: median over runs with two standard errors, and the range of the runs as a band.

    Args:
        table: With the column `place`.
        name: The column.
        label: In the legend.
        error: The column of its standard error; none if empty.
        look: As for `Line`.
    """
    marks = shared.spread(table, name, "place", label, **look)
    if error and error in table.columns:
        rows = [(part["place"][0], shared.median(part, name), shared.median(part, error)) for part in _parts(table)]
        x, middle, one = (np.array(values, dtype=np.float64) for values in zip(*rows, strict=True))
        sides = {key: look[key] for key in ("side", "colour") if key in look}
        marks.append(ErrorBars(x, middle, middle - 2 * one, middle + 2 * one, group=label, **sides))
    return marks


def _parts(table: pl.DataFrame) -> Iterator[pl.DataFrame]:
    yield from table.sort("place").partition_by("place", maintain_order=True)


def twins(table: pl.DataFrame, x: Axis, name: str, words: str, error: str = "") -> tuple[Panel, ...]:
    """The course's figure: loss, and accuracy, on the left axis with a measure on the right one.

    Args:
        table: With the column `place`.
        x: The axis of places.
        name: Column of the measure.
        words: The measure in the legend and on its axis.
        error: Column of its standard error.
    """
    panels = []
    for metric in ("loss", "accuracy"):
        marks: list[Mark] = []
        for key, style in (("train", "solid"), ("test", "dashed")):
            label = f"{shared.SETS[key]} {metric}"
            marks += shared.spread(
                table, f"{key}_{metric}", "place", label, style=style, colour=0 if key == "train" else 5
            )
        if not marks:
            continue
        marks += measured(table, name, words, error, side="right", colour=1)
        right = Axis(words, scale=_scale(table, name))
        scale = "log" if metric == "loss" and _positive(table) else "linear"
        panels.append(Panel(x, Axis(metric, scale=scale), tuple(marks), right=right))
    return tuple(panels)


def _positive(table: pl.DataFrame) -> bool:
    found = np.concatenate([shared.column(table, f"{key}_loss") for key in shared.SETS])
    return bool(found.size and found.min() > 0 and found.max() > 20 * found.min())


def _scale(table: pl.DataFrame, name: str) -> str:
    found = shared.column(table, name)
    return "log" if found.size and found.min() > 0 and found.max() > 20 * found.min() else "linear"


def ends(table: pl.DataFrame, name: str) -> tuple[str, str] | None:
    """The measure at the first and at the last setting in words (median, range over runs), None without numbers."""
    parts = [part for part in shared.groups(table).values() if len(shared.column(part, name))]
    if not parts:
        return None
    first, last = (f"{range_words(shared.column(part, name))} at {part['member'][0]}" for part in (parts[0], parts[-1]))
    return first, last


def flat(table: pl.DataFrame, names: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """The main numbers: medians of every setting by column, or by column alone if there is one setting; and every τ."""
    parts, out = shared.groups(table), {}
    for name in names:
        for label, part in parts.items():
            out[name if len(parts) == 1 else f"{name}: {label}"] = shared.median(part, name)
    return out | {f"tau {row['measure']}, {row['gap']}": row["Kendall τ"] for row in rows}


def rows(table: pl.DataFrame, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Medians of every setting: steps, loss and accuracy, and the measures by their words."""
    out = []
    for part in shared.groups(table).values():
        taken = [name for name in ("epochs", "steps", *METRICS) if len(shared.column(part, name))]
        row = {"runs that completed": int((part["status"] == "completed").sum())}
        row |= {name.replace("_", " "): shared.median(part, name) for name in taken}
        out.append({"setting": part["member"][0]} | row | {w: shared.median(part, name) for name, w in names.items()})
    return out


def scores(table: pl.DataFrame) -> list[str]:
    """Loss and accuracy over all settings, in a sentence for each data set."""
    out = []
    for metric, words in (("accuracy", percent), ("loss", number)):
        told = []
        for key, name in shared.SETS.items():
            middles = [shared.median(part, f"{key}_{metric}") for part in shared.groups(table).values()]
            middles = [one for one in middles if np.isfinite(one)]
            told += [f"{name} {metric} {words(min(middles))} to {words(max(middles))}"] if middles else []
        if told:
            out.append(f"Over the settings (medians): {', '.join(told)}.")
    return out

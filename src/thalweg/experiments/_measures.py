"""What experiments share that set a measure of trained networks against a varied field and the generalisation gap."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg.experiments import _member_figures as shared
from thalweg.experiments._members import METRICS
from thalweg.experiments._training import recipe_words
from thalweg.experiments._words import counted, percent, range_words
from thalweg.figures import Axis, Bars, ErrorBars, Figure, Mark, Panel, VLine
from thalweg.figures.scales import number

if TYPE_CHECKING:
    import polars as pl

    from thalweg.experiments._members import Members, Varied
    from thalweg.generalization import RankCorrelation

__all__ = [
    "correlations",
    "described",
    "ends",
    "field_words",
    "flat",
    "gaps",
    "measured",
    "place",
    "rows",
    "scores",
    "setting",
    "twins",
]

FEWEST = 5  # settings: of fewer, a bootstrap interval promises more than it keeps


def described(trained: Members, table: pl.DataFrame) -> pl.DataFrame:
    """The table with what a sentence needs beside numbers: network, task and its number of training samples."""
    import polars as pl

    rows = []
    for member in trained.members:
        setup = trained.setup(member)
        rows.append((member.label, setup.network, setup.task.label, setup.objective.samples))
    words = pl.DataFrame(rows, schema=["member", "network", "task", "samples"], orient="row")
    return table.join(words, on="member", how="left", maintain_order="left")


def field_words(config: Varied) -> str:
    """The varied field as an axis or a sentence calls it."""
    return config.vary.rpartition(".")[2].replace("_", " ")


def setting(config: Varied, table: pl.DataFrame) -> str:
    """What was trained on what, what varies, and what all trainings have in common: epochs or steps."""
    network, task = table["network"][0], table["task"][0]
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
    words = recipe_words(config.training, int(table["samples"][0])).split(", ")
    common = [
        word for word, field in zip(words, ("training.optimizer", "training.lr"), strict=False) if field != config.vary
    ]
    found = list(parts)
    varied = f" for each of {settings} settings ({found[0]} to {found[-1]})" if settings > 1 else f" ({found[0]})"
    return f"{network}{more} on {task}; {', '.join(common)}; {counted(runs, 'training')}{varied}, {budget}."


def gaps(table: pl.DataFrame) -> dict[str, np.ndarray]:
    """Generalisation gaps, name -> one per row: test loss − training loss, and test error − training error."""
    out = {}
    for name, metric, sign in (("gap in loss", "loss", 1.0), ("gap in error", "accuracy", -1.0)):
        train, test = (table[f"{key}_{metric}"].cast(float).fill_null(np.nan).to_numpy() for key in ("train", "test"))
        if np.isfinite(test - train).any():
            out[name] = sign * (test - train)
    return out


def place(config: Varied, table: pl.DataFrame) -> tuple[pl.DataFrame, Axis]:
    """The table with a column `place`, and the axis of it: the varied number, or one tick for each word."""
    import polars as pl

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


def correlations(
    config: Varied, table: pl.DataFrame, measures: Mapping[str, str]
) -> tuple[list[Figure], list[dict[str, Any]], list[str]]:
    """Kendall's τ of every measure with every gap over all settings: a figure, rows and sentences.

    Args:
        config: Its seed draws the intervals.
        table: Rows by member and replica.
        measures: column -> words; columns that the table lacks are left out.

    Returns:
        Nothing but a sentence where there are too few settings or no test set.
    """
    from thalweg.generalization import rank_correlation

    settings = table.filter(table["status"] == "completed")["member"].n_unique()
    known = {name: words for name, words in measures.items() if len(shared.column(table, name))}
    found_gaps = gaps(table)
    if settings < FEWEST or not found_gaps or not known:
        reason = "there is no test set" if not found_gaps else f"{counted(settings, 'setting')} completed"
        return [], [], [f"No rank correlation with the generalisation gap: {reason}."]
    members = table["member"].to_list()
    marks: list[Mark] = [VLine(0.0, style="solid", width=0.8)]
    rows, best = [], []
    for gap, values in found_gaps.items():
        taus: dict[str, RankCorrelation] = {
            words: rank_correlation(table[name].cast(float).to_numpy(), values, groups=members, seed=config.seed)
            for name, words in known.items()
        }
        taus = {words: found for words, found in taus.items() if found.status == "measured"}
        if not taus:
            continue
        names = tuple(taus)
        tau, low, high = (np.array([getattr(taus[name], end) for name in names]) for end in ("tau", "low", "high"))
        marks.append(Bars(names, tau, low, high, label=gap, horizontal=True))
        rows += [
            {
                "measure": words,
                "gap": gap,
                "Kendall τ": one.tau,
                "low": one.low,
                "high": one.high,
                "networks": one.networks,
            }
            for words, one in taus.items()
        ]
        sure = [words for words, one in taus.items() if one.low > 0 or one.high < 0]
        top = max(taus, key=lambda words: abs(taus[words].tau))
        best.append(
            f"{_sure(sure, len(taus))} with the {gap} whose interval excludes zero; the strongest is that of the "
            f"{top}, Kendall τ = {_interval(taus[top])}."
        )
    best += _unequal(table)
    if len(marks) == 1:
        return [], [], ["No rank correlation with the generalisation gap: every measure is constant."]
    caption = (
        f"Kendall rank correlation of each measure with the generalisation gap (test minus training) over "
        f"{settings} settings and all their runs; whiskers: 95 % bootstrap interval over settings. A positive τ: the "
        "larger the measure, the larger the gap."
    )
    height = max(2.6, 0.9 + 0.34 * len(known))
    panel = Panel(Axis("Kendall τ", limits=(-1.0, 1.0)), Axis(), tuple(marks))
    figure = Figure(
        "correlations", "Rank correlation with the generalisation gap", caption, (panel,), size=(7.0, height)
    )
    return [figure], rows, best


def _unequal(table: pl.DataFrame) -> list[str]:
    """Whether some trainings came much farther than others, which makes any measure of that a measure of the gap."""
    losses = [shared.median(part, "train_loss") for part in shared.groups(table).values()]
    low, high = np.nanmin(losses), np.nanmax(losses)
    if not high > 2 * low:
        return []
    range_of = f"training loss {number(float(low))} to {number(float(high))}"
    sentence = (
        f"The trainings did not come equally far ({range_of}): whatever grows with the length of training also ranks "
        "the gap. Jiang et al. (2020) stop all networks at one loss."
    )
    return [sentence]


def _interval(found: RankCorrelation) -> str:
    return f"{number(found.tau)} ({number(found.low)} to {number(found.high)})"


def _sure(names: list[str], total: int) -> str:
    told = f"{len(names)} of {counted(total, 'measure')}"
    listed = f" ({', '.join(names)})" if 0 < len(names) < total else ""
    return f"{told}{listed} {'has' if len(names) == 1 else 'have'} a rank correlation"


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

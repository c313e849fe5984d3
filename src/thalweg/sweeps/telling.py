"""What a sweep has found: figures, sentences, and which tasks did not come to their end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from thalweg._lazy import polars as pl
from thalweg.errors import nearest
from thalweg.experiments.framework.findings import Findings
from thalweg.figures.scales import number
from thalweg.sweeps.drawing import against
from thalweg.sweeps.joining import retold
from thalweg.sweeps.planning import Plan, worded
from thalweg.sweeps.table import RESULT

__all__ = ["tell"]

NUMBERS = 4  # that are drawn if nobody has chosen


def tell(plan: Plan, table: pl.DataFrame, root: Path) -> Findings:
    """Findings of a sweep.

    An experiment that tells tables of several models tells that of all tasks together (:mod:`thalweg.sweeps.joining`).
    Otherwise, and where numbers to plot were chosen, every swept field that takes several values has a figure.

    Args:
        plan: The tasks.
        table: Of :func:`thalweg.sweeps.table.collect`.
        root: Folder of all runs.
    """
    complete = table.filter(pl.col("status") == "complete")
    rest = table.filter(pl.col("status") != "complete")
    words = {task.name: task.words for task in plan.tasks}
    warnings = [
        f"{words[row['run']]} is {row['status']}{': ' if row['message'] else ''}{row['message']}."
        for row in rest.iter_rows(named=True)
    ]
    count = f"{len(complete)} of {len(table)}" if len(rest) else f"All {len(table)}"
    swept = ", ".join(f"{key} ({_range_words(values)})" for key, values in plan.sweeps.items())
    statements = [f"{count} tasks of {plan.experiment} are complete; swept: {swept}."]
    told = retold(plan, root, set(complete["run"])) or Findings()
    names, unknown = ([], []) if told.figures and not plan.plot else _chosen(plan, complete)
    several = [key for key, values in plan.sweeps.items() if len(values) > 1]
    fields = [key for key in several if key != "seed"] or several
    statements += [*told.statements, *(_sentence(plan, complete, key, name) for key in fields for name in names)]
    kept = [*plan.sweeps, "status", *(RESULT + name for name in names)]
    rows = [{key.removeprefix(RESULT): _cell(row[key]) for key in kept} for row in table.iter_rows(named=True)]
    return Findings(
        figures=[*told.figures, *(against(plan, complete, key, names) for key in fields if names)],
        statements=[statement for statement in statements if statement],
        tables={**told.tables, "Tasks": rows},
        numbers={**told.numbers, "tasks": len(table), "complete": len(complete)},
        warnings=[*warnings, *unknown, *told.warnings],
    )


def _chosen(plan: Plan, complete: pl.DataFrame) -> tuple[list[str], list[str]]:
    """The numbers to draw, and a warning for each that was asked for and that no task has found."""
    known = [
        column.removeprefix(RESULT)
        for column, dtype in complete.schema.items()
        if column.startswith(RESULT) and dtype.is_numeric() and column.removeprefix(RESULT) not in plan.sweeps
    ]
    if plan.plot:
        lacking = [name for name in plan.plot if name not in known]
        words = [f"No task has found a number '{name}'{nearest(name, known) or '.'}" for name in lacking]
        return [name for name in plan.plot if name in known], words
    moving = [name for name in known if len(np.unique(_finite(complete, name))) > 1]
    return moving[:NUMBERS] or known[:NUMBERS], []


def _finite(rows: pl.DataFrame, name: str) -> np.ndarray:
    values = rows[RESULT + name].cast(float).fill_null(np.nan).to_numpy()
    return values[np.isfinite(values)]


def _sentence(plan: Plan, complete: pl.DataFrame, key: str, name: str) -> str:
    """Where the median of a number is lowest and highest; nothing if it is the same everywhere."""
    values = {task.name: worded(task.values[key]) for task in plan.tasks}
    at = complete.with_columns(pl.col("run").replace_strict(values).alias("at"))
    medians = {}
    for word in dict.fromkeys(values.values()):
        found = _finite(at.filter(pl.col("at") == word), name)
        if len(found):
            medians[word] = float(np.median(found))
    if len(set(medians.values())) < 2:
        return ""
    low, high = min(medians, key=medians.__getitem__), max(medians, key=medians.__getitem__)
    return (
        f"Over {key}, the median of {name} is lowest at {low}, {number(medians[low])}, and highest at {high}, "
        f"{number(medians[high])}."
    )


def _range_words(values: tuple[Any, ...]) -> str:
    words = [worded(value) for value in values]
    return ", ".join(words) if len(words) <= 4 else f"{len(words)} values, {words[0]} to {words[-1]}"


def _cell(value: Any) -> Any:
    return worded(value) if isinstance(value, list) else value

"""The table of a sweep: one row per task, with its settings, how it ended and what it found."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from thalweg._lazy import polars as pl
from thalweg.errors import InputError
from thalweg.experiments.framework.findings import Findings
from thalweg.runs import Run
from thalweg.sweeps.joining import medians
from thalweg.sweeps.planning import Plan, Task, flat
from thalweg.sweeps.working import Outcome

__all__ = ["RESULT", "collect"]

RESULT = "result."  # before the name of what was found: a setting may have the same name


def collect(plan: Plan, root: Path, outcomes: Mapping[str, Outcome] | None = None) -> pl.DataFrame:
    """Read what all tasks have left in their run folders.

    Args:
        plan: The tasks.
        root: Folder of all runs.
        outcomes: Name of a task -> what a worker said of it; tells why a task failed that has no folder.

    Returns:
        One row per task in the order of the plan. Columns: the swept fields; ``status`` (complete, failed, interrupted,
        running or missing), ``message``, ``run`` (name of the folder below `root`); all other settings by dotted name;
        ``result.`` with the name of every number that was found, null where a task found none, NaN where it found NaN.
    """
    rows = [_row(task, root, (outcomes or {}).get(task.name)) for task in plan.tasks]
    columns = dict.fromkeys(column for row in rows for column in row)
    return pl.DataFrame([_series(column, [row.get(column) for row in rows]) for column in columns])


def _row(task: Task, root: Path, outcome: Outcome | None) -> dict[str, Any]:
    status, message, numbers = _ending(task, root)
    if status != "complete" and outcome is not None:
        status, message = outcome.status, outcome.message
        if status == "complete":
            status, message = "missing", f"a worker completed it, but {root / task.name} is not here: is it shared?"
    settings = {
        key: value for key, value in flat(task.config.model_dump(mode="json")).items() if key not in task.values
    }
    head = {**task.values, "status": status, "message": message, "run": task.name}
    return {**head, **settings, **{RESULT + name: value for name, value in numbers.items()}}


def _ending(task: Task, root: Path) -> tuple[str, str, Mapping[str, Any]]:
    """Status, message and numbers, as the run folder tells them."""
    path = root / task.name
    if not path.exists():
        return "missing", "", {}
    try:
        run = Run.open(path)
        if run.state != "complete":
            return ("missing" if run.state == "new" else run.state), run.message, {}
        return "complete", "", _numbers(task, run)
    except InputError as error:
        return "failed", str(error), {}


def _numbers(task: Task, run: Run) -> Mapping[str, Any]:
    """What a run has found; of a model that is the only one of its task, by names that all tasks share."""
    found = Findings.from_json({**run.load("findings"), "figures": []}).numbers
    if task.config.varied not in task.values:
        return found
    return {name.partition(": ")[0]: value for name, value in found.items()} | medians(run)


def _series(name: str, values: Sequence[Any]) -> pl.Series:
    """A column of the narrowest type that holds all values; text in JSON where they are of different kinds.

    >>> _series("a", [1, 2.5, None]).to_list(), _series("b", [None, [1, 2], [0.5]]).to_list()
    ([1.0, 2.5, None], [None, [1.0, 2.0], [0.5]])
    >>> _series("c", [64, "given", None]).to_list()
    ['64', 'given', None]
    """
    present = [value for value in values if value is not None]
    lists = bool(present) and all(isinstance(value, list) for value in present)
    kind = _kind([item for value in present for item in value] if lists else present)
    if kind is None:
        texts = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
        return pl.Series(name, texts, dtype=pl.String)
    dtype = {bool: pl.Boolean, int: pl.Int64, float: pl.Float64, str: pl.String}[kind]
    return pl.Series(name, values, dtype=pl.List(dtype) if lists else dtype)


def _kind(values: Sequence[Any]) -> type | None:
    """The type that all values fit into; None if there is none."""
    kinds = {type(value) for value in values}
    if not kinds:
        return str
    if kinds == {int, float}:
        return float
    return kinds.pop() if len(kinds) == 1 and kinds <= {bool, int, float, str} else None

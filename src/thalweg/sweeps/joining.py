"""The experiment's own figure of a whole sweep: the tables of its tasks, put together and told.

An experiment that compares several models keeps a table with rows for each model and replica (its result ``table``) and
defines ``merge(config, table)``. What a sweep did in many tasks so has the same figure as what one run does by itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from pathlib import Path

from thalweg._files.writing import canonical
from thalweg._lazy import polars as pl
from thalweg.experiments.framework.config import ExperimentConfig
from thalweg.experiments.framework.discovery import find
from thalweg.experiments.framework.findings import Findings
from thalweg.runs import Run
from thalweg.sweeps.planning import Plan, Task, worded

__all__ = ["medians", "retold"]

TABLE = "table"  # the result under which an experiment keeps its table
SETTINGS = 6  # that are told one after the other; of more, nobody would read the figures


def retold(plan: Plan, root: Path, complete: Collection[str]) -> Findings | None:
    """What the experiment itself tells of the tables of all tasks.

    The field that the configuration varies becomes one axis again, and seeds become further replicas; every setting of
    the other swept fields is told by itself.

    Args:
        plan: The tasks.
        root: Folder of all runs.
        complete: Names of the tasks that are.

    Returns:
        Findings; None if the experiment tells no tables, or if there are more than `SETTINGS` settings to tell of.
    """
    merge = find(plan.experiment).merge
    if merge is None:
        return None
    settings: dict[bytes, list[Task]] = {}
    for task in plan.tasks:
        if task.name in complete and TABLE in Run.open(root / task.name).results:
            others = {key: value for key, value in task.values.items() if key not in ("seed", _varied(task))}
            settings.setdefault(canonical(others), []).append(task)
    if not 0 < len(settings) <= SETTINGS:
        return None
    told = [merge(_config(tasks), _joined(tasks, root)) for tasks in settings.values()]
    return told[0] if len(told) == 1 else _together(told, [_words(tasks[0]) for tasks in settings.values()])


def medians(run: Run) -> dict[str, float | None]:
    """What the only model of a run has at its end, by the numeric columns of its table: medians over the replicas.

    Replicas that did not complete are left out; empty if the experiment keeps no table, or one of several models.
    """
    if TABLE not in run.results:
        return {}
    table = run.load(TABLE)
    own = ("member", "replica") if "member" in table.columns else ("replica",)
    last = table.filter(pl.col("step") == pl.col("step").max().over(own)) if "step" in table.columns else table
    if last["replica"].n_unique() < len(last):
        return {}
    completed = last.filter(pl.col("status") == "completed")
    names = [name for name, dtype in last.schema.items() if dtype.is_numeric() and name not in ("replica", "value")]
    return {name: completed[name].median() for name in names if not last[name].is_null().all()}  # type: ignore[misc] -- numbers


def _varied(task: Task) -> str | None:
    return task.config.varied


def _words(task: Task) -> str:
    """The setting of the fields that are neither varied nor the seed."""
    rest = {key: value for key, value in task.values.items() if key not in ("seed", _varied(task))}
    return ", ".join(f"{key} {worded(value)}" for key, value in rest.items())


def _seeds(tasks: Sequence[Task]) -> int:
    return len({task.config.seed for task in tasks})


def _config(tasks: Sequence[Task]) -> ExperimentConfig:
    """The settings of one run that would do all these tasks, but for the values that it would compare."""
    config = tasks[0].config
    if not hasattr(config, "replicas"):
        return config
    return config.model_copy(update={"replicas": config.replicas * _seeds(tasks)})


def _joined(tasks: Sequence[Task], root: Path) -> pl.DataFrame:
    """The tables below each other; the replicas of every further seed are numbered on."""
    frames, seen = [], dict[bytes, int]()
    for task in tasks:
        frame = Run.open(root / task.name).load(TABLE)
        model = canonical({key: value for key, value in task.values.items() if key != "seed"})
        first = seen.get(model, 0)
        seen[model] = first + int(frame["replica"].max() or 0) + 1
        frames.append(frame.with_columns(pl.col("replica") + first))
    return pl.concat(frames, how="diagonal_relaxed")


def _together(told: Sequence[Findings], words: Sequence[str]) -> Findings:
    """Several findings as one: everything says which setting it belongs to."""
    pairs = list(zip(told, words, strict=True))
    return Findings(
        figures=[
            dataclasses.replace(figure, name=f"{figure.name}-{place}", title=f"{figure.title}: {setting}")
            for place, (found, setting) in enumerate(pairs, 1)
            for figure in found.figures
        ],
        statements=[f"{setting}: {statement}" for found, setting in pairs for statement in found.statements],
        tables={f"{name}: {setting}": rows for found, setting in pairs for name, rows in found.tables.items()},
        numbers={f"{name}: {setting}": value for found, setting in pairs for name, value in found.numbers.items()},
        warnings=[f"{setting}: {warning}" for found, setting in pairs for warning in found.warnings],
    )

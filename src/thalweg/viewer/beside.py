"""Several runs side by side: in which settings they differ, and what numbers each has found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from thalweg.experiments.framework.findings import Findings
from thalweg.report.comparison import labels, side_by_side
from thalweg.report.section import Table, table
from thalweg.report.settings import flat, setting
from thalweg.runs import Run
from thalweg.runs.state import one_line
from thalweg.viewer.listing import DAMAGE

__all__ = ["Beside", "beside", "differing"]


@dataclass(frozen=True)
class Beside:
    """Runs and their tables.

    Attributes:
        runs: Those that can be read, by label.
        settings: What differs; None if nothing does.
        numbers: What was found; None if nothing was.
        notes: Sentences on what cannot be shown.
    """

    runs: dict[str, Run]
    settings: Table | None
    numbers: Table | None
    notes: tuple[str, ...]


def beside(runs: Sequence[Run]) -> Beside:
    """Set runs side by side; one that is damaged is left out, and a note says so.

    Args:
        runs: Which, in the order of the columns.
    """
    configs, notes = {}, []
    for run in runs:
        try:
            _ = run.state
            configs[run] = run.config
        except DAMAGE as error:
            notes.append(f"{run.name} is left out: {one_line(error)}.")
    names = labels(list(configs.values()), [run.name for run in configs])
    named = dict(zip(names, configs, strict=True))
    found = []
    for label, run in named.items():
        try:
            found.append(Findings.from_json(run.load("findings")).numbers if "findings" in run.results else {})
        except DAMAGE as error:
            notes.append(f"The findings of {label} cannot be read: {one_line(error)}.")
            found.append({})
    differ, numbers = differing(names, list(configs.values())), side_by_side(names, found)
    return Beside(
        named,
        table("Settings", differ) if differ else None,
        table("Numbers", numbers) if numbers else None,
        tuple(notes),
    )


def differing(names: Sequence[str], configs: Sequence[Mapping[str, Any]]) -> list[dict[str, str | None]]:
    """Settings that are not the same in all runs as a table: a row for each, a column for each run.

    >>> differing(["a", "b"], [{"seed": 0, "lr": 0.1}, {"seed": 1, "lr": 0.1}])
    [{'setting': 'seed', 'a': '0', 'b': '1'}]
    """
    given = [{name: setting(value) for name, value in flat(config).items()} for config in configs]
    every = dict.fromkeys(name for one in given for name in one)
    return [
        {"setting": name} | {label: one.get(name) for label, one in zip(names, given, strict=True)}
        for name in every
        if len({one.get(name) for one in given}) > 1
    ]

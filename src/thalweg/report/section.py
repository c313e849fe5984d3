"""What a report says of one run, as plain data for the template."""

from __future__ import annotations

import dataclasses
import math
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from thalweg.figures.scales import power_of_ten
from thalweg.progress import duration
from thalweg.report.pictures import Film, Picture, films
from thalweg.report.settings import Setting, experiment_of, flat, setting, settings
from thalweg.report.story import markup, story
from thalweg.runs.environment import RECORDED

if TYPE_CHECKING:
    from pathlib import Path

    from thalweg.experiments.framework.findings import Findings
    from thalweg.runs import Run

__all__ = ["Cell", "Section", "Table", "environment", "section", "table"]

MOST_LOST = 20
"""Replicas that did not complete and are told one by one."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """One value: how it is written, and by what it is sorted."""

    text: str
    order: str
    number: bool
    exact: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of cells."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def numeric(self, column: int) -> bool:
        """Whether a column holds numbers, which are aligned to the right."""
        return all(row[column].number or not row[column].order for row in self.rows)


@dataclasses.dataclass(frozen=True)
class Section:
    """Everything about one run, in the order of reading.

    Attributes:
        key: Prefix of its anchors.
        experiment: Name of the experiment.
        name: Name of the run's folder.
        label: What tells it from other runs of its experiment in the same document; empty where it is the only one.
        summary: What the experiment is, in a line.
        question: What was asked; ``method`` how it was answered; ``reading`` further parts by heading.
        statements: What was measured; ``warnings`` what not to believe.
        pictures: The figures; ``films`` what moves.
        tables: The tables, ``numbers`` the main results as one more.
        replicas: Sentences on the fate of the replicas; ``lost`` on those that did not complete.
        settings: Every setting, those chosen otherwise than the default marked.
        environment: Rows (name, value).
        command: What was typed; ``again`` Python lines that repeat exactly these settings.
        recorded: Whether it is of a training loop of somebody's own; ``again`` then reads it.
    """

    key: str
    experiment: str
    name: str
    label: str
    summary: str
    question: Markup
    method: Markup
    reading: tuple[tuple[str, Markup], ...]
    statements: tuple[str, ...]
    warnings: tuple[str, ...]
    pictures: tuple[Picture, ...]
    films: tuple[Film, ...]
    tables: tuple[Table, ...]
    numbers: Table | None
    replicas: tuple[str, ...]
    lost: tuple[str, ...]
    settings: tuple[Setting, ...]
    environment: tuple[tuple[str, str], ...]
    command: str
    again: str
    recorded: bool = False


def section(
    run: Run, findings: Findings, pictures: Sequence[Picture], beside: Path, *, key: str, label: str = ""
) -> Section:
    """Gather what a report says of a run.

    Args:
        run: Which.
        findings: What it has found.
        pictures: Its figures, drawn.
        beside: Folder of the report.
        key: Prefix of the anchors, unique within the document.
        label: What tells it from other runs of its experiment in the same document.
    """
    summary, parts = story(experiment_of(run))
    kept = run.environment
    replicas, lost = _replicas(run)
    numbers = [{"quantity": name, "value": value} for name, value in findings.numbers.items()]
    return Section(
        key=key,
        experiment=run.experiment,
        name=run.name,
        label=label,
        summary=summary,
        question=markup(parts.pop("Question", parts.pop("", ""))),
        method=markup(parts.pop("Method", "")),
        reading=tuple((heading, markup(body)) for heading, body in parts.items() if heading),
        statements=tuple(findings.statements),
        warnings=tuple(findings.warnings),
        pictures=tuple(pictures),
        films=films(run.files.exports, beside, findings.statements),
        tables=tuple(table(name, rows) for name, rows in findings.tables.items() if rows),
        numbers=table("Numbers", numbers) if numbers else None,
        replicas=replicas,
        lost=lost,
        settings=settings(experiment_of(run), run.config),
        environment=environment(kept),
        command="" if kept.get("command") == RECORDED else str(kept.get("command") or ""),
        again=_again(run),
        recorded=kept.get("command") == RECORDED,
    )


def table(name: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """A table of all columns that any row has, in the order of appearance.

    >>> table("t", [{"a": 1}, {"a": 2, "b": "x"}]).columns
    ('a', 'b')
    """
    columns = tuple(dict.fromkeys(column for row in rows for column in row))
    return Table(name, columns, tuple(tuple(cell(row.get(column)) for column in columns) for row in rows))


def cell(value: Any) -> Cell:
    """A value of a table in words.

    >>> cell(0.000123456).text, cell(1234567).text, cell(None).text, cell(True).text, cell(float("nan")).text
    ('1.235×10⁻⁴', '1,234,567', '–', 'yes', 'NaN')
    """
    if value is None:
        return Cell("–", "", number=False)
    if isinstance(value, bool):
        return Cell("yes" if value else "no", str(int(value)), number=False)
    if isinstance(value, int):
        return Cell(f"{value:,}".replace("-", "−"), str(value), number=True)
    if isinstance(value, float):
        text, exact = _float(value), repr(value)
        more = "" if text.replace("−", "-") == exact.removesuffix(".0") else exact
        return Cell(text, "" if math.isnan(value) else exact, number=True, exact=more)
    return Cell(str(value), str(value), number=False)


def _float(value: float) -> str:
    if not math.isfinite(value):
        return {"nan": "NaN", "inf": "∞", "-inf": "−∞"}[str(value)]
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        return (f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}").replace("-", "−")
    return power_of_ten(value, digits=3)


def _replicas(run: Run) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What became of the replicas of every recording, and by name of those that did not complete."""
    said, lost, statuses = [], [], {name: run.recording(name).status for name in run.recordings}
    for name, status in statuses.items():
        whole = sum(entry["status"] == "completed" for entry in status)
        count = "1 replica" if len(status) == 1 else f"{len(status)} replicas"
        said.append(f"Recording “{name}”: {whole} of {count} completed.")
        for replica, entry in enumerate(status):
            if entry["status"] != "completed":
                why = f": {entry['message']}" if entry.get("message") else ""
                lost.append(f"Replica {replica} of “{name}” {entry['status']} at step {entry['step']}{why}.")
    if len(lost) > MOST_LOST:
        lost = [*lost[:MOST_LOST], f"{len(lost) - MOST_LOST} more replicas did not complete."]
    if len(said) > 2 and not lost:
        said = [f"{len(said)} recordings: all {sum(map(len, statuses.values()))} replicas completed."]
    return tuple(said), tuple(lost)


def environment(kept: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """What a run was made with as rows (name, value), from its ``environment.json``."""
    rows = [("seed", str(kept.get("seed"))), ("device", str(kept.get("device")))]
    rows.append(("data checksum", str(kept.get("data_checksum") or "none")))
    rows += [(name, str(number)) for name, number in (kept.get("versions") or {}).items()]
    machine = [str(kept[name]) for name in ("cpu", "platform") if kept.get(name)]
    rows += [("machine", "; ".join(machine)), ("threads", str(kept.get("cpu_threads")))]
    rows += [
        (name, str(kept[name])[:19].replace("T", " ") + " UTC") for name in ("created", "finished") if kept.get(name)
    ]
    if kept.get("seconds"):
        rows.append(("time spent", duration(float(kept["seconds"]))))
    sessions = kept.get("sessions") or []
    if len(sessions) > 1:
        rows.append(("sessions", f"{len(sessions)}: the run was interrupted and continued"))
    known = {"seed", "device", "data_checksum", "versions", "cpu", "platform", "cpu_threads", "created", "finished"}
    known |= {"seconds", "sessions", "experiment", "command"}
    rows += [
        (name.replace("_", " "), setting(value))
        for name, value in flat(kept).items()
        if name.split(".")[0] not in known
    ]
    return tuple(rows)


def _again(run: Run) -> str:
    if run.environment.get("command") == RECORDED:
        return f"from thalweg import Run\n\nrun = Run.open({str(run.path)!r})\nrun.snapshots, run.metrics"
    if "sweep" in run.config:
        return (
            "import json\n"
            "from thalweg.sweeps import replan, sweep\n\n"
            'if __name__ == "__main__":\n'
            "    settings = json.load(open('config.json'))  # of this sweep\n"
            f'    sweep(replan({experiment_of(run)!r}, settings), root="again")'
        )
    return (
        "import json\n"
        "from thalweg.experiments import execute, find\n\n"
        f"settings = json.load(open({shlex.quote('config.json')!r}))  # of this run\n"
        f"config = find({run.experiment!r}).config.model_validate(settings)\n"
        f'execute({run.experiment!r}, config, root="again")'
    )

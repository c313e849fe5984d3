"""What a run of somebody's own training loop shows: its curves, its instruments, its path and how far it went.

No experiment has asked anything of such a run, so that nothing is claimed beyond what was recorded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from thalweg.errors import InputError
from thalweg.experiments.framework.execution import load_findings
from thalweg.experiments.framework.findings import Findings
from thalweg.figures import Axis, Band, ErrorBars, Figure, Line, Lines, Mark, Panel
from thalweg.figures.scales import number
from thalweg.landscape import PCA, pca
from thalweg.landscape.path_figures import Labels
from thalweg.results.words import percent
from thalweg.runs import History, Recording, Run
from thalweg.runs.environment import RECORDED

__all__ = ["found_in"]

PANELS = 4  # of a figure of curves; more become a second one
FAN = 50  # thin lines of replicas


def found_in(run: Run) -> Findings:
    """The findings that a run has kept; of a loop of somebody's own what its recordings show, complete or not.

    Raises:
        InputError: The run is damaged, or has not come to its end; or nothing was recorded.
    """
    if run.environment.get("command") != RECORDED:
        return load_findings(run)
    run.check(content=run.state == "complete")
    if not run.recordings:
        raise InputError(f"run {run.path} has nothing to report: nothing was recorded")
    parts = [_of(run.recording(name), "" if len(run.recordings) == 1 else f"{name}: ") for name in run.recordings]
    ended = [] if run.state == "complete" else [f"The run is {run.state}: {run.message or 'its loop did not end'}."]
    return Findings(
        figures=[figure for part in parts for figure in part.figures],
        statements=[words for part in parts for words in part.statements],
        tables={name: rows for part in parts for name, rows in part.tables.items()},
        numbers={name: value for part in parts for name, value in part.numbers.items()},
        warnings=[*ended, *(words for part in parts for words in part.warnings)],
    )


def _of(recording: Recording, label: str) -> Findings:
    history, measured = recording.history, tuple(recording.meta.get("measure", {}))
    prefix = f"{recording.name}-" if label else ""
    figures, warnings = list(_curves(history, measured)), [message for message in history.messages if message]
    statements = [f"{label}{_without(history, measured).summary()}"]
    numbers: dict[str, Any] = {}
    try:
        path = pca(recording.snapshots)
    except InputError as error:  # a single snapshot, or none that differs
        warnings.append(f"No path is drawn: {error}.")
    else:
        labels = dataclasses.replace(Labels.plain(path.scores.shape[1]), epochs=recording.epochs.numpy())
        away = _distances(path, recording.epochs.numpy())
        figures += [path.plot(labels).replace(title="Path of training"), away]
        end = float(np.nanmedian(_from(path, 0)[-1]))
        length = float(np.nanmedian(path.steps.sum(0).numpy()))
        statements.append(
            f"{label}It ended {number(end)} from where it began, after a path of at least {number(length)} (straight "
            f"lines between {len(path.scores)} snapshots); two components hold "
            f"{percent(float(path.ratio(2).sum()))} of the variance."
        )
        numbers = {f"{label}distance from the start": end, f"{label}length of the path": length}
    for metric in history.values:
        last = history.final(metric)
        if np.isfinite(last).any():
            numbers[f"{label}{metric}"] = float(np.nanmedian(last))
    table = {f"{label}Where it ended": history.table().to_dicts()} if len(history.status) > 1 else {}
    figures = [figure.replace(name=f"{prefix}{figure.name}", title=f"{label}{figure.title}") for figure in figures]
    return Findings(figures, statements, table, numbers, [f"{label}{words}" for words in warnings])


def _curves(history: History, measured: tuple[str, ...]) -> Iterator[Figure]:
    """Training curves, as many figures as they need, and what the instruments said."""
    rest = _without(history, measured).values
    theirs = [name for name in history.values if name not in rest]
    groups = list(dataclasses.replace(history, values=rest).by_metric())
    for start in range(0, len(groups), PANELS):
        chosen = set(groups[start : start + PANELS])
        kept = {name: rest[name] for name in rest if _group(name) in chosen}
        figure = dataclasses.replace(history, values=kept).plot()
        again = start // PANELS + 1
        yield figure if again == 1 else figure.replace(name=f"curves-{again}", title=f"Training curves ({again})")
    names = [name for name in theirs if not name.endswith("_error")]
    for start in range(0, len(names), PANELS):
        again = start // PANELS + 1
        panels = [_panel(history, name) for name in names[start : start + PANELS]]
        caption = (
            "What the instruments beside the loop measured, each at its own cadence; bars are the errors that they "
            "state themselves. Of several replicas: every one (thin), median (thick) and range."
        )
        suffix, word = (f"-{again}", f" ({again})") if again > 1 else ("", "")
        yield Figure(f"measured{suffix}", f"Measured along the way{word}", caption, tuple(panels))


def _without(history: History, measured: tuple[str, ...]) -> History:
    """What the loop itself told, without the instruments."""
    theirs = {name for name in history.values if any(name == one or name.startswith(f"{one}_") for one in measured)}
    rest = {name: values for name, values in history.values.items() if name not in theirs}
    return dataclasses.replace(history, values=rest)


def _group(name: str) -> str:
    data, _, metric = name.partition("_")
    return metric if data in ("train", "test") and metric else name.replace("_", " ")


def _panel(history: History, name: str) -> Panel:
    values = history.values[name]
    there = np.flatnonzero(np.isfinite(values).any(axis=1))
    x, y = history.epochs[there], values[there]
    errors = history.values.get(f"{name}_error")
    marks: list[Mark] = []
    if values.shape[1] == 1:
        marks.append(Line(x, y[:, 0], symbol="circle"))
        if errors is not None:
            error = np.nan_to_num(errors[there, 0])
            marks.append(ErrorBars(x, y[:, 0], low=y[:, 0] - error, high=y[:, 0] + error, colour=0))
    else:
        marks = _spread(x, y, "replicas")
    positive = len(y) > 0 and bool(np.nanmin(y) > 0) and bool(np.nanmax(y) > 20 * np.nanmin(y))
    return Panel(Axis("epoch"), Axis(name.replace("_", " "), scale="log" if positive else "linear"), tuple(marks))


def _from(path: PCA, snapshot: int) -> np.ndarray:
    """(S, R), the distance in weight space of every snapshot from one of them: scores hold all components."""
    return (path.scores - path.scores[snapshot]).norm(dim=-1).numpy()


def _distances(path: PCA, epochs: np.ndarray) -> Figure:
    marks: list[Mark] = []
    for name, values in (("from the start", _from(path, 0)), ("from the end", _from(path, -1))):
        marks += _spread(epochs, values[:, list(path.replicas)], name)
    caption = (
        "Distance of every snapshot from the first and from the last one, ‖θ − θ′‖ over all recorded parameters. A "
        "straight path at even speed gives two straight lines; both stay level where training no longer moves."
    )
    panel = Panel(Axis("epoch"), Axis("distance in weight space"), tuple(marks))
    return Figure("distances", "How far training went", caption, (panel,))


def _spread(x: np.ndarray, values: np.ndarray, label: str) -> list[Mark]:
    """Values (T, R) as a line; of several replicas every one, the median and the range."""
    if values.shape[1] == 1:
        return [Line(x, values[:, 0], label=label, symbol="circle" if len(x) <= FAN else "")]
    low, middle, high = (f(values, axis=1) for f in (np.nanmin, np.nanmedian, np.nanmax))
    thin: Mapping[str, Any] = {"group": label, "width": 0.6, "opacity": 0.45}
    return [
        Lines(x, values.T[:FAN], **thin),
        Band(x, low, high, group=label, opacity=0.15),
        Line(x, middle, label=f"{label} (median)", group=label, width=2.0),
    ]

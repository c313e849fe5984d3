"""What trainings did over their steps: every metric of every replica, and what became of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from thalweg._lazy import polars as pl
from thalweg._short import short
from thalweg.errors import InputError
from thalweg.figures import Figure
from thalweg.figures.scales import number
from thalweg.results import BaseResult
from thalweg.results.words import counted, listed, percent, range_words
from thalweg.runs.curves import curves
from thalweg.runs.frames import KEYS

__all__ = ["History", "history"]

SETS = {"train": "training", "test": "test"}
MOST = 4  # panels; more are too small to be read


@short
@dataclass(frozen=True, eq=False)
class History(BaseResult):
    """The metrics of R trainings.

    Args:
        name: Of the recording.
        steps: (T,) int64, updates done.
        epochs: (T,) float64, the same in passes over the data.
        values: metric -> (T, R) float64; NaN where it was not measured.
        status: (R,) "completed", "diverged" or "running".
        last: (R,) int64, the last step of each that counts.
        messages: (R,) why a training ended before its time; empty for one that did not.
    """

    name: str
    steps: np.ndarray
    epochs: np.ndarray
    values: dict[str, np.ndarray]
    status: tuple[str, ...]
    last: np.ndarray
    messages: tuple[str, ...]

    def at(self, steps: Sequence[int]) -> History:
        """The same at some of the steps only, such as those of the snapshots."""
        kept = np.isin(self.steps, np.asarray(steps))
        values = {metric: value[kept] for metric, value in self.values.items()}
        return History(self.name, self.steps[kept], self.epochs[kept], values, self.status, self.last, self.messages)

    def final(self, metric: str) -> np.ndarray:
        """(R,), the last value of a metric that each replica has; NaN for one that did not complete.

        Raises:
            InputError: There is no such metric.
        """
        if metric not in self.values:
            raise InputError(f"metric must be one of {', '.join(self.values)}, found '{metric}'")
        values = self.values[metric]
        measured = np.flatnonzero(~np.isnan(values).all(axis=1))
        if not len(measured):
            return np.full(len(self.status), np.nan)
        done = np.array([state != "diverged" for state in self.status])
        return np.where(done, _last_known(values[measured]), np.nan)

    def by_metric(self) -> dict[str, dict[str, np.ndarray]]:
        """Metric -> data set -> (T, R): what belongs into one panel."""
        found: dict[str, dict[str, np.ndarray]] = {}
        for key, values in self.values.items():
            data, _, metric = key.partition("_")
            if data in SETS and metric:
                found.setdefault(metric, {})[SETS[data]] = values
        for key, values in self.values.items():
            if key.partition("_")[0] not in SETS and key not in found:
                found[key.replace("_", " ")] = {"each step": values}
        return {**{name: found[name] for name in ("loss", "accuracy") if name in found}, **found}

    def plot(self) -> Figure:
        """Loss, accuracy and further metrics against the epochs; of several replicas median, range and every one.

        Raises:
            InputError: No metric was recorded.
        """
        found = self.by_metric()
        if not found:
            raise InputError(f"recording '{self.name}' holds no metric that could be drawn")
        names = tuple(f"replica {r}" for r in range(len(self.status)))
        figure = curves(self.epochs, dict(list(found.items())[:MOST]), names)
        more = f" Not drawn: {listed(list(found)[MOST:])}." if len(found) > MOST else ""
        return figure.replace(caption=f"{figure.caption}{more}")

    def table(self) -> pl.DataFrame:
        """One row per replica: its status, its last step, and the last value of every metric."""
        ends = {metric: _last_known(values) for metric, values in self.values.items()}
        fates = {"replica": range(len(self.status)), "status": self.status, "last step": self.last}
        return pl.DataFrame(fates | ends | {"message": self.messages})

    def summary(self) -> str:
        """What the replicas came to: last values (median, lowest to highest), and those that diverged."""
        count = len(self.status)
        lost = [r for r, state in enumerate(self.status) if state == "diverged"]
        running = self.status.count("running")
        length = (
            f"{counted(int(self.steps[-1]), 'step')} ({self.epochs[-1]:.4g} epochs)" if len(self.steps) else "0 steps"
        )
        scores = [(key, self.final(key)) for key in self.values if key.partition("_")[0] in SETS]
        scores = scores or [(key, self.final(key)) for key in self.values][:1]
        told = ", ".join(
            f"{_words(key)} {range_words(values, percent if key.endswith('accuracy') else number)}"
            for key, values in scores
        )
        state = f"{running} still running" if running else f"{count - len(lost)} completed"
        first = f"{counted(count, 'training')}, {state}, {length}"
        text = f"{first}: {told or 'no metric was recorded'}."
        if lost:
            names = listed([f"replica {r}" for r in lost])
            text += f" {len(lost)} diverged: {names} (the first at step {int(self.last[lost[0]])})."
        return text


def history(name: str, frame: pl.DataFrame, status: Sequence[Mapping[str, Any]]) -> History:
    """The history of a recording.

    Args:
        name: Of the recording.
        frame: Columns step, epoch, replica and the metrics.
        status: Per replica what became of it.
    """
    count = max(1, len(status))
    metrics = [column for column in frame.columns if column not in KEYS]
    known = [pl.col(column).drop_nulls().last() for column in metrics]  # a step may come in several pieces
    rows = frame.group_by("step", "replica").agg(pl.col("epoch").last(), *known).sort("step", "replica")
    values = {
        metric: rows[metric].cast(pl.Float64).fill_null(np.nan).to_numpy().reshape(-1, count).copy()
        for metric in metrics
        if rows[metric].dtype.is_numeric() or rows[metric].dtype == pl.Boolean
    }
    return History(
        name=name,
        steps=rows["step"].to_numpy()[::count].astype(np.int64),
        epochs=rows["epoch"].to_numpy()[::count].astype(np.float64),
        values=values,
        status=tuple(entry["status"] for entry in status),
        last=np.array([entry["step"] for entry in status], dtype=np.int64),
        messages=tuple(entry["message"] or "" for entry in status),
    )


def _words(key: str) -> str:
    data, _, metric = key.partition("_")
    return f"{SETS[data]} {metric}" if data in SETS else key


def _last_known(values: np.ndarray) -> np.ndarray:
    """(T, R) -> (R,), of the last step at which any replica has a value."""
    measured = np.flatnonzero(~np.isnan(values).all(axis=1))
    return values[measured[-1]] if len(measured) else np.full(values.shape[1], np.nan)

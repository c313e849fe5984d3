"""Finished trainings as several experiments read them: metrics at the snapshots, fates, and how they are told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg.figures import Figure
from thalweg.landscape.path_figures import Labels
from thalweg.results.words import FEW, listed
from thalweg.runs import History, Recording
from thalweg.runs.curves import curves

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Trained", "run_name", "trained"]

_SETS = {"train": "training", "test": "test"}


def run_name(replica: int) -> str:
    """Runs are counted from 1 in words and pictures, replicas from 0 in arrays."""
    return f"run {replica + 1}"


@dataclass(frozen=True, eq=False)
class Trained:
    """What the trainings of one recording left behind.

    Args:
        history: Their metrics at the snapshots.
        metrics: metric -> data set -> (S, R).
        replicas: Those that completed.
    """

    history: History
    metrics: Mapping[str, Mapping[str, np.ndarray]]
    replicas: tuple[int, ...]

    @property
    def epochs(self) -> np.ndarray:
        """(S,)."""
        return self.history.epochs

    @property
    def count(self) -> int:
        """R, those that diverged among them."""
        return len(self.history.status)

    @property
    def curves(self) -> Figure:
        """Loss and accuracy of all runs, also of those that diverged, up to there."""
        return curves(self.epochs, self.metrics, tuple(run_name(replica) for replica in range(self.count)))

    @property
    def warnings(self) -> list[str]:
        """What became of runs that did not complete, each by itself if they are few."""
        fates = zip(self.history.status, self.history.messages, strict=True)
        lost = [(run_name(r), message) for r, (state, message) in enumerate(fates) if state == "diverged"]
        if len(lost) > FEW:
            words = f"{len(lost)} runs diverged, {listed([name for name, _ in lost])} (the first: {lost[0][1]})"
            return [f"{words}: left out of projections and numbers."]
        return [f"{name.capitalize()} diverged ({why}): left out of projections and numbers." for name, why in lost]

    def final(self, metric: str, name: str) -> np.ndarray:
        """(completed,) last values."""
        return self.metrics[metric][name][-1, list(self.replicas)]

    def labels(self, data: str | None = None) -> Labels:
        """The score of a data set (default: the test set if there is one) at every snapshot, for pictures of paths."""
        metric = "accuracy" if "accuracy" in self.metrics else "loss"
        sets = self.metrics[metric]
        name = _SETS[data] if data else ("test" if "test" in sets else "training")
        names = tuple(run_name(replica) for replica in range(self.count))
        return Labels(names, self.epochs, sets[name], f"{name} {metric}", metric == "accuracy")


def trained(recording: Recording) -> Trained:
    """Reads metrics and fates from a finished recording."""
    history = recording.history.at(recording.steps.tolist())
    found: dict[str, Any] = history.by_metric()
    metrics = {name: found[name] for name in ("loss", "accuracy") if name in found}
    return Trained(history, metrics, tuple(r for r, state in enumerate(history.status) if state == "completed"))

"""What `trajectory` measured: fates, metrics and distances, as arrays and as rows of tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg.experiments._curves import curves
from thalweg.experiments._path_figures import run_name
from thalweg.experiments._paths import Paths, View
from thalweg.experiments.shared.words import FEW, listed

if TYPE_CHECKING:
    from thalweg.experiments.shared.training import Setup
    from thalweg.figures import Figure
    from thalweg.runs import Recording

__all__ = ["Apart", "Measured", "lengths", "measure", "numbers", "rows", "separation", "view_row"]

_SETS = {"train": "training", "test": "test"}


@dataclass(frozen=True, eq=False)
class Measured:
    """What training left behind.

    Args:
        paths: The runs that are drawn, and their labels.
        metrics: metric -> data set -> (S, R).
        status: What became of each replica.
    """

    paths: Paths
    metrics: Mapping[str, Mapping[str, np.ndarray]]
    status: list[dict[str, Any]]

    @property
    def curves(self) -> Figure:
        """Loss and accuracy of all runs, also of those that diverged, up to there."""
        names = tuple(run_name(replica) for replica in range(len(self.status)))
        return curves(self.paths.epochs, self.metrics, names)

    @property
    def warnings(self) -> list[str]:
        """What became of runs that did not complete, each by itself if they are few."""
        lost = [(run_name(r), entry["message"]) for r, entry in enumerate(self.status) if entry["status"] == "diverged"]
        if len(lost) > FEW:
            words = f"{len(lost)} runs diverged, {listed([name for name, _ in lost])} (the first: {lost[0][1]})"
            return [f"{words}: left out of projections and numbers."]
        return [f"{name.capitalize()} diverged ({why}): left out of projections and numbers." for name, why in lost]

    def final(self, metric: str, name: str) -> np.ndarray:
        """(R drawn,) last values."""
        return self.metrics[metric][name][-1, list(self.paths.replicas)]


def measure(recording: Recording, setup: Setup, labels: str | None) -> Measured:
    """Reads metrics and fates from a finished recording.

    Args:
        recording: The trainings.
        setup: Data and network.
        labels: Data set whose score labels the points; None for the test set if there is one.
    """
    frame = recording.metrics
    count = len(recording.status)
    kept = frame.filter(frame["step"].is_in(recording.steps.tolist())).sort("step", "replica")
    metrics = {
        metric: {
            _SETS[name]: kept[f"{name}_{metric}"].cast(float).fill_null(np.nan).to_numpy().reshape(-1, count)
            for name in setup.evaluate
        }
        for metric in ("loss", "accuracy")
        if f"train_{metric}" in kept.columns
    }
    name = labels or ("test" if "test" in setup.evaluate else "train")
    score = "accuracy" if "accuracy" in metrics else "loss"
    paths = Paths(
        epochs=recording.epochs.numpy(),
        score=metrics[score][_SETS[name]],
        score_name=f"{_SETS[name]} {score}",
        is_share=score == "accuracy",
        replicas=tuple(r for r, entry in enumerate(recording.status) if entry["status"] == "completed"),
    )
    return Measured(paths, metrics, recording.status)


@dataclass(frozen=True)
class Apart:
    """Distances in the full space of the whole model; NaN where there is one run only."""

    start: np.ndarray  # (R drawn,) to the nearest other run
    end: np.ndarray  # (R drawn,)
    nearest: tuple[int, ...]  # position of the run that is nearest at the end


def separation(view: View) -> Apart:
    used = list(view.found.replicas)
    if len(used) < 2:
        return Apart(np.full(1, np.nan), np.full(1, np.nan), (0,))
    out = []
    for s in (0, -1):
        points = view.found.scores[s, used].numpy()
        # row by row: all differences at once are gigabytes for hundreds of runs
        distances = np.stack([np.linalg.norm(points - point, axis=-1) for point in points])
        np.fill_diagonal(distances, np.inf)
        out.append(distances)
    return Apart(out[0].min(axis=1), out[1].min(axis=1), tuple(map(int, out[1].argmin(axis=1))))


def lengths(view: View) -> tuple[np.ndarray, np.ndarray]:
    """Length of the way from snapshot to snapshot, and of the straight line from start to end, per run drawn."""
    used = list(view.found.replicas)
    scores = view.found.scores[:, used]
    return view.found.steps[:, used].sum(dim=0).numpy(), (scores[-1] - scores[0]).norm(dim=-1).numpy()


def rows(measured: Measured, view: View, apart: Apart) -> list[dict[str, Any]]:
    position = {replica: place for place, replica in enumerate(view.found.replicas)}
    length, net = lengths(view)
    rows = []
    for replica, entry in enumerate(measured.status):
        row: dict[str, Any] = {"run": replica + 1, "status": entry["status"], "last step": entry["step"]}
        place = position.get(replica)
        for metric, sets in measured.metrics.items():
            for name, values in sets.items():
                row[f"{name} {metric}"] = float("nan") if place is None else float(values[-1, replica])
        row["path length"] = None if place is None else float(length[place])
        row["start to end"] = None if place is None else float(net[place])
        alone = place is None or len(position) < 2
        row["nearest run at the end"] = None if alone else view.found.replicas[apart.nearest[place]] + 1
        row["distance to it"] = None if alone else float(apart.end[place])
        rows.append(row)
    return rows


def view_row(view: View) -> dict[str, Any]:
    share = view.found.off_plane_share(2).numpy()[:, list(view.found.replicas)]
    row: dict[str, Any] = {"view": view.name, "parameters": view.found.size, "rank": view.found.rank}
    for k in range(3):
        row[f"component {k + 1}"] = float(view.ratio[k])
        row[f"random walk {k + 1}"] = float(np.median(view.control_ratio[:, k]))
    row["between runs"] = view.found.between
    row["off-plane share"] = float(np.median(share))
    return row


def numbers(measured: Measured, views: list[View], apart: Apart) -> dict[str, Any]:
    out: dict[str, Any] = {"completed": len(measured.paths.replicas), "snapshots": len(measured.paths.epochs)}
    for metric, sets in measured.metrics.items():
        for name in sets:
            key = "train" if name == "training" else name
            out[f"{key}_{metric}"] = float(np.median(measured.final(metric, name)))
    for view in views:
        row = view_row(view)
        out[f"{view.key}_explained_2"] = float(view.ratio[:2].sum())
        out[f"{view.key}_control_explained_2"] = float(np.median(view.control_ratio[:, :2].sum(axis=1)))
        out[f"{view.key}_between"] = row["between runs"]
        out[f"{view.key}_off_plane_share"] = row["off-plane share"]
    length, net = lengths(views[-1])
    out["path_length"] = float(np.median(length))
    out["start_to_end"] = float(np.median(net))
    out["least_distance_at_start"] = float(np.min(apart.start))
    out["least_distance_at_end"] = float(np.min(apart.end))
    return out

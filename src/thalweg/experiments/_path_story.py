"""What `trajectory` measured, in numbers, sentences, tables and figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg.experiments import _path_figures as figures
from thalweg.experiments._curves import curves
from thalweg.experiments._paths import Paths, View
from thalweg.experiments._training import recipe_words
from thalweg.experiments._words import counted, percent, range_words
from thalweg.experiments.findings import Findings
from thalweg.figures.scales import number
from thalweg.landscape import walk_ratio

if TYPE_CHECKING:
    from thalweg.experiments._training import Setup
    from thalweg.experiments.trajectory import Config
    from thalweg.figures import Figure
    from thalweg.runs import Recording

__all__ = ["Measured", "measure", "nothing_left", "tell"]

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
        names = tuple(figures.run_name(replica) for replica in range(len(self.status)))
        return curves(self.paths.epochs, self.metrics, names)

    @property
    def warnings(self) -> list[str]:
        """What became of runs that did not complete."""
        return [
            f"{figures.run_name(r).capitalize()} diverged ({entry['message']}): left out of projections and numbers."
            for r, entry in enumerate(self.status)
            if entry["status"] == "diverged"
        ]

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


def nothing_left(measured: Measured) -> Findings:
    """All runs diverged: their curves, and the reason."""
    count = len(measured.status)
    return Findings(
        figures=(measured.curves,),
        statements=(f"None of the {counted(count, 'run')} completed, so there is no path to draw.",),
        numbers={"completed": 0},
        warnings=(*measured.warnings, "A smaller learning rate may keep the runs finite."),
    )


def tell(config: Config, setup: Setup, measured: Measured, views: list[View]) -> Findings:
    """Figures, sentences, tables and numbers of completed runs."""
    paths, whole = measured.paths, views[-1]
    drawn = [figures.plane(paths, views)]
    drawn += [figures.tsne(paths, views)] if any(view.placed for view in views) else []
    drawn += [figures.control(whole, paths), figures.explained(views, len(paths.epochs))]
    drawn += [figures.off_plane(paths, views), measured.curves, figures.space(paths, whole)]
    separation = _separation(whole)
    return Findings(
        figures=drawn,
        statements=[
            _what(config, setup, measured),
            *_scores(measured),
            *(_variance(view) for view in views),
            _alone(whole, len(paths.epochs)),
            *(_hidden(view, paths) for view in views),
            *_apart(config, whole, separation),
            _way(whole),
        ],
        tables={"runs": _rows(measured, whole, separation), "views": [_view_row(view) for view in views]},
        numbers=_numbers(measured, views, separation),
        warnings=[*measured.warnings, *_cautions(views)],
    )


def _what(config: Config, setup: Setup, measured: Measured) -> str:
    done = len(measured.paths.replicas)
    completed = "" if done == config.replicas else f", of which {done} completed"
    start = "its own initial weights" if config.start == "own" else "the same initial weights"
    return (
        f"{counted(config.replicas, 'training')} of the network {setup.network} on {setup.task.label}, each from "
        f"{start}{completed}: {recipe_words(config.training, setup.task.samples)}; weights recorded "
        f"{len(measured.paths.epochs)} times."
    )


def _scores(measured: Measured) -> list[str]:
    out = []
    for metric, sets in measured.metrics.items():
        words = percent if metric == "accuracy" else number
        parts = [f"{name} {metric} {range_words(measured.final(metric, name), words)}" for name in sets]
        out.append(f"At the end: {', '.join(parts)} (median, and lowest to highest run).")
    return out


def _variance(view: View) -> str:
    two = float(view.ratio[:2].sum())
    walks = view.control_ratio[:, :2].sum(axis=1)
    return (
        f"{view.name.capitalize()}: the first two joint components explain {percent(two)} of the variance, "
        f"random walks with the same starts and step lengths {range_words(walks, percent)}; "
        f"{percent(view.found.between)} of the variance lies between the runs, the rest along them."
    )


def _alone(view: View, length: int) -> str:
    shares, walks = (values[:, :2].sum(axis=1) for values in (view.alone, view.control_alone))
    shares, walks = shares[np.isfinite(shares)], walks[np.isfinite(walks)]
    if not len(shares):
        return "No run moves."
    gap = float(np.median(shares) - np.median(walks))
    if abs(gap) < 0.1:
        verdict = "a smooth curve in such a picture is no evidence of a simple loss surface"
    else:
        verdict = f"the runs use {'fewer' if gap > 0 else 'more'} directions than chance would"
    return (
        f"Each run alone (whole model): its first two components explain {range_words(shares, percent)} of its "
        f"variance, those of a random walk with the same step lengths {range_words(walks, percent)} (with {length - 1} "
        f"equal steps {percent(float(walk_ratio(length, 2).sum()))}): {verdict}."
    )


def _hidden(view: View, paths: Paths) -> str:
    used = list(paths.replicas)
    distance, share = (a.numpy()[:, used] for a in (view.found.off_plane(2), view.found.off_plane_share(2)))
    return (
        f"{view.name.capitalize()}: the median snapshot lies {number(float(np.median(distance)))} off the plane, "
        f"{percent(float(np.median(share)))} of its distance from the mean; at the end of training "
        f"{percent(float(np.median(share[-1])))}."
    )


@dataclass(frozen=True)
class _Apart:
    """Distances in the full space of the whole model; NaN where there is one run only."""

    start: np.ndarray  # (R drawn,) to the nearest other run
    end: np.ndarray  # (R drawn,)
    nearest: tuple[int, ...]  # position of the run that is nearest at the end


def _separation(view: View) -> _Apart:
    used = list(view.found.replicas)
    if len(used) < 2:
        return _Apart(np.full(1, np.nan), np.full(1, np.nan), (0,))
    out = []
    for s in (0, -1):
        points = view.found.scores[s, used].numpy()
        distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
        np.fill_diagonal(distances, np.inf)
        out.append(distances)
    return _Apart(out[0].min(axis=1), out[1].min(axis=1), tuple(map(int, out[1].argmin(axis=1))))


def _lengths(view: View) -> tuple[np.ndarray, np.ndarray]:
    """Length of the way from snapshot to snapshot, and of the straight line from start to end, per run drawn."""
    used = list(view.found.replicas)
    scores = view.found.scores[:, used]
    return view.found.steps[:, used].sum(dim=0).numpy(), (scores[-1] - scores[0]).norm(dim=-1).numpy()


def _apart(config: Config, view: View, separation: _Apart) -> list[str]:
    if len(view.found.replicas) < 2:
        return []
    length = float(np.median(_lengths(view)[0]))
    end, start = float(separation.end.min()), float(separation.start.min())
    begin = "start at one point" if config.start == "shared" else f"start at least {number(start)} apart"
    compared = f", {number(end / length)} times the median length of a path" if length > 0 else ""
    return [
        f"The runs stay separate: they {begin} and end at least {number(end)} apart{compared}."
        if end > 1e-6 * float(view.found.distance[-1, list(view.found.replicas)].max())
        else f"At least two runs end at the same point (they {begin})."
    ]


def _way(view: View) -> str:
    length, net = _lengths(view)
    straight = np.divide(net, length, out=np.full_like(net, np.nan), where=length > 0)
    chance = len(view.found.steps) ** -0.5
    return (
        f"A run travels {range_words(length)} between its snapshots and ends {range_words(net)} from its start: "
        f"{range_words(straight, percent)} of its way is progress, against about {percent(chance)} for a random walk "
        f"of {counted(len(view.found.steps), 'equal step')}."
    )


def _cautions(views: list[View]) -> list[str]:
    out = []
    for view in views:
        missing = [k + 1 for k, status in enumerate(view.found.status(2)) if status == "missing"]
        if missing:
            out.append(
                f"The paths of the {view.name} have no component {missing[0]}: its variance is zero or rounding, and "
                "the figure shows them on a line."
            )
        if view.placed is None:
            out.append(f"There are too few snapshots of the {view.name} for t-SNE, which needs 4.")
        if view.found.excluded:
            names = ", ".join(figures.run_name(r) for r in view.found.excluded)
            out.append(f"Weights that are not finite were recorded in {names}: left out of the {view.name}.")
    return out


def _rows(measured: Measured, view: View, separation: _Apart) -> list[dict[str, Any]]:
    position = {replica: place for place, replica in enumerate(view.found.replicas)}
    length, net = _lengths(view)
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
        row["nearest run at the end"] = None if alone else view.found.replicas[separation.nearest[place]] + 1
        row["distance to it"] = None if alone else float(separation.end[place])
        rows.append(row)
    return rows


def _view_row(view: View) -> dict[str, Any]:
    share = view.found.off_plane_share(2).numpy()[:, list(view.found.replicas)]
    row: dict[str, Any] = {"view": view.name, "parameters": view.found.points.size, "rank": view.found.rank}
    for k in range(3):
        row[f"component {k + 1}"] = float(view.ratio[k])
        row[f"random walk {k + 1}"] = float(np.median(view.control_ratio[:, k]))
    row["between runs"] = view.found.between
    row["off-plane share"] = float(np.median(share))
    return row


def _numbers(measured: Measured, views: list[View], separation: _Apart) -> dict[str, Any]:
    out: dict[str, Any] = {"completed": len(measured.paths.replicas), "snapshots": len(measured.paths.epochs)}
    for metric, sets in measured.metrics.items():
        for name in sets:
            key = "train" if name == "training" else name
            out[f"{key}_{metric}"] = float(np.median(measured.final(metric, name)))
    for view in views:
        row = _view_row(view)
        out[f"{view.key}_explained_2"] = float(view.ratio[:2].sum())
        out[f"{view.key}_control_explained_2"] = float(np.median(view.control_ratio[:, :2].sum(axis=1)))
        out[f"{view.key}_between"] = row["between runs"]
        out[f"{view.key}_off_plane_share"] = row["off-plane share"]
    length, net = _lengths(views[-1])
    out["path_length"] = float(np.median(length))
    out["start_to_end"] = float(np.median(net))
    out["least_distance_at_start"] = float(np.min(separation.start))
    out["least_distance_at_end"] = float(np.min(separation.end))
    return out

"""What `trajectory` says: the answer, its pictures, and the numbers of every run and view in tables."""

from __future__ import annotations

from typing import Any

import numpy as np

from thalweg.experiments.framework.findings import Findings
from thalweg.experiments.shared.trained import Trained, run_name
from thalweg.experiments.shared.training import Setup, recipe_words
from thalweg.experiments.shared.weights import weights_words
from thalweg.experiments.trajectory import figures
from thalweg.experiments.trajectory.config import Config
from thalweg.experiments.trajectory.measure import View
from thalweg.figures.scales import number
from thalweg.landscape import walk_ratio
from thalweg.results.words import counted, listed, percent, range_words

__all__ = ["nothing_left", "report"]


def nothing_left(found: Trained) -> Findings:
    """All runs diverged: their curves, and the reason."""
    return Findings(
        figures=(found.curves,),
        statements=(f"None of the {counted(found.count, 'run')} completed, so there is no path to draw.",),
        numbers={"completed": 0},
        warnings=(*found.warnings, "A smaller learning rate may keep the runs finite."),
    )


def report(config: Config, setup: Setup, found: Trained, views: list[View]) -> Findings:
    """Figures, sentences, tables and numbers of completed runs; the whole model is the last of the views."""
    whole, labels = views[-1], found.labels(config.labels)
    drawn = [figures.plane(views, labels)]
    drawn += [figures.tsne(views, labels)] if any(view.placed for view in views) else []
    drawn += [figures.control(whole, labels), figures.explained(views, len(found.epochs))]
    drawn += [figures.off_plane(views, labels), found.curves]
    drawn.append(whole.found.space(labels, name=whole.name, title=whole.title))
    return Findings(
        figures=drawn,
        statements=[
            *_apart(config, whole),
            _what(config, setup, found),
            _variance(whole),
            _alone(whole, len(found.epochs)),
            _way(whole),
        ],
        tables={"runs": _rows(found, whole), "views": [_view_row(view) for view in views]},
        numbers=_numbers(found, views),
        warnings=[*found.warnings, *_stuck(setup, found), *_cautions(views)],
    )


def _apart(config: Config, view: View) -> list[str]:
    """The headline: do the runs come to the same place?"""
    count = len(view.used)
    if count < 2:
        return []
    length = float(np.median(view.lengths[0]))
    end, start = (float(view.apart(snapshot)[0].min()) for snapshot in (-1, 0))
    begin = "start at one point" if config.start == "shared" else f"start at least {number(start)} apart"
    if end <= 1e-6 * float(view.found.distance[-1, view.used].max()):
        return [f"At least two of the {count} runs end at the same point (they {begin})."]
    compared = f", {number(end / length)} times the median length of a path" if length > 0 else ""
    return [f"The {count} runs end in different places: they {begin} and end at least {number(end)} apart{compared}."]


def _what(config: Config, setup: Setup, found: Trained) -> str:
    if config.checkpoint:
        return weights_words(config, setup)
    done = len(found.replicas)
    completed = "" if done == config.replicas else f", of which {done} completed"
    start = "its own initial weights" if config.start == "own" else "the same initial weights"
    return (
        f"{counted(config.replicas, 'training')} of the network {setup.network} on {setup.task.label}, each from "
        f"{start}{completed}: {recipe_words(config.training, setup.task.samples)}; weights recorded "
        f"{len(found.epochs)} times."
    )


def _variance(view: View) -> str:
    walks = view.control_ratio[:, :2].sum(axis=1)
    share = float(np.median(view.found.off_plane_share(2).numpy()[:, view.used]))
    between = f"; {percent(view.found.between)} of it lies between the runs" if len(view.used) > 1 else ""
    return (
        f"The first two joint components of the {view.name} explain {percent(float(view.ratio[:2].sum()))} of the "
        f"variance, those of random walks with equal starts and step lengths {range_words(walks, percent)}{between}. "
        f"The median snapshot lies off their plane by {percent(share)} of its distance from the mean."
    )


def _alone(view: View, length: int) -> str:
    shares, walks = (values[:, :2].sum(axis=1) for values in (view.alone, view.control_alone))
    shares, walks = shares[np.isfinite(shares)], walks[np.isfinite(walks)]
    if not len(shares) or not len(walks):
        return "No run moves by more than rounding."
    gap = float(np.median(shares) - np.median(walks))
    if abs(gap) < 0.1:
        verdict = "a smooth curve in such a picture is no evidence of a simple loss surface"
    else:
        verdict = f"the runs use {'fewer' if gap > 0 else 'more'} directions than chance would"
    return (
        f"Each run alone: its first two components explain {range_words(shares, percent)} of its variance, those of a "
        f"random walk with the same step lengths {range_words(walks, percent)} (with {length - 1} equal steps "
        f"{percent(float(walk_ratio(length, 2).sum()))}): {verdict}."
    )


def _way(view: View) -> str:
    length, net = view.lengths
    straight = np.divide(net, length, out=np.full_like(net, np.nan), where=length > 0)
    steps = view.found.steps[:, view.used].numpy()
    # independent directions: the squares of the steps add up
    chance = np.divide(np.linalg.norm(steps, axis=0), length, out=np.full_like(net, np.nan), where=length > 0)
    return (
        f"A run travels {range_words(length)} between its snapshots and ends {range_words(net)} from its start: "
        f"{range_words(straight, percent)} of its way is progress, against {range_words(chance, percent)} for a random "
        "walk with the same step lengths."
    )


def _stuck(setup: Setup, found: Trained) -> list[str]:
    """Runs that learnt no more than a constant: dead networks travel too, and their paths look like any other."""
    if setup.task.kind == "other" or setup.objective.loss_kind is None:
        return []  # which constant is best is known for cross-entropy and squared error only
    targets = setup.task.train[1]
    if setup.task.kind == "classification":
        shares = targets.bincount() / len(targets)
        constant = float(-(shares[shares > 0] * shares[shares > 0].log()).sum())
    else:
        constant = float(targets.var(dim=0, correction=0).mean())
    losses = found.final("loss", "training")
    runs = [r for r, loss in zip(found.replicas, losses, strict=True) if loss >= 0.99 * constant]
    if not runs:
        return []
    names = f"Run {runs[0] + 1} ends" if len(runs) == 1 else f"Runs {listed([str(r + 1) for r in runs])} end"
    return [
        f"{names} no better than a constant output (loss {number(constant)}): a dead network moves, but learns nothing."
    ]


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
            out.append(f"There is no t-SNE of the {view.name}: {view.refused}.")
        if view.found.excluded:
            names = listed([run_name(r) for r in view.found.excluded])
            out.append(f"Weights that are not finite were recorded in {names}: left out of the {view.name}.")
    return out


def _rows(found: Trained, view: View) -> list[dict[str, Any]]:
    position = {replica: place for place, replica in enumerate(view.used)}
    (length, net), (distance, nearest) = view.lengths, view.apart(-1)
    rows = []
    for replica, status in enumerate(found.history.status):
        row: dict[str, Any] = {"run": replica + 1, "status": status, "last step": int(found.history.last[replica])}
        place = position.get(replica)
        for metric, sets in found.metrics.items():
            for name, values in sets.items():
                row[f"{name} {metric}"] = float("nan") if place is None else float(values[-1, replica])
        row["path length"] = None if place is None else float(length[place])
        row["start to end"] = None if place is None else float(net[place])
        alone = place is None or len(position) < 2
        row["nearest run at the end"] = None if alone else view.used[int(nearest[place])] + 1
        row["distance to it"] = None if alone else float(distance[place])
        rows.append(row)
    return rows


def _view_row(view: View) -> dict[str, Any]:
    share = view.found.off_plane_share(2).numpy()[:, view.used]
    row: dict[str, Any] = {"view": view.name, "parameters": view.found.size, "rank": view.found.rank}
    for k in range(3):
        row[f"component {k + 1}"] = float(view.ratio[k])
        row[f"random walk {k + 1}"] = float(np.median(view.control_ratio[:, k]))
    row["between runs"] = view.found.between
    row["off-plane share"] = float(np.median(share))
    row["off-plane share at the end"] = float(np.median(share[-1]))
    return row


def _numbers(found: Trained, views: list[View]) -> dict[str, Any]:
    out: dict[str, Any] = {"completed": len(found.replicas), "snapshots": len(found.epochs)}
    for metric, sets in found.metrics.items():
        for name in sets:
            key = "train" if name == "training" else name
            out[f"{key}_{metric}"] = float(np.median(found.final(metric, name)))
    for view in views:
        row = _view_row(view)
        out[f"{view.key}_explained_2"] = float(view.ratio[:2].sum())
        out[f"{view.key}_control_explained_2"] = float(np.median(view.control_ratio[:, :2].sum(axis=1)))
        out[f"{view.key}_between"] = row["between runs"]
        out[f"{view.key}_off_plane_share"] = row["off-plane share"]
    length, net = views[-1].lengths
    out["path_length"] = float(np.median(length))
    out["start_to_end"] = float(np.median(net))
    out["least_distance_at_start"] = float(np.min(views[-1].apart(0)[0]))
    out["least_distance_at_end"] = float(np.min(views[-1].apart(-1)[0]))
    return out

"""What `trajectory` found, put together: figures, sentences, tables and warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from thalweg.experiments import _path_figures as figures
from thalweg.experiments._path_numbers import Apart, Measured, lengths, numbers, rows, separation, view_row
from thalweg.experiments._paths import Paths, View
from thalweg.experiments.framework.findings import Findings
from thalweg.experiments.shared.training import recipe_words
from thalweg.experiments.shared.words import counted, listed, percent, range_words
from thalweg.figures.scales import number
from thalweg.landscape import walk_ratio

if TYPE_CHECKING:
    from thalweg.experiments.shared.training import Setup
    from thalweg.experiments.trajectory import Config

__all__ = ["nothing_left", "tell"]


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
    apart = separation(whole)
    return Findings(
        figures=drawn,
        statements=[
            *_apart(config, whole, apart),
            _what(config, setup, measured),
            *_scores(measured),
            *(_variance(view) for view in views),
            _alone(whole, len(paths.epochs)),
            *(_hidden(view, paths) for view in views),
            _way(whole),
        ],
        tables={"runs": rows(measured, whole, apart), "views": [view_row(view) for view in views]},
        numbers=numbers(measured, views, apart),
        warnings=[*measured.warnings, *_stuck(setup, measured), *_cautions(views)],
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
    between = f"; {percent(view.found.between)} of the variance lies between the runs, the rest along them"
    between = between if len(view.found.replicas) > 1 else ""
    return (
        f"{view.name.capitalize()}: the first two joint components explain {percent(two)} of the variance, "
        f"random walks with the same starts and step lengths {range_words(walks, percent)}{between}."
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


def _apart(config: Config, view: View, apart: Apart) -> list[str]:
    """The headline: do the runs come to the same place?"""
    count = len(view.found.replicas)
    if count < 2:
        return []
    length = float(np.median(lengths(view)[0]))
    end, start = float(apart.end.min()), float(apart.start.min())
    begin = "start at one point" if config.start == "shared" else f"start at least {number(start)} apart"
    if end <= 1e-6 * float(view.found.distance[-1, list(view.found.replicas)].max()):
        return [f"At least two of the {count} runs end at the same point (they {begin})."]
    compared = f", {number(end / length)} times the median length of a path" if length > 0 else ""
    return [f"The {count} runs end in different places: they {begin} and end at least {number(end)} apart{compared}."]


def _way(view: View) -> str:
    length, net = lengths(view)
    straight = np.divide(net, length, out=np.full_like(net, np.nan), where=length > 0)
    steps = view.found.steps[:, list(view.found.replicas)].numpy()
    # independent directions: the squares of the steps add up
    chance = np.divide(np.linalg.norm(steps, axis=0), length, out=np.full_like(net, np.nan), where=length > 0)
    return (
        f"A run travels {range_words(length)} between its snapshots and ends {range_words(net)} from its start: "
        f"{range_words(straight, percent)} of its way is progress, against {range_words(chance, percent)} for a random "
        "walk with the same step lengths."
    )


def _stuck(setup: Setup, measured: Measured) -> list[str]:
    """Runs that learnt no more than a constant: dead networks travel too, and their paths look like any other."""
    if setup.task.kind == "other" or setup.objective.loss_kind is None:
        return []  # which constant is best is known for cross-entropy and squared error only
    targets = setup.task.train[1]
    if setup.task.kind == "classification":
        shares = targets.bincount() / len(targets)
        constant = float(-(shares[shares > 0] * shares[shares > 0].log()).sum())
    else:
        constant = float(targets.var(dim=0, correction=0).mean())
    losses = measured.final("loss", "training")
    runs = [r for r, loss in zip(measured.paths.replicas, losses, strict=True) if loss >= 0.99 * constant]
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
            names = listed([figures.run_name(r) for r in view.found.excluded])
            out.append(f"Weights that are not finite were recorded in {names}: left out of the {view.name}.")
    return out

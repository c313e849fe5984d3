"""The pictures of `trajectory`: paths in a plane and in space, what the plane hides, and the random walk beside."""

from __future__ import annotations

from typing import Any

import numpy as np

from thalweg.experiments.trajectory.measure import SPECTRUM, View
from thalweg.figures import Axis, Band, Figure, Line, Mark, Panel, VLine
from thalweg.landscape import walk_ratio
from thalweg.landscape.path_figures import SQUARE, Labels, component_names, drawn, path_panel
from thalweg.runs.curves import fan_words

__all__ = ["control", "explained", "off_plane", "plane", "tsne"]


def plane(views: list[View], labels: Labels) -> Figure:
    """Joint principal components, one panel per view."""
    caption = (
        "All runs in the frame of their common first two principal components (of all snapshots of all runs together), "
        f"coloured by run. A number is the {labels.score_name} at that snapshot (some, where they would cover each "
        "other); the square is the start of a run, the star its end. The axes have equal scales."
    )
    panels = tuple(view.found.panel(labels, view.title) for view in views)
    return Figure("pca", "Paths of training: principal components", caption + _left_out(views[0]), panels, size=SQUARE)


def tsne(views: list[View], labels: Labels) -> Figure:
    """Joint t-SNE, one panel per view that has one."""
    placed = [(view, view.placed) for view in views if view.placed is not None]
    facts = "; ".join(
        f"{view.name}: perplexity {one.perplexity:.3g}, divergence {one.divergence:.3g}" for view, one in placed
    )
    caption = (
        "The same snapshots embedded by t-SNE, jointly over the runs, starting from their principal components "
        f"({facts}). Only neighbourhoods mean something here; lengths, gaps and sizes of clusters do not. "
        f"Numbers, squares and stars as in the figure of the principal components ({labels.score_name})."
    )
    panels = tuple(one.panel(labels, view.title) for view, one in placed)
    return Figure("tsne", "Paths of training: t-SNE", caption + _left_out(views[0]), panels, size=SQUARE)


def control(view: View, labels: Labels) -> Figure:
    """The trajectories and a random walk with the same starts and step lengths, in equal frames."""
    real, walk = view.found.coordinates(2).numpy(), view.control[..., :2].numpy()
    reach = 1.08 * float(max(np.abs(real[:, view.used]).max(), np.abs(walk).max()))
    spread = np.full((len(walk), real.shape[1], 2), np.nan)
    spread[:, view.used] = walk
    panels = tuple(
        path_panel(points, view.found.replicas, labels, component_names(ratio), title=title, reach=reach)
        for title, points, ratio in (
            ("training", real, view.ratio),
            ("random walks from the same starts", spread, view.control_ratio[0]),
        )
    )
    caption = (
        f"Left the trajectories ({view.name}), right random walks from the same starting points with the same step "
        "lengths, each in its own joint principal components, on the same scale. A random walk in many dimensions "
        "curves smoothly too (Antognini & Sohl-Dickstein 2018): only what differs between the two panels is training."
    )
    return Figure("control", "Training beside a random walk", caption + _left_out(view), panels, size=SQUARE)


def explained(views: list[View], length: int) -> Figure:
    """Spectra of explained variance: all runs jointly, and each run alone, against the control and the closed form."""
    joint: list[Mark] = []
    alone: list[Mark] = []
    for view in views:
        walk = f"random walk, {view.name}"
        joint.append(_spectrum(view.ratio, label=view.name, symbol="circle"))
        joint += _spread(view.control_ratio, label=walk, group=view.name, style="dashed")
        alone += _spread(view.alone, label=view.name, symbol="circle")
        alone += _spread(view.control_alone, label=walk, group=view.name, style="dashed")
    closed = walk_ratio(length, SPECTRUM).numpy()
    alone.append(_spectrum(closed, label="long walk, equal steps", colour="ink", style="dotted"))
    runs = len(views[0].used)
    if 2 < runs <= SPECTRUM:
        joint.append(VLine(runs - 0.5, f"{runs - 1} components tell {runs} runs apart", colour="muted", style="dotted"))
    x = Axis("component", limits=(0.5, SPECTRUM + 0.5))
    shown = [mark.y[np.isfinite(mark.y)] for mark in (*joint, *alone) if isinstance(mark, Line)]
    lowest = min(float(values.min()) for values in shown if len(values))
    y = Axis("explained variance", "share of total", "log", limits=(max(1e-6, lowest / 2), 1.3))
    panels = (
        Panel(x, y, tuple(joint), title="all runs in one frame"),
        Panel(x, y, tuple(alone), title="each run in its own frame"),
    )
    caption = (
        "Share of the variance that each principal component explains. Left: all runs jointly, and (dashed) random "
        f"walks with the same starts and step lengths, median and range over {len(views[0].control_ratio)} seeds. "
        "Right: each run alone, and each of those walks alone, median and range over the runs; dotted, the closed form "
        f"for a walk of {length} points with equal steps in very many dimensions, which tends to 6/(π²k²) for the k-th "
        "component (Antognini & Sohl-Dickstein 2018)."
    )
    return Figure("explained-variance", "Explained variance against a random walk", caption, panels, share_y=True)


def off_plane(views: list[View], labels: Labels) -> Figure:
    """What the picture hides, per snapshot."""
    caption = (
        "Distance of every snapshot from the plane of the first two principal components, ‖(θ − mean) − projection‖ "
        f"(thin: {fan_words(len(views[0].used))}; thick: median; band: range), beside its whole distance from the mean "
        "‖θ − mean‖ (dashed). Where the two are close, the position in the plane says little about the position in "
        "weight space."
    )
    panels = tuple(view.found.hidden(labels, view.title) for view in views)
    return Figure("off-plane", "What the plane hides", caption, panels)


def _left_out(view: View) -> str:
    return drawn(view.found.replicas, len(view.found.scores))[2]


def _positive(values: np.ndarray) -> np.ndarray:
    """A missing component has no place on a log axis: a gap, never a drawn zero."""
    return np.where(values > 0, values, np.nan)


def _spectrum(values: np.ndarray, **options: Any) -> Line:
    return Line(np.arange(1, SPECTRUM + 1), _positive(values), **options)


def _spread(values: np.ndarray, **options: Any) -> list[Line | Band]:
    """Median and range over the rows of (·, K) that are known."""
    known = values[np.isfinite(values).all(axis=1)]
    if not len(known):
        return []
    low, middle, high = (f(known, axis=0) for f in (np.min, np.median, np.max))
    group = options.get("group") or options["label"]
    band = Band(np.arange(1, SPECTRUM + 1), _positive(low), _positive(high), group=group, opacity=0.18)
    return [band, _spectrum(middle, **options)]

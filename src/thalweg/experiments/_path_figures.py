"""The figures of `trajectory`: paths in a plane and in space, what the plane hides, and the random walk beside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from thalweg.experiments._curves import FAN, fan_words
from thalweg.experiments._paths import SPECTRUM, Paths, View
from thalweg.experiments.shared.words import percent
from thalweg.figures import Axis, Band, Figure, Line, Lines, Mark, Panel, Path3D, Scatter, Scatter3D, VLine
from thalweg.figures.scales import number
from thalweg.landscape import walk_ratio

__all__ = ["RUNS", "Drawn", "control", "drawn", "explained", "off_plane", "plane", "run_name", "space", "tsne"]

SQUARE = (4.6, 4.5)
"""Inches of a panel with equal scales."""

FLATTEST = 0.6
"""Least ratio of the sides of such a panel: a straight path would else leave no room for its labels."""

APART = 0.05
"""Least distance of two labelled points as a share of the panel."""

RUNS = 16
"""Paths that can be told apart in one panel: of more runs the first are drawn."""

POINTS = 640
"""Points of all paths of a panel: of more snapshots every second, third … is marked."""


@dataclass(frozen=True)
class Drawn:
    """What a picture of paths shows of what was recorded.

    Args:
        replicas: Whose paths.
        steps: The snapshots that are marked, the first and the last among them.
        words: What is left out, as a sentence of the caption; empty if nothing is.
    """

    replicas: tuple[int, ...]
    steps: np.ndarray
    words: str


def drawn(paths: Paths) -> Drawn:
    """The runs and snapshots that can be seen; numbers, frames and medians are always those of all."""
    replicas, length = paths.replicas[:RUNS], len(paths.epochs)
    stride = max(1, -(-length * len(replicas) // POINTS))
    steps = np.unique(np.append(np.arange(0, length, stride), length - 1))
    parts = [f"the first {len(replicas)} of {len(paths.replicas)} runs"] if len(replicas) < len(paths.replicas) else []
    parts += [f"{len(steps)} of {length} snapshots"] if len(steps) < length else []
    words = f" Drawn are {' and '.join(parts)}; the frame and all numbers are those of everything." if parts else ""
    return Drawn(replicas, steps, words)


def run_name(replica: int) -> str:
    """Runs are counted from 1 in words and pictures, replicas from 0 in arrays."""
    return f"run {replica + 1}"


def plane(paths: Paths, views: list[View]) -> Figure:
    """Joint PCA, one panel per view."""
    panels = [
        _path_panel(paths, view.found.coordinates(2).numpy(), view.title, *_component_names(view.ratio))
        for view in views
    ]
    caption = (
        "All runs in the frame of their common first two principal components (of all snapshots of all runs together), "
        f"coloured by run. A number is the {paths.score_name} at that snapshot (some, where they would cover each "
        "other); the square is the start of a run, the star its end. The axes have equal scales. What the plane leaves "
        "out is drawn in the figure of the off-plane distance; a random walk stands in the figure of the control."
        f"{drawn(paths).words}"
    )
    title = "Paths of training: principal components"
    return Figure("pca", title, caption, tuple(panels), size=SQUARE)


def tsne(paths: Paths, views: list[View]) -> Figure:
    """Joint t-SNE, one panel per view."""
    panels, facts = [], []
    for view in views:
        if view.placed is None:
            continue
        panels.append(_path_panel(paths, view.placed.coordinates.numpy(), view.title, "t-SNE 1", "t-SNE 2"))
        facts.append(f"{view.name}: perplexity {view.placed.perplexity:.3g}, divergence {view.placed.divergence:.3g}")
    caption = (
        "The same snapshots embedded by t-SNE, jointly over the runs, starting from their principal components "
        f"({'; '.join(facts)}). Only neighbourhoods mean something here; lengths, gaps and sizes of clusters do not. "
        f"Numbers, squares and stars as in the figure of the principal components ({paths.score_name})."
        f"{drawn(paths).words}"
    )
    return Figure("tsne", "Paths of training: t-SNE", caption, tuple(panels), size=SQUARE)


def control(view: View, paths: Paths) -> Figure:
    """The trajectories and a random walk with the same starts and step lengths, in equal frames."""
    used = list(view.found.replicas)
    real, walk = view.found.coordinates(2).numpy(), view.control[..., :2].numpy()
    reach = 1.08 * float(max(np.abs(real[:, used]).max(), np.abs(walk).max()))
    spread = np.full((len(walk), real.shape[1], 2), np.nan)
    spread[:, used] = walk
    panels = [
        _path_panel(paths, points, title, *_component_names(ratio), reach=reach)
        for title, points, ratio in (
            ("training", real, view.ratio),
            ("random walks from the same starts", spread, view.control_ratio[0]),
        )
    ]
    caption = (
        f"Left the trajectories ({view.name}), right random walks from the same starting points with the same step "
        "lengths, each in its own joint principal components, on the same scale. A random walk in many dimensions "
        "curves smoothly too (Antognini & Sohl-Dickstein 2018): only what differs between the two panels is training."
        f"{drawn(paths).words}"
    )
    return Figure("control", "Training beside a random walk", caption, tuple(panels), size=SQUARE)


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
    alone.append(
        _spectrum(walk_ratio(length, SPECTRUM).numpy(), label="long walk, equal steps", colour="ink", style="dotted")
    )
    runs = len(views[0].found.replicas)
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


def off_plane(paths: Paths, views: list[View]) -> Figure:
    """What the picture hides, per snapshot."""
    panels = []
    used = list(paths.replicas)
    for view in views:
        hidden, distance = (a.numpy()[:, used] for a in (view.found.off_plane(2), view.found.distance))  # (S, R)
        x, words = paths.epochs, tuple(run_name(r) for r in used)
        panels.append(
            Panel(
                Axis("epoch"),
                Axis("distance in weight space", limits=(0, 1.08 * float(distance.max()))),
                (
                    Lines(x, hidden.T[:FAN], group="hidden", names=words[:FAN], opacity=0.5),
                    Band(x, hidden.min(axis=1), hidden.max(axis=1), group="hidden"),
                    Line(x, np.median(hidden, axis=1), label="off the plane", group="hidden", width=2.2),
                    Band(x, distance.min(axis=1), distance.max(axis=1), group="all", opacity=0.12),
                    Line(x, np.median(distance, axis=1), label="from the common mean", group="all", style="dashed"),
                ),
                title=view.title,
            )
        )
    caption = (
        "Distance of every snapshot from the plane of the first two principal components, ‖(θ − mean) − projection‖ "
        f"(thin: {fan_words(len(used))}; thick: median; band: range), beside its whole distance from the mean "
        "‖θ − mean‖ (dashed). Where the two are close, the position in the plane says little about the position in "
        "weight space."
    )
    return Figure("off-plane", "What the plane hides", caption, tuple(panels))


def space(paths: Paths, view: View) -> Figure:
    """Three components, to be turned."""
    points, chosen = view.found.coordinates(3).numpy(), drawn(paths)
    marks: list[Mark] = []
    for replica in chosen.replicas:
        x, y, z = points[chosen.steps, replica].T
        name, hover = run_name(replica), _hover(paths, replica, chosen.steps)
        marks.append(Path3D(x, y, z, label=name, width=1.4))
        marks.append(Scatter3D(x[:-1], y[:-1], z[:-1], group=name, hover=hover[:-1], size=2.5))
        end = points[-1:, replica].T
        texts = (_score(paths, -1, replica),)
        marks.append(Scatter3D(*end, group=name, symbol="diamond", texts=texts, hover=hover[-1:], size=6.0))
    axes = [Axis(f"component {k + 1} ({percent(float(view.ratio[k]))})") for k in range(3)]
    caption = (
        f"The first three joint principal components of the {view.name}, with the share of the variance that each "
        f"explains ({percent(float(view.ratio[:3].sum()))} together); diamonds are the ends, with the "
        f"{paths.score_name}.{chosen.words}"
    )
    panel = Panel(axes[0], axes[1], tuple(marks), z=axes[2], title=view.title)
    return Figure("pca-3d", "Paths of training in three components", caption, (panel,))


def _path_panel(paths: Paths, points: np.ndarray, title: str, x: str, y: str, *, reach: float | None = None) -> Panel:
    """Paths (S, R, 2) of all drawn runs in one frame with equal scales; without labels if its `reach` is given."""
    used, chosen = list(paths.replicas), drawn(paths)
    limits = _limits(points[:, used].reshape(-1, 2)) if reach is None else ((-reach, reach), (-reach, reach))
    texts = _labels(paths, chosen, points, max(high - low for low, high in limits)) if reach is None else {}
    marks: list[Mark] = []
    for replica in chosen.replicas:
        across, up = points[chosen.steps, replica].T
        name, hover = run_name(replica), _hover(paths, replica, chosen.steps)
        written = tuple(texts.get((s, replica), "") for s in chosen.steps.tolist())
        marks.append(Line(across, up, group=name, width=0.9, opacity=0.7))
        marks.append(Scatter(across, up, label=name, texts=written, hover=hover, size=3.2))
        marks.append(Scatter(across[:1], up[:1], group=name, symbol="square", size=5.5, hover=hover[:1]))
        marks.append(Scatter(across[-1:], up[-1:], group=name, symbol="star", size=9.0, hover=hover[-1:]))
    axes = Axis(x, limits=limits[0]), Axis(y, limits=limits[1])
    return Panel(*axes, tuple(marks), title=title, equal=True)


def _limits(points: np.ndarray) -> tuple[tuple[float, float], tuple[float, float]]:
    """Ranges around all points (M, 2) in a frame that is neither flat nor narrow although its scales are equal."""
    low, high = points.min(axis=0), points.max(axis=0)
    half = 0.56 * (high - low)
    half = np.maximum(half, half.max() * FLATTEST)
    half = np.maximum(half, np.finfo(np.float32).tiny)
    centre = (low + high) / 2
    (left, bottom), (right, top) = centre - half, centre + half
    return (float(left), float(right)), (float(bottom), float(top))


def _labels(paths: Paths, chosen: Drawn, points: np.ndarray, span: float) -> dict[tuple[int, int], str]:
    """Scores at the ends, and at middle snapshots, that are not too near to a point already labelled."""
    taken: list[np.ndarray] = []
    out = {}
    middle = int(chosen.steps[len(chosen.steps) // 2])
    for s in dict.fromkeys((len(points) - 1, middle)):
        for replica in chosen.replicas:
            place = points[s, replica]
            if all(np.linalg.norm(place - other) > APART * span for other in taken):
                taken.append(place)
                out[s, replica] = _score(paths, s, replica)
    return out


def _component(k: int, ratio: np.ndarray) -> str:
    share = float(ratio[k])
    return f"component {k + 1} ({percent(share)} of variance)" if share else f"component {k + 1} (missing)"


def _component_names(ratio: np.ndarray) -> tuple[str, str]:
    return _component(0, ratio), _component(1, ratio)


def _score(paths: Paths, s: int, replica: int) -> str:
    value = float(paths.score[s, replica])
    return percent(value) if paths.is_share else number(value)


def _hover(paths: Paths, replica: int, steps: np.ndarray) -> tuple[str, ...]:
    return tuple(
        f"{run_name(replica)}, epoch {paths.epochs[s]:g}\n{paths.score_name} {_score(paths, s, replica)}"
        for s in steps.tolist()
    )


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

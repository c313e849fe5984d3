"""The figures of `trajectory`: paths in a plane and in space, what the plane hides, and the random walk beside."""

from __future__ import annotations

import numpy as np

from thalweg.experiments._paths import SPECTRUM, Paths, View
from thalweg.experiments._words import percent
from thalweg.figures import Axis, Band, Figure, Line, Lines, Panel, Path3D, Scatter, Scatter3D
from thalweg.figures.scales import number

__all__ = ["control", "explained", "off_plane", "plane", "space", "tsne"]


def run_name(replica: int) -> str:
    """Runs are counted from 1 in words and pictures, replicas from 0 in arrays."""
    return f"run {replica + 1}"


def plane(paths: Paths, views: list[View]) -> Figure:
    """Joint PCA, one panel per view."""
    panels = [
        _path_panel(paths, view.found.coordinates(2).numpy(), view.title, *_component_axes(view.ratio), equal=True)
        for view in views
    ]
    caption = (
        "All runs in the frame of their common first two principal components (of all snapshots of all runs together), "
        f"coloured by run; a number is the {paths.score_name} at that snapshot, the square is the start and the star "
        "the end of a run. Axes have equal scales. What the plane leaves out is drawn in the figure of the off-plane "
        "distance, and what a random walk would look like in the figure of the control."
    )
    return Figure("pca", "Paths of training: principal components", caption, tuple(panels))


def tsne(paths: Paths, views: list[View]) -> Figure:
    """Joint t-SNE, one panel per view."""
    panels, facts = [], []
    for view in views:
        if view.placed is None:
            continue
        axes = Axis("t-SNE 1"), Axis("t-SNE 2")
        panels.append(_path_panel(paths, view.placed.coordinates.numpy(), view.title, *axes, equal=True))
        facts.append(f"{view.name}: perplexity {view.placed.perplexity:.3g}, divergence {view.placed.divergence:.3g}")
    caption = (
        "The same snapshots embedded by t-SNE, jointly over the runs, starting from their principal components "
        f"({'; '.join(facts)}). Only neighbourhoods mean something here; lengths, gaps and sizes of clusters do not. "
        f"Numbers, squares and stars as in the figure of the principal components ({paths.score_name})."
    )
    return Figure("tsne", "Paths of training: t-SNE", caption, tuple(panels))


def control(view: View, paths: Paths) -> Figure:
    """The trajectories and a random walk with the same starts and step lengths, in equal frames."""
    used = list(view.found.replicas)
    real, walk = view.found.coordinates(2).numpy(), view.control.coordinates(2).numpy()
    reach = 1.06 * max(np.abs(real[:, used]).max(), np.abs(walk).max())
    spread = np.full((len(walk), real.shape[1], 2), np.nan)
    spread[:, used] = walk
    limits = {"limits": (-reach, reach)}
    panels = []
    for title, points, ratio in (
        ("training", real, view.ratio),
        ("random walk: same starts, same step lengths", spread, view.control.ratio(2).numpy()),
    ):
        panels.append(_path_panel(paths, points, title, *_component_axes(ratio, **limits), equal=True, labels=False))
    caption = (
        f"Left the trajectories ({view.name}), right random walks from the same starting points with the same step "
        "lengths, each in its own joint principal components, on the same scale. A random walk in many dimensions "
        "curves smoothly too (Antognini & Sohl-Dickstein 2018): only what differs between the two panels is training."
    )
    return Figure("control", "Training beside a random walk", caption, tuple(panels))


def explained(views: list[View], length: int) -> Figure:
    """Spectra of explained variance: all runs jointly, and each run alone, against the control and the closed form."""
    joint, alone = [], []
    components = np.arange(1, SPECTRUM + 1)
    for view in views:
        joint.append(_spectrum(components, view.ratio, label=view.name, symbol="circle"))
        low, middle, high = (f(view.control_ratio, axis=0) for f in (np.min, np.median, np.max))
        joint.append(Band(components, _positive(low), _positive(high), group=view.name))
        joint.append(_spectrum(components, middle, label=f"random walk, {view.name}", group=view.name, style="dashed"))
        moving = view.alone[np.isfinite(view.alone).all(axis=1)]
        if len(moving):
            low, middle, high = (f(moving, axis=0) for f in (np.min, np.median, np.max))
            alone.append(Band(components, _positive(low), _positive(high), group=view.name))
            alone.append(_spectrum(components, middle, group=view.name, symbol="circle"))
    walk = _walk(length)
    alone.append(_spectrum(components, walk, label="one long random walk (closed form)", colour="ink", style="dotted"))
    x = Axis("component", limits=(0.5, SPECTRUM + 0.5))
    # weaker components than a ten-thousandth are rounding or the tail of the last few snapshots
    shown = [mark.y[np.isfinite(mark.y)] for mark in (*joint, *alone) if isinstance(mark, Line)]
    floor = max(1e-4, min(float(values.min()) for values in shown if len(values)) / 2)
    y = Axis("explained variance", "share of total", "log", limits=(floor, 1.2))
    panels = (
        Panel(x, y, tuple(joint), title="all runs in one frame"),
        Panel(x, y, tuple(alone), title="each run in its own frame"),
    )
    caption = (
        "Share of the variance that each principal component explains. Left: all runs jointly, and (dashed, with the "
        f"range over {len(views[0].control_ratio)} walks) random walks with the same starts and step lengths. Right: "
        f"each run alone (median and range over runs) and the closed form for a random walk of {length} points in many "
        "dimensions, 6/(π²k²) for long ones (Antognini & Sohl-Dickstein 2018)."
    )
    return Figure("explained-variance", "Explained variance against a random walk", caption, panels, share_y=True)


def off_plane(paths: Paths, views: list[View]) -> Figure:
    """What the picture hides, per snapshot."""
    panels = []
    used = list(paths.replicas)
    for view in views:
        hidden, distance = (a.numpy()[:, used] for a in (view.found.off_plane(2), view.found.distance))  # (S, R)
        x, words = paths.epochs, [run_name(r) for r in used]
        panels.append(
            Panel(
                Axis("epoch"),
                Axis("distance in weights", limits=(0, 1.08 * float(distance.max()))),
                (
                    Lines(x, hidden.T, group="hidden", names=tuple(words), opacity=0.5),
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
        "(thin: runs; thick: median; band: range), beside its whole distance from the mean ‖θ − mean‖ (dashed). Where "
        "the two are close, the position in the plane says little about the position in weight space."
    )
    return Figure("off-plane", "What the plane hides", caption, tuple(panels))


def space(paths: Paths, view: View) -> Figure:
    """Three components, to be turned."""
    points = view.found.coordinates(3).numpy()
    marks, used = [], list(paths.replicas)
    for replica in used:
        x, y, z = points[:, replica].T
        marks.append(Path3D(x, y, z, label=run_name(replica), hover=_hover(paths, replica), symbol="circle"))
    last = points[-1, used]
    names = tuple(run_name(replica) for replica in used)
    marks.append(
        Scatter3D(
            *last.T,
            categories=names,
            symbol="diamond",
            texts=tuple(_score(paths, -1, replica) for replica in used),
            hover=tuple(_hover(paths, replica)[-1] for replica in used),
            size=6.0,
        )
    )
    axes = [Axis(_component(k, view.ratio)) for k in range(3)]
    caption = (
        f"The first three joint principal components of the {view.name}; diamonds are the ends, with the "
        f"{paths.score_name}. Together they explain {percent(float(view.ratio[:3].sum()))} of the variance."
    )
    panel = Panel(axes[0], axes[1], tuple(marks), z=axes[2], title=view.title)
    return Figure("pca-3d", "Paths of training in three components", caption, (panel,))


def _path_panel(
    paths: Paths, points: np.ndarray, title: str, x: Axis, y: Axis, *, equal: bool = False, labels: bool = True
) -> Panel:
    """Paths (S, R, 2) of all drawn runs in one frame."""
    marks = []
    middle = len(points) // 2
    for replica in paths.replicas:
        across, up = points[:, replica].T
        texts = tuple(
            _score(paths, s, replica) if labels and s in (middle, len(points) - 1) else "" for s in range(len(points))
        )
        name = run_name(replica)
        shared = {"hover": _hover(paths, replica), "label": name}
        marks.append(Line(across, up, group=name, width=0.9, opacity=0.7))
        marks.append(Scatter(across, up, texts=texts, size=3.2, **shared))
        marks.append(Scatter(across[:1], up[:1], group=name, symbol="square", size=5.5))
        marks.append(Scatter(across[-1:], up[-1:], group=name, symbol="star", size=9.0))
    return Panel(x, y, tuple(marks), title=title, equal=equal)


def _component(k: int, ratio: np.ndarray) -> str:
    share = float(ratio[k])
    return f"component {k + 1} ({percent(share)} of variance)" if share else f"component {k + 1} (missing)"


def _component_axes(ratio: np.ndarray, **options: object) -> tuple[Axis, Axis]:
    return Axis(_component(0, ratio), **options), Axis(_component(1, ratio), **options)


def _score(paths: Paths, s: int, replica: int) -> str:
    value = float(paths.score[s, replica])
    return percent(value) if paths.is_share else number(value)


def _hover(paths: Paths, replica: int) -> tuple[str, ...]:
    return tuple(
        f"{run_name(replica)}, epoch {epoch:g}\n{paths.score_name} {_score(paths, s, replica)}"
        for s, epoch in enumerate(paths.epochs)
    )


def _positive(values: np.ndarray) -> np.ndarray:
    """A missing component has no place on a log axis: a gap, never a drawn zero."""
    return np.where(values > 0, values, np.nan)


def _spectrum(components: np.ndarray, values: np.ndarray, **options: object) -> Line:
    return Line(components, _positive(values), **options)


def _walk(length: int) -> np.ndarray:
    from thalweg.landscape import walk_ratio

    return walk_ratio(length, SPECTRUM).numpy()

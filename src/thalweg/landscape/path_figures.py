"""Pictures of trajectories in a few coordinates: paths in a plane and in space, and how far they lie from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from thalweg._short import short
from thalweg.figures import Axis, Band, Figure, Line, Lines, Mark, Panel, Path3D, Scatter, Scatter3D
from thalweg.figures.scales import number
from thalweg.results.words import percent
from thalweg.runs.curves import FAN

__all__ = ["SQUARE", "Labels", "component_names", "drawn", "off_plane", "path_panel", "space"]

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


@short
@dataclass(frozen=True, eq=False)
class Labels:
    """What is written at the points of paths.

    Args:
        names: (R,) of the runs.
        epochs: (S,) of the snapshots; None counts them.
        score: (S, R), written at some points and shown under the cursor; None writes nothing.
        score_name: Its words, such as "test accuracy".
        is_share: Whether the score is a share, written in percent.
    """

    names: tuple[str, ...]
    epochs: np.ndarray | None = None
    score: np.ndarray | None = None
    score_name: str = ""
    is_share: bool = False

    @classmethod
    def plain(cls, replicas: int) -> Labels:
        """The numbers of the replicas alone."""
        return cls(tuple(f"replica {r}" for r in range(replicas)))

    def text(self, s: int, replica: int) -> str:
        """The score at a point; empty without one."""
        if self.score is None:
            return ""
        value = float(self.score[s, replica])
        return percent(value) if self.is_share else number(value)

    def hover(self, replica: int, steps: np.ndarray) -> tuple[str, ...]:
        """What the cursor shows at some snapshots of a run."""
        places = [f"snapshot {s}" if self.epochs is None else f"epoch {self.epochs[s]:g}" for s in steps]
        scores = [f"\n{self.score_name} {self.text(s, replica)}" if self.score is not None else "" for s in steps]
        return tuple(f"{self.names[replica]}, {place}{score}" for place, score in zip(places, scores, strict=True))


def drawn(replicas: tuple[int, ...], length: int) -> tuple[tuple[int, ...], np.ndarray, str]:
    """The runs and snapshots that can be seen, and what is left out, as a sentence of the caption."""
    chosen = replicas[:RUNS]
    stride = max(1, -(-length * len(chosen) // POINTS))
    steps = np.unique(np.append(np.arange(0, length, stride), length - 1))
    parts = [f"the first {len(chosen)} of {len(replicas)} runs"] if len(chosen) < len(replicas) else []
    parts += [f"{len(steps)} of {length} snapshots"] if len(steps) < length else []
    words = f" Drawn are {' and '.join(parts)}; the frame and all numbers are those of everything." if parts else ""
    return chosen, steps, words


def path_panel(
    points: np.ndarray,
    replicas: tuple[int, ...],
    labels: Labels,
    names: tuple[str, str],
    *,
    title: str = "",
    reach: float | None = None,
    equal: bool = True,
) -> Panel:
    """Paths in one frame: a square at the start of each, a star at its end, scores where they have room.

    Args:
        points: (S, R, 2).
        replicas: The runs that have points.
        labels: What is written at them.
        names: Of the axes.
        title: Of the panel.
        reach: Half-width of the frame around zero, without scores; default what the points need.
        equal: One unit is as long along both axes.
    """
    chosen, steps, _ = drawn(replicas, len(points))
    used = points[:, list(replicas)].reshape(-1, 2)
    limits = _limits(used[np.isfinite(used).all(axis=1)]) if reach is None else ((-reach, reach), (-reach, reach))
    texts = _texts(labels, chosen, steps, points, max(b - a for a, b in limits)) if reach is None else {}
    marks: list[Mark] = []
    for replica in chosen:
        across, up = points[steps, replica].T
        name, hover = labels.names[replica], labels.hover(replica, steps)
        written = tuple(texts.get((s, replica), "") for s in steps.tolist())
        marks.append(Line(across, up, group=name, width=0.9, opacity=0.7))
        marks.append(Scatter(across, up, label=name, texts=written, hover=hover, size=3.2))
        marks.append(Scatter(across[:1], up[:1], group=name, symbol="square", size=5.5, hover=hover[:1]))
        marks.append(Scatter(across[-1:], up[-1:], group=name, symbol="star", size=9.0, hover=hover[-1:]))
    axes = Axis(names[0], limits=limits[0]), Axis(names[1], limits=limits[1])
    return Panel(*axes, tuple(marks), title=title, equal=equal)


def off_plane(
    hidden: np.ndarray, distance: np.ndarray, replicas: tuple[int, ...], labels: Labels, title: str = ""
) -> Panel:
    """The distance of every snapshot from a plane (S, R), beside that from the mean (S, R)."""
    used = list(replicas)
    hidden, distance = hidden[:, used], distance[:, used]
    x = np.arange(len(hidden)) if labels.epochs is None else labels.epochs
    words = tuple(labels.names[r] for r in used)
    marks = (
        Lines(x, hidden.T[:FAN], group="hidden", names=words[:FAN], opacity=0.5),
        Band(x, hidden.min(axis=1), hidden.max(axis=1), group="hidden"),
        Line(x, np.median(hidden, axis=1), label="off the plane", group="hidden", width=2.2),
        Band(x, distance.min(axis=1), distance.max(axis=1), group="all", opacity=0.12),
        Line(x, np.median(distance, axis=1), label="from the common mean", group="all", style="dashed"),
    )
    across = Axis("snapshot" if labels.epochs is None else "epoch")
    up = Axis("distance in weight space", limits=(0, 1.08 * float(distance.max())))
    return Panel(across, up, marks, title=title)


def space(
    points: np.ndarray,
    ratio: np.ndarray,
    replicas: tuple[int, ...],
    labels: Labels,
    *,
    name: str = "model",
    title: str = "",
) -> Figure:
    """Paths (S, R, 3) in three components, which explain the shares `ratio` (3,), to be turned."""
    chosen, steps, words = drawn(replicas, len(points))
    marks: list[Mark] = []
    for replica in chosen:
        x, y, z = points[steps, replica].T
        run, hover = labels.names[replica], labels.hover(replica, steps)
        marks.append(Path3D(x, y, z, label=run, width=1.4))
        marks.append(Scatter3D(x[:-1], y[:-1], z[:-1], group=run, hover=hover[:-1], size=2.5))
        texts = (labels.text(-1, replica),)
        end = points[-1:, replica].T
        marks.append(Scatter3D(*end, group=run, symbol="diamond", texts=texts, hover=hover[-1:], size=6.0))
    axes = [Axis(f"component {k + 1} ({percent(float(ratio[k]))})") for k in range(3)]
    scored = f", with the {labels.score_name}" if labels.score is not None else ""
    caption = (
        f"The first three joint principal components of the {name}, with the share of the variance that each explains "
        f"({percent(float(ratio.sum()))} together); diamonds are the ends{scored}.{words}"
    )
    panel = Panel(axes[0], axes[1], tuple(marks), z=axes[2], title=title)
    return Figure("pca-3d", "Paths of training in three components", caption, (panel,))


def component_names(ratio: np.ndarray) -> tuple[str, str]:
    """Words for the axes of the first two components; ratio (K,) are the shares of variance."""
    first, second = (
        f"component {k + 1} ({percent(float(ratio[k]))} of variance)" if ratio[k] else f"component {k + 1} (missing)"
        for k in range(2)
    )
    return first, second


def _limits(points: np.ndarray) -> tuple[tuple[float, float], tuple[float, float]]:
    """Ranges around all points (M, 2) in a frame that is neither flat nor narrow although its scales are equal."""
    low, high = points.min(axis=0), points.max(axis=0)
    half = 0.56 * (high - low)
    half = np.maximum(half, half.max() * FLATTEST)
    half = np.maximum(half, np.finfo(np.float32).tiny)
    centre = (low + high) / 2
    (left, bottom), (right, top) = centre - half, centre + half
    return (float(left), float(right)), (float(bottom), float(top))


def _texts(
    labels: Labels, chosen: tuple[int, ...], steps: np.ndarray, points: np.ndarray, span: float
) -> dict[tuple[int, int], str]:
    """Scores at the ends, and at middle snapshots, that are not too near to a point already labelled."""
    if labels.score is None:
        return {}
    taken: list[np.ndarray] = []
    out = {}
    middle = int(steps[len(steps) // 2])
    for s in dict.fromkeys((len(points) - 1, middle)):
        for replica in chosen:
            place = points[s, replica]
            if all(np.linalg.norm(place - other) > APART * span for other in taken):
                taken.append(place)
                out[s, replica] = labels.text(s, replica)
    return out

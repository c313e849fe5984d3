"""What both renderers need to know about a figure before they draw it: where its points lie and what to leave out."""

from __future__ import annotations

import functools
import itertools

import numpy as np

from thalweg.figures.fields import Contour, Heatmap
from thalweg.figures.figure import Figure, Panel
from thalweg.figures.guides import Arrows, HLine, Span, Text, VLine
from thalweg.figures.mark import Mark
from thalweg.figures.marks import Band, Bars, ErrorBars, Histogram, Line, Lines, Scatter
from thalweg.figures.scales import Axis, drawn_limits, forward, inverse
from thalweg.figures.spatial import Path3D, Scatter3D, Surface3D

__all__ = ["bar_axis", "bar_names", "edges", "empty", "notes", "points", "shared_view", "thinned", "view"]

MARGIN = 0.04
Points = tuple[np.ndarray, ...]


@functools.singledispatch
def points(mark: Mark) -> list[Points]:
    """Places that a mark wants visible: tuples of equally long x, y (and z); NaN where a coordinate does not matter."""
    raise NotImplementedError(type(mark).__name__)


@points.register(Line | Scatter)
def _(mark: Line | Scatter) -> list[Points]:
    return [(mark.x, mark.y)]


@points.register
def _(mark: Lines) -> list[Points]:
    return [(np.tile(mark.x, len(mark.y)), mark.y.ravel())]


@points.register
def _(mark: Band) -> list[Points]:
    return [(mark.x, mark.low), (mark.x, mark.high)]


@points.register
def _(mark: ErrorBars) -> list[Points]:
    vertical = [(mark.x, end) for end in (mark.low, mark.high) if end is not None]
    horizontal = [(end, mark.y) for end in (mark.left, mark.right) if end is not None]
    return [(mark.x, mark.y), *vertical, *horizontal]


@points.register
def _(mark: Histogram) -> list[Points]:
    nothing = np.full(len(mark.edges), np.nan)
    return [(mark.edges[:-1], mark.heights), (mark.edges, nothing), (np.array([np.nan]), np.zeros(1))]


@points.register
def _(mark: Bars) -> list[Points]:
    # The category positions are decided by the panel (bar_axis), so only the values matter here.
    ends = [mark.values, *(end for end in (mark.low, mark.high) if end is not None), np.zeros(1)]
    values = np.concatenate(ends)
    nowhere = np.full(len(values), np.nan)
    return [(values, nowhere) if mark.horizontal else (nowhere, values)]


@points.register(Heatmap | Contour)
def _(mark: Heatmap | Contour) -> list[Points]:
    if isinstance(mark, Contour):
        return [(mark.x[[0, -1]], mark.y[[0, -1]])]
    return [(edges(mark.x)[[0, -1]], edges(mark.y)[[0, -1]])]


@points.register
def _(mark: Arrows) -> list[Points]:
    return [(mark.x0, mark.y0), (mark.x1, mark.y1)]


@points.register
def _(mark: HLine) -> list[Points]:
    return [(np.array([np.nan]), np.array([mark.y]))]


@points.register
def _(mark: VLine) -> list[Points]:
    return [(np.array([mark.x]), np.array([np.nan]))]


@points.register
def _(mark: Span) -> list[Points]:
    ends, nowhere = np.array([mark.low, mark.high]), np.full(2, np.nan)
    return [(ends, nowhere) if mark.along == "x" else (nowhere, ends)]


@points.register
def _(mark: Text) -> list[Points]:
    return [(np.array([mark.x]), np.array([mark.y]))] if mark.frame == "data" else []


@points.register
def _(mark: Surface3D) -> list[Points]:
    x, y = np.meshgrid(mark.x, mark.y)
    return [(x.ravel(), y.ravel(), mark.z.ravel())]


@points.register(Path3D | Scatter3D)
def _(mark: Path3D | Scatter3D) -> list[Points]:
    return [(mark.x, mark.y, mark.z)]


def edges(centres: np.ndarray) -> np.ndarray:
    """The borders of cells with these centres.

    >>> edges(np.array([0.0, 1.0, 3.0])).tolist()
    [-0.5, 0.5, 2.0, 4.0]
    """
    if len(centres) == 1:
        return centres[0] + np.array([-0.5, 0.5])
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


def bar_names(panel: Panel) -> tuple[str, ...]:
    """The names of all bars of a panel in the order of appearance; bar k stands at place k of its axis."""
    return tuple(dict.fromkeys(name for mark in panel.marks if isinstance(mark, Bars) for name in mark.names))


def bar_axis(panel: Panel) -> str:
    """The axis along which the names of bars stand: ``"x"``, ``"y"``, or none (empty)."""
    bars = [mark for mark in panel.marks if isinstance(mark, Bars)]
    return "" if not bars else "y" if bars[0].horizontal else "x"


def axis_of(panel: Panel, which: str) -> Axis:
    """The axis of a panel called x, y, right or z."""
    found = getattr(panel, which)
    return found if found is not None else Axis()


def view(panel: Panel, which: str, within: tuple[float, float] | None = None) -> tuple[float, float]:
    """Lowest and highest value that an axis shows.

    Args:
        panel: Whose axis.
        which: ``"x"``, ``"y"``, ``"right"`` or ``"z"``.
        within: Look only at points with x in this interval (for the y axis of an inset).
    """
    axis = axis_of(panel, which)
    if which == bar_axis(panel):
        return -0.6, len(bar_names(panel)) - 0.4
    index = {"x": 0, "y": 1, "right": 1, "z": 2}[which]
    found = []
    for mark in panel.marks:
        if which in ("y", "right") and mark.side != ("right" if which == "right" else "left"):
            continue
        for place in points(mark):
            chosen = np.ones(len(place[0]), bool)
            if within is not None:
                chosen = np.isnan(place[0]) | ((place[0] >= within[0]) & (place[0] <= within[1]))
            found.append(np.asarray(place[index], dtype=np.float64)[chosen])
    low, high = drawn_limits(axis, *found)
    u_low, u_high = float(forward(axis, low)), float(forward(axis, high))
    fields = any(isinstance(mark, Heatmap | Contour) for mark in panel.marks)
    gap = 0.0 if fields else MARGIN * (u_high - u_low)
    floor = which == "y" and low == 0 and any(isinstance(mark, Histogram | Bars) for mark in panel.marks)
    floor = floor or (axis.scale == "power" and 0 <= u_low < gap)  # what is never negative gets no room below zero
    given = axis.limits
    return (
        low if given[0] is not None or floor else float(inverse(axis, u_low - gap)),
        high if given[1] is not None else float(inverse(axis, u_high + gap)),
    )


def shared_view(figure: Figure, index: int, which: str) -> tuple[float, float]:
    """The view of a panel's axis, in common with the panels that share it."""
    panels = [figure.panels[index]]
    columns = figure.grid[1]
    if which == "x" and figure.share_x:
        panels = list(figure.panels[index % columns :: columns])
    if which == "y" and figure.share_y:
        first = index - index % columns
        panels = list(figure.panels[first : first + columns])
    views = [view(panel, which) for panel in panels if not panel.spatial or which in ("x", "y")]
    return min(low for low, _ in views), max(high for _, high in views)


def empty(panel: Panel) -> bool:
    """Whether a panel has nothing to show: no mark, or none with a point that is finite and has a place on the axes."""
    return not any(_visible(panel, mark, place) for mark in panel.marks for place in points(mark))


def _visible(panel: Panel, mark: Mark, place: Points) -> bool:
    names = ("x", "right" if mark.side == "right" else "y", "z")
    drawn = [forward(axis_of(panel, name), values) for name, values in zip(names, place, strict=False)]
    finite = np.isfinite(np.stack(drawn))
    # Bars, bins and guides leave open the coordinate that does not matter to them.
    partial = isinstance(mark, HLine | VLine | Span | Text | Bars | Histogram)
    return bool(finite.any() if partial else finite.all(axis=0).any())


def thinned(x: np.ndarray, *ys: np.ndarray, limit: int = 4000) -> np.ndarray:
    """Indices of the points to draw of a long curve: lowest and highest of every stretch, so the outline stays.

    All points are kept if there are at most ``limit`` of them, or if x does not ascend (a path, not a graph).

    >>> len(thinned(np.arange(100_000), np.sin(np.arange(100_000)), limit=4000)) <= 4000
    True
    """
    count = len(x)
    if count <= limit or not np.all(np.diff(x) >= 0):
        return np.arange(count)
    borders = np.linspace(0, count, max(2, limit // (2 * len(ys))), dtype=int)
    kept = {0, count - 1}
    for y in ys:
        for start, end in itertools.pairwise(borders.tolist()):
            part = y[start:end]
            lacking = np.flatnonzero(~np.isfinite(part))
            if lacking.size:  # a gap must stay a gap
                kept.add(start + int(lacking[0]))
            if lacking.size < part.size:
                kept.update((start + int(np.nanargmin(part)), start + int(np.nanargmax(part))))
    return np.array(sorted(kept))


def notes(figure: Figure) -> tuple[str, ...]:
    """Sentences on what the picture cannot show: values that are not finite, or not positive on a log scale.

    >>> panel = Panel(Axis("epoch"), Axis("loss", scale="log"), (Line([0, 1, 2], [1.0, 0.0, float("nan")], label="a"),))
    >>> notes(Figure("f", "", "", (panel,)))
    ('Not drawn: 1 value NaN or infinite; 1 value ≤ 0 on the log axis "loss".',)
    """
    found = []
    for panel in figure.panels:
        undrawn, unplaced = 0, {}
        for mark in panel.marks:
            if isinstance(mark, HLine | VLine | Span | Text | Bars | Histogram):
                continue
            for place in points(mark):
                undrawn += int((~np.isfinite(np.stack([np.asarray(p, float) for p in place]))).any(axis=0).sum())
                names = ("x", "right" if mark.side == "right" else "y", "z")
                for name, values in zip(names, place, strict=False):
                    axis = axis_of(panel, name)
                    if axis.scale == "log":
                        unplaced[axis.label] = unplaced.get(axis.label, 0) + int((values <= 0).sum())
            if mark.shaded and not isinstance(mark, Surface3D):
                undrawn += int(np.isnan(mark.shaded[1]).sum())
        said = [f"{_count(undrawn)} NaN or infinite"] if undrawn else []
        said += [f'{_count(n)} ≤ 0 on the log axis "{label}"' for label, n in unplaced.items() if n]
        if said:
            where = f"{panel.title}: not" if panel.title else "Not"
            found.append(f"{where} drawn: {'; '.join(said)}.")
    return tuple(dict.fromkeys(found))


def _count(number: int) -> str:
    return "1 value" if number == 1 else f"{number} values"

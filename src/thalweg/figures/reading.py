"""What both renderers need to know about a figure before they draw it: where its points lie and what to leave out."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

import numpy as np

from thalweg.figures.fields import Contour, Heatmap
from thalweg.figures.figure import Figure, Panel
from thalweg.figures.guides import Arrows, HLine, Span, Text, VLine
from thalweg.figures.mark import Mark
from thalweg.figures.marks import Band, Bars, ErrorBars, Histogram, Line, Lines, Scatter
from thalweg.figures.rulers import one_value
from thalweg.figures.scales import MOST, Axis, Scale, drawable, drawn_limits, forward, inverse, placed
from thalweg.figures.spatial import Path3D, Scatter3D, Surface3D
from thalweg.figures.undrawn import notes

__all__ = [
    "axis_of",
    "bar_axis",
    "bar_names",
    "bins",
    "edges",
    "empty",
    "gapped",
    "in_place",
    "notes",
    "only",
    "points",
    "shared_view",
    "sharing",
    "span_ends",
    "thinned",
    "view",
]

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
    return [(mark.x[[0, -1]], mark.y[[0, -1]])]


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


def edges(centres: np.ndarray, axis: Scale | None = None) -> np.ndarray:
    """The borders of cells with these centres, half-way between them on the axis.

    >>> edges(np.array([0.0, 1.0, 3.0])).tolist()
    [-0.5, 0.5, 2.0, 4.0]
    >>> edges(np.array([1.0, 100.0]), Axis(scale="log")).round(1).tolist()
    [0.1, 10.0, 1000.0]
    """
    axis = Axis() if axis is None else axis
    u = forward(axis, centres)
    if len(u) == 1:
        half = 0.5 if abs(u[0]) < 1e6 else 0.05 * abs(u[0])
        found = u[0] + np.array([-half, half])
    else:
        middle = u[1:] / 2 + u[:-1] / 2
        found = np.concatenate([[u[0] + (u[0] - middle[0])], middle, [u[-1] + (u[-1] - middle[-1])]])
    return np.array([drawable(axis, border) for border in inverse(axis, found).tolist()])


def gapped(values: np.ndarray, axis: Scale | None = None) -> np.ndarray:
    """Values with a gap (NaN) where one is not finite, or has no place on an axis."""
    found = np.asarray(values, dtype=np.float64)
    drawn = found if axis is None else forward(axis, found)
    return np.where(np.isfinite(found) & np.isfinite(drawn), found, np.nan)


def bins(mark: Histogram, axis: Scale) -> tuple[np.ndarray, np.ndarray]:
    """The edges of a histogram that have a place, and the heights between them, NaN where a bin lacks an edge."""
    kept = np.flatnonzero(np.isfinite(forward(axis, mark.edges)) & np.isfinite(mark.edges))
    whole = np.diff(kept) == 1
    edges_ = np.array([min(drawable(axis, edge), MOST) for edge in mark.edges[kept].tolist()])
    return edges_, np.where(whole, gapped(mark.heights)[kept[:-1]], np.nan)


def span_ends(axis: Scale, low: float, high: float, shown: tuple[float, float]) -> tuple[float, float] | None:
    """The ends of a span, those without a place (or infinite) at the end of what is shown; None if one is NaN.

    >>> span_ends(Axis(scale="log"), -1.0, float("inf"), (0.1, 10.0))
    (0.1, 10.0)
    """
    if np.isnan([low, high]).any():
        return None
    ends = [end if placed(axis, np.array(end)).size else shown[int(end > 0)] for end in (low, high)]
    return ends[0], ends[1]


def in_place(panel: Panel, mark: Heatmap | Contour) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the columns and rows of a field that have a place on its axes."""
    names = ("x", "right" if mark.side == "right" else "y")
    found = []
    for name, values in zip(names, (mark.x, mark.y), strict=True):
        axis = axis_of(panel, name)
        has = np.isfinite(forward(axis, values)) & (np.abs(values) <= (MOST if axis.scale != "log" else np.inf))
        found.append(np.flatnonzero(has))
    return found[0], found[1]


def bar_names(panel: Panel) -> tuple[str, ...]:
    """The names of all bars of a panel in the order of appearance; bar k stands at place k of its axis."""
    return tuple(dict.fromkeys(name for mark in panel.marks if isinstance(mark, Bars) for name in mark.names))


def bar_axis(panel: Panel) -> str:
    """The axis along which the names of bars stand: ``"x"``, ``"y"``, or none (empty)."""
    bars = [mark for mark in panel.marks if isinstance(mark, Bars)]
    return "" if not bars else "y" if bars[0].horizontal else "x"


def axis_of(panel: Panel, which: str) -> Axis:
    """The axis of a panel called x, y, right or z."""
    return panel.axis(which)


def _coordinates(panel: Panel, which: str, within: tuple[float, float] | None = None) -> list[np.ndarray]:
    """The places of all marks along an axis, those with x in an interval if one is given."""
    index = {"x": 0, "y": 1, "right": 1, "z": 2}[which]
    found = []
    for mark in panel.marks:
        if which in ("y", "right") and mark.side != ("right" if which == "right" else "left"):
            continue
        if isinstance(mark, Heatmap) or (isinstance(mark, Contour) and 1 in mark.z.shape):  # cells, not places
            centres = (mark.x, mark.y)[index][in_place(panel, mark)[index]]
            found += [edges(centres, axis_of(panel, which))] if len(centres) else []
            continue
        for place in points(mark):
            chosen = np.ones(len(place[0]), bool)
            if within is not None:
                chosen = np.isnan(place[0]) | ((place[0] >= within[0]) & (place[0] <= within[1]))
            found.append(np.asarray(place[index], dtype=np.float64)[chosen])
    return found


def view(panel: Panel, which: str, within: tuple[float, float] | None = None) -> tuple[float, float]:
    """Lowest and highest value that an axis shows.

    Args:
        panel: Whose axis.
        which: ``"x"``, ``"y"``, ``"right"`` or ``"z"``.
        within: Look only at points with x in this interval (for the y axis of an inset).
    """
    axis = axis_of(panel, which)
    if which == bar_axis(panel):
        return -0.6, max(1, len(bar_names(panel))) - 0.4
    low, high = drawn_limits(axis, *_coordinates(panel, which, within))
    u_low, u_high = float(forward(axis, low)), float(forward(axis, high))
    fields = any(isinstance(mark, Heatmap | Contour) for mark in panel.marks)
    gap = 0.0 if fields else MARGIN * (u_high - u_low)
    floor = which == "y" and low == 0 and any(isinstance(mark, Histogram | Bars) for mark in panel.marks)
    floor = floor or (axis.scale == "power" and 0 <= u_low < gap)  # what is never negative gets no room below zero
    given = axis.limits
    return (
        low if given[0] is not None or floor else drawable(axis, float(inverse(axis, u_low - gap))),
        high if given[1] is not None else drawable(axis, float(inverse(axis, u_high + gap))),
    )


def sharing(figure: Figure, index: int, which: str) -> list[Panel]:
    """The panels whose axis is one with that of a panel."""
    columns = figure.grid[1]
    if which == "x" and figure.share_x:
        return list(figure.panels[index % columns :: columns])
    if which == "y" and figure.share_y:
        first = index - index % columns
        return list(figure.panels[first : first + columns])
    return [figure.panels[index]]


def shared_view(figure: Figure, index: int, which: str) -> tuple[float, float]:
    """The view of a panel's axis, in common with the panels that share it."""
    panels = sharing(figure, index, which)
    views = [view(panel, which) for panel in panels if not panel.spatial or which in ("x", "y")]
    return min(low for low, _ in views), max(high for _, high in views)


def only(panels: Sequence[Panel], which: str) -> float | None:
    """The one value that all points have along an axis that follows the data; None if they differ, or none is drawn."""
    axes = [axis_of(panel, which) for panel in panels]
    if any(axis.ticks or axis.limits != (None, None) for axis in axes) or which == bar_axis(panels[0]):
        return None
    return one_value(axes[0], *(values for panel in panels for values in _coordinates(panel, which)))


def empty(panel: Panel) -> bool:
    """Whether a panel has nothing to show: no mark, or none with a point that is finite and has a place on the axes."""
    return not any(_shown(panel, mark) for mark in panel.marks)


def _shown(panel: Panel, mark: Mark) -> bool:
    if isinstance(mark, Heatmap | Contour):
        columns, rows = in_place(panel, mark)
        return bool(placed(mark.scale, mark.z[np.ix_(rows, columns)]).size)
    if isinstance(mark, Histogram):
        return bool(np.isfinite(bins(mark, panel.axis("x"))[1]).any())
    if isinstance(mark, Bars):
        which = "x" if mark.horizontal else "right" if mark.side == "right" else "y"
        return bool(placed(panel.axis(which), mark.values).size)
    return any(_visible(panel, mark, place) for place in points(mark))


def _visible(panel: Panel, mark: Mark, place: Points) -> bool:
    names = ("x", "right" if mark.side == "right" else "y", "z")
    drawn = [forward(axis_of(panel, name), values) for name, values in zip(names, place, strict=False)]
    finite = np.isfinite(np.stack(drawn))
    # Guides leave open the coordinate that does not matter to them.
    partial = isinstance(mark, HLine | VLine | Span | Text)
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

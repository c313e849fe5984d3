"""Drawing curves, points and bars."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.collections import LineCollection

from thalweg.figures.marks import Band, Bars, ErrorBars, Histogram, Line, Lines, Scatter
from thalweg.figures.matplotlib.canvas import Canvas, draw
from thalweg.figures.matplotlib.style import DASHES, SYMBOLS
from thalweg.figures.palette import INK, PAPER, mixed, shades
from thalweg.figures.reading import bar_names, bins, gapped, thinned
from thalweg.figures.scales import forward, placed

DENSE = 5000  # points above which a layer becomes an image inside the SVG


@draw.register
def _(mark: Line, canvas: Canvas) -> None:
    chosen = thinned(mark.x, mark.y)
    shown = canvas.stroke(mark, linewidth=mark.width)
    if mark.symbol:
        shown |= {"marker": SYMBOLS[mark.symbol], "markersize": 3.0 + mark.width, "markeredgewidth": 0}
    way = "steps-post" if mark.steps else "default"
    canvas.axes(mark).plot(*canvas.gaps(mark, mark.x[chosen], mark.y[chosen]), drawstyle=way, **shown)
    canvas.line_sample(mark.label, **shown)


@draw.register
def _(mark: Lines, canvas: Canvas) -> None:
    axes = canvas.axes(mark)
    limit = max(200, 60_000 // max(1, len(mark.y)))
    curves = [
        np.column_stack(canvas.gaps(mark, mark.x[c], y[c])) for y in mark.y for c in [thinned(mark.x, y, limit=limit)]
    ]
    colour: Any = canvas.colours.of(mark)
    if mark.values is not None:
        colour = shades(mark.scale, canvas.colours.ends(mark.scale), mark.values)
    opacity = mark.opacity
    axes.add_collection(LineCollection(curves, colors=colour, linewidths=mark.width, alpha=opacity), autolim=False)
    if mark.values is None:
        canvas.line_sample(mark.label, color=colour, linewidth=mark.width, alpha=opacity)


@draw.register
def _(mark: Band, canvas: Canvas) -> None:
    chosen = thinned(mark.x, mark.low, mark.high)
    colour = canvas.colours.of(mark)
    x, low, high = (gapped(values[chosen]) for values in (mark.x, mark.low, mark.high))
    canvas.axes(mark).fill_between(x, low, high, color=colour, alpha=mark.opacity, linewidth=0)
    canvas.area_sample(mark.label, colour, mark.opacity)


@draw.register
def _(mark: Scatter, canvas: Canvas) -> None:
    axes, colours = canvas.axes(mark), canvas.colours
    words = mark.categories or ("",) * len(mark.x)
    for word in dict.fromkeys(words):
        chosen = np.array([w == word for w in words], dtype=bool)
        colour = colours.of(mark, word) if mark.categories else colours.of(mark)
        if mark.joined:
            axes.plot(
                *canvas.gaps(mark, mark.x[chosen], mark.y[chosen]),
                color=colour,
                linewidth=0.8,
                alpha=0.6 * mark.opacity,
            )
        if mark.categories:
            canvas.point_sample(word, colour, mark.symbol, _largest(mark))
    kinds = mark.markers or ("",) * len(mark.x)
    for kind in dict.fromkeys(kinds):
        chosen = np.array([k == kind for k in kinds], dtype=bool)
        symbol = colours.symbol(kind, mark.symbol)
        axes.scatter(
            *canvas.gaps(mark, mark.x[chosen], mark.y[chosen]),
            s=np.broadcast_to(np.square(mark.size), chosen.shape)[chosen],
            c=[c for c, keep in zip(point_colours(mark, canvas), chosen, strict=True) if keep],
            marker=SYMBOLS[symbol],
            alpha=mark.opacity,
            linewidths=0.4,
            edgecolors=PAPER if mark.values is None else mixed(INK, PAPER, 0.4),
            rasterized=len(mark.x) > DENSE,
            zorder=2.1,  # matplotlib would lay them beneath every line
        )
        if mark.markers:
            canvas.point_sample(kind, mixed(INK, PAPER, 0.4), symbol, _largest(mark))
    if not mark.categories and mark.values is None:
        canvas.point_sample(mark.label, colours.of(mark), mark.symbol, _largest(mark))
    if not canvas.close_up:
        for x, y, text in zip(mark.x.tolist(), mark.y.tolist(), mark.texts, strict=False):
            place = zip(canvas.rulers(mark), (x, y), strict=True)
            if text and all(placed(axis, np.array(value)).size for axis, value in place):
                canvas.labels.append((axes, x, y, text, INK))


def point_colours(mark: Any, canvas: Canvas) -> list[str]:
    """The colour of every point of a ``Scatter`` or ``Scatter3D``."""
    if mark.values is not None:
        return shades(mark.scale, canvas.colours.ends(mark.scale), mark.values)
    if mark.categories:
        return [canvas.colours.of(mark, word) for word in mark.categories]
    return [canvas.colours.of(mark)] * len(mark.x)


def _largest(mark: Scatter) -> float:
    return max(mark.size, default=5.0) if isinstance(mark.size, tuple) else mark.size


@draw.register
def _(mark: ErrorBars, canvas: Canvas) -> None:
    colour = canvas.colours.of(mark)
    shown: dict[str, Any] = {"color": colour, "alpha": mark.opacity}
    spread = {}
    for name, centre, low, high in (("yerr", mark.y, mark.low, mark.high), ("xerr", mark.x, mark.left, mark.right)):
        if low is not None and high is not None:
            spread[name] = _lengths(centre, low, high)
    if mark.symbol:
        shown |= {"marker": SYMBOLS[mark.symbol], "markersize": mark.size, "markeredgewidth": 0}
    line = DASHES[canvas.colours.style(mark)] if mark.joined else "none"
    bars = {"elinewidth": 1.1, "capsize": 2.2, "capthick": 1.1}
    canvas.axes(mark).errorbar(
        *canvas.gaps(mark, mark.x, mark.y), **spread, **shown, **bars, linestyle=line, linewidth=1.2
    )
    canvas.line_sample(mark.label, **shown, linestyle=line if mark.joined or mark.symbol else "-", linewidth=1.2)


def _lengths(centre: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """How far intervals reach either way, as matplotlib wants it.

    One that excludes its own centre is drawn as far as it reaches, an end that is not finite is left out.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        found = np.stack([centre - low, high - centre])
    return np.maximum(np.where(np.isfinite(found), found, 0.0), 0)


@draw.register
def _(mark: Histogram, canvas: Canvas) -> None:
    colour, axes = canvas.colours.of(mark), canvas.axes(mark)
    which = "right" if mark.side == "right" else "y"
    floor = 0.0 if canvas.view[which][0] <= 0 else canvas.view[which][0]
    edges, heights = bins(mark, canvas.rulers(mark)[0])
    if len(edges) < 2:
        return
    if mark.filled:
        axes.stairs(heights, edges, baseline=floor, fill=True, color=colour, alpha=0.35 * mark.opacity)
        canvas.area_sample(mark.label, colour, 0.35 * mark.opacity)
    axes.stairs(heights, edges, baseline=floor, color=colour, alpha=mark.opacity, linewidth=1.0)
    if not mark.filled:
        canvas.line_sample(mark.label, color=colour, alpha=mark.opacity, linewidth=1.0)


@draw.register
def _(mark: Bars, canvas: Canvas) -> None:
    together = [other for other in canvas.panel.marks if isinstance(other, Bars)]
    width = 0.8 / len(together)
    shift = (next(i for i, other in enumerate(together) if other is mark) - (len(together) - 1) / 2) * width
    names = bar_names(canvas.panel)
    places = np.array([names.index(name) for name in mark.names]) + shift
    colour, axes = canvas.colours.of(mark), canvas.axes(mark)
    value_axis = "x" if mark.horizontal else "right" if mark.side == "right" else "y"
    floor = 0.0 if canvas.view[value_axis][0] <= 0 else canvas.view[value_axis][0]
    spread = None
    if mark.low is not None and mark.high is not None:
        spread = _lengths(mark.values, mark.low, mark.high)
    shown = {"color": colour, "alpha": 0.85 * mark.opacity, "ecolor": INK, "capsize": 2.2, "linewidth": 0}
    shown |= {"error_kw": {"elinewidth": 1.0, "capthick": 1.0}}
    heights = np.where(np.isfinite(forward(canvas.panel.axis(value_axis), mark.values)), gapped(mark.values), np.nan)
    heights = heights - floor
    if mark.horizontal:
        axes.barh(places, heights, 0.92 * width, left=floor, xerr=spread, **shown)
    else:
        axes.bar(places, heights, 0.92 * width, bottom=floor, yerr=spread, **shown)
    canvas.area_sample(mark.label, colour, 0.85 * mark.opacity)

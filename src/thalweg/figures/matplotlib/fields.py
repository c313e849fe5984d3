"""Drawing fields: heat maps and level lines.

Colours are shares of their scale (0 its lower end, 1 its upper one), because matplotlib's own arithmetic knows neither
very small nor very large numbers. What is not finite stays grey.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.colors import Normalize

from thalweg.figures.fields import Contour, Heatmap
from thalweg.figures.matplotlib.canvas import Canvas, draw, halo
from thalweg.figures.matplotlib.style import colormap
from thalweg.figures.palette import EMPTY, INK, PAPER, mixed, shades, shares
from thalweg.figures.reading import edges, in_place
from thalweg.figures.rulers import levels, worded
from thalweg.figures.scales import drawn_limits


@draw.register
def _(mark: Heatmap, canvas: Canvas) -> None:
    ends = canvas.colours.ends(mark.scale)
    axes = canvas.axes(mark)
    columns, rows = _cells(mark, canvas)
    if canvas.close_up or not len(columns) or not len(rows):
        return
    backs = shades(mark.scale, ends, mark.z)
    for i, j in ((i, j) for i in rows.tolist() for j in columns.tolist() if mark.texts):
        bright = np.mean([int(backs[i * len(mark.x) + j][k : k + 2], 16) for k in (1, 3, 5)]) > 130
        centred = {"ha": "center", "va": "center", "fontsize": 7.5}
        axes.text(mark.x[j], mark.y[i], mark.texts[i][j], color=INK if bright else PAPER, **centred)


def _cells(mark: Heatmap | Contour, canvas: Canvas) -> tuple[np.ndarray, np.ndarray]:
    """Draws coloured cells; the numbers of the columns and rows that have a place."""
    axes = canvas.axes(mark)
    axes.set_facecolor(EMPTY)
    columns, rows = in_place(canvas.panel, mark)
    if len(columns) and len(rows):
        x_axis, y_axis = canvas.rulers(mark)
        share = shares(mark.scale, canvas.colours.ends(mark.scale), mark.z[np.ix_(rows, columns)])
        shown = {"cmap": colormap(mark.scale), "norm": Normalize(0, 1), "alpha": mark.opacity, "rasterized": True}
        borders = edges(mark.x[columns], x_axis), edges(mark.y[rows], y_axis)
        axes.pcolormesh(*borders, np.ma.masked_invalid(share), **shown)
    return columns, rows


@draw.register
def _(mark: Contour, canvas: Canvas) -> None:
    axes = canvas.axes(mark)
    if not mark.shaded:
        canvas.line_sample(mark.label, color=canvas.colours.of(mark), linewidth=1.0)
    columns, rows = in_place(canvas.panel, mark)
    if min(len(columns), len(rows)) < 2:  # there is nothing between one row and the next
        if mark.shaded:
            _cells(mark, canvas)
        return
    x, y, z = mark.x[columns], mark.y[rows], mark.z[np.ix_(rows, columns)]
    ends = canvas.colours.ends(mark.scale) if mark.shaded else drawn_limits(mark.scale, z)
    share = np.ma.masked_invalid(shares(mark.scale, ends, z))
    values = levels(mark.scale, *ends, mark.count) if mark.levels is None else mark.levels
    words = dict(zip(shares(mark.scale, ends, values).tolist(), worded(values), strict=True))
    shown: dict[str, Any] = {"cmap": colormap(mark.scale), "norm": Normalize(0, 1)}
    if not mark.shaded:
        shown = {"colors": [canvas.colours.of(mark)]}
    elif mark.filled:
        axes.set_facecolor(EMPTY)
        steps = np.unique([0.0, 1.0, *(place for place in words if np.isfinite(place))])
        axes.contourf(x, y, share, steps, extend="both", **shown, alpha=mark.opacity)
        shown = {"colors": [mixed(INK, PAPER, 0.15)]}
    # a level that no value reaches has no line, and matplotlib would warn of it
    low, high = (float(share.min()), float(share.max())) if share.count() else (0.0, 0.0)
    places = [place for place in words if low < place < high]
    if not places:
        return
    strokes = {"linewidths": 0.6 if mark.filled else 1.0, "alpha": 0.55 if mark.filled else mark.opacity}
    lines = axes.contour(x, y, share, places, **shown, **strokes, linestyles="solid")
    if mark.labels and not canvas.close_up:
        for text in axes.clabel(lines, fmt=words, fontsize=7, inline=True, inline_spacing=3, colors=[INK]):
            halo(text)
            text.set_alpha(1.0)

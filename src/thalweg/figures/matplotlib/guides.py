"""Drawing what explains a panel: lines across it, spans, arrows and words."""

from __future__ import annotations

from typing import Any

import numpy as np

from thalweg.figures.guides import Arrows, HLine, Span, Text, VLine
from thalweg.figures.matplotlib.canvas import Canvas, draw, halo
from thalweg.figures.matplotlib.style import DASHES
from thalweg.figures.palette import INK, PAPER, mixed
from thalweg.figures.reading import span_ends
from thalweg.figures.scales import forward, placed


@draw.register
def _(mark: Arrows, canvas: Canvas) -> None:
    axes, colour = canvas.axes(mark), canvas.colours.of(mark)
    way = {"arrowstyle": "-|>,head_length=0.45,head_width=0.18" if mark.head else "-"}
    way |= {
        "color": colour,
        "alpha": mark.opacity,
        "linewidth": mark.width,
        "shrinkA": 0,
        "shrinkB": 4 if mark.head else 0,
    }
    way |= {"linestyle": DASHES[canvas.colours.style(mark)]}
    ends = np.stack([mark.x0, mark.y0, mark.x1, mark.y1], axis=1)
    x_axis, y_axis = canvas.rulers(mark)
    drawn = [np.isfinite(forward(axis, ends[:, k])) for k, axis in enumerate((x_axis, y_axis) * 2)]
    for x0, y0, x1, y1 in ends[np.all(drawn, axis=0)].tolist():
        axes.annotate("", (x1, y1), (x0, y0), arrowprops=way, annotation_clip=True)
    canvas.line_sample(mark.label, color=colour, linewidth=mark.width, alpha=mark.opacity)


@draw.register
def _(mark: HLine, canvas: Canvas) -> None:
    axes, shown = canvas.axes(mark), canvas.stroke(mark, linewidth=mark.width)
    canvas.line_sample(mark.label, **shown)
    if not placed(canvas.rulers(mark)[1], np.array(mark.y)).size:
        return
    axes.axhline(mark.y, **shown, zorder=1.8)
    low, high = canvas.view["right" if mark.side == "right" else "y"]
    if mark.text and not canvas.close_up and low <= mark.y <= high:  # words outside would push the panel aside
        place = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points", "xytext": (-3, 2)}
        words = axes.annotate(mark.text, (1.0, mark.y), **place, ha="right", va="bottom", fontsize=7.5)
        words.set_color(shown["color"])
        halo(words)


@draw.register
def _(mark: VLine, canvas: Canvas) -> None:
    axes, shown = canvas.axes(mark), canvas.stroke(mark, linewidth=mark.width)
    canvas.line_sample(mark.label, **shown)
    if not placed(canvas.rulers(mark)[0], np.array(mark.x)).size:
        return
    axes.axvline(mark.x, **shown, zorder=1.8)
    low, high = canvas.view["x"]
    if mark.text and not canvas.close_up and low <= mark.x <= high:
        _beside(mark.text, mark.x, shown["color"], axes, canvas)


def _beside(text: str, x: float, colour: str, axes: Any, canvas: Canvas) -> None:
    """Words at the upper end of a vertical line, on the side that has more room."""
    low, high = forward(canvas.panel.x, np.array(canvas.view["x"]))
    right = (forward(canvas.panel.x, x) - low) / (high - low) < 0.6
    place = {"xycoords": axes.get_xaxis_transform(), "textcoords": "offset points"}
    place |= {"xytext": (3 if right else -3, -2), "ha": "left" if right else "right", "va": "top"}
    halo(axes.annotate(text, (x, 1.0), **place, fontsize=7.5, color=colour))


@draw.register
def _(mark: Span, canvas: Canvas) -> None:
    axes, colour = canvas.axes(mark), canvas.colours.of(mark)
    canvas.area_sample(mark.label, colour, mark.opacity)
    which = "x" if mark.along == "x" else "right" if mark.side == "right" else "y"
    ends = span_ends(canvas.panel.axis(which), mark.low, mark.high, canvas.view[which])
    if ends is None:
        return
    (axes.axvspan if mark.along == "x" else axes.axhspan)(*ends, color=colour, alpha=mark.opacity, lw=0)
    low, high = canvas.view[which]
    if mark.text and not canvas.close_up and ends[0] <= high and ends[1] >= low:
        ends = max(ends[0], low), min(ends[1], high)
        if mark.along == "x":
            _beside(mark.text, ends[0], colour, axes, canvas)
        else:
            place = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points", "xytext": (-3, -2)}
            words = axes.annotate(mark.text, (1.0, ends[1]), **place, ha="right", va="top", fontsize=7.5)
            words.set_color(colour)
            halo(words)


@draw.register
def _(mark: Text, canvas: Canvas) -> None:
    places = zip(canvas.rulers(mark), (mark.x, mark.y), strict=True)
    if canvas.close_up or (mark.frame == "data" and not all(placed(a, np.array(v)).size for a, v in places)):
        return
    axes = canvas.axes(mark)
    where = "data" if mark.frame == "data" else "axes fraction"
    place = {"xycoords": where, "textcoords": "offset points", "xytext": mark.offset}
    side = {"left": "left", "centre": "center", "right": "right"}[mark.anchor]
    words = axes.annotate(mark.text, (mark.x, mark.y), **place, ha=side, va="center", fontsize=8)
    words.set(color=canvas.colours.of(mark), alpha=mark.opacity)
    if mark.boxed:
        words.set_bbox({"facecolor": PAPER, "edgecolor": mixed(INK, PAPER, 0.8), "linewidth": 0.6, "pad": 2.5})
    else:
        halo(words)

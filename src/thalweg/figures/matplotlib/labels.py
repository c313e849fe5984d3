"""Words beside points, moved around them until they hide as little as possible."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.transforms import Bbox

from thalweg.figures.marks import Scatter
from thalweg.figures.matplotlib.canvas import Canvas, halo
from thalweg.figures.reading import gapped

__all__ = ["place_labels"]

# Offset in points, and which side of the words touches the point, in the order of preference.
PLACES = (
    ((4, 3), "left", "bottom"),
    ((4, -3), "left", "top"),
    ((-4, 3), "right", "bottom"),
    ((-4, -3), "right", "top"),
    ((0, 5), "center", "bottom"),
    ((0, -5), "center", "top"),
    ((14, 9), "left", "bottom"),
    ((14, -9), "left", "top"),
    ((-14, 9), "right", "bottom"),
    ((-14, -9), "right", "top"),
)


def place_labels(canvas: Canvas) -> None:
    """Write the labels that a panel has collected; all of them, each where it overlaps least, and inside the frame."""
    if not canvas.labels:
        return
    page: Any = canvas.left.get_figure(root=True)
    renderer = page.canvas.get_renderer()
    frame = canvas.left.get_window_extent(renderer)
    points = [
        canvas.axes(m).transData.transform(np.c_[gapped(m.x), gapped(m.y)])
        for m in canvas.panel.marks
        if isinstance(m, Scatter)
    ]
    dots = np.concatenate(points)
    taken: list[Bbox] = []
    for axes, x, y, text, colour in canvas.labels:
        words: Any = axes.annotate(text, (x, y), xytext=(0, 0), textcoords="offset points", fontsize=7, color=colour)
        halo(words)
        words.set_in_layout(False)
        best, cheapest = PLACES[0], float("inf")
        for rank, place in enumerate(PLACES):
            _put(words, place)
            box = words.get_window_extent(renderer)
            cost = 0.01 * rank + _cost(box, taken, dots, frame)
            if cost < cheapest:
                best, cheapest = place, cost
            if cheapest < 0.1:
                break
        _put(words, best)
        if abs(best[0][0]) > 10:  # a far label needs a line to its point
            way = {"arrowstyle": "-", "linewidth": 0.4, "color": colour, "shrinkA": 0, "shrinkB": 2}
            line = axes.annotate("", (x, y), best[0], textcoords="offset points", arrowprops=way)
            line.set_in_layout(False)
        taken.append(words.get_window_extent(renderer))


def _put(words: Any, place: tuple[tuple[int, int], str, str]) -> None:
    words.set(position=place[0], horizontalalignment=place[1], verticalalignment=place[2])


def _cost(box: Bbox, taken: list[Bbox], dots: np.ndarray, frame: Bbox) -> float:
    """Overlap with other labels in shares of this one, points beneath it, and what sticks out of the frame."""
    area = box.width * box.height or 1.0
    common = sum(inter.width * inter.height for other in taken if (inter := Bbox.intersection(box, other)) is not None)
    inside = (dots > box.min).all(axis=1) & (dots < box.max).all(axis=1)
    visible = Bbox.intersection(box, frame)
    outside = 1 - (visible.width * visible.height / area if visible is not None else 0.0)
    return 4 * common / area + 0.3 * int(inside.sum()) + 6 * outside

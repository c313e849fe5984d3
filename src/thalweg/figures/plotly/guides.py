"""Lines across a panel, spans, arrows and words: plotly's shapes and annotations beside its traces."""

from __future__ import annotations

from typing import Any

import numpy as np

from thalweg.figures.guides import Arrows, HLine, Span, Text, VLine
from thalweg.figures.mark import Mark
from thalweg.figures.palette import MUTED, PAPER
from thalweg.figures.plotly.frame import Frame, numbers, rgba, traces, words
from thalweg.figures.reading import span_ends
from thalweg.figures.scales import placed

__all__ = ["annotations", "shapes"]


@traces.register(HLine | VLine | Span | Text)
def _(mark: Mark, frame: Frame) -> list[dict[str, Any]]:
    return []


@traces.register
def _(mark: Arrows, frame: Frame) -> list[dict[str, Any]]:
    gap = np.full(len(mark.x0), np.nan)
    x = np.stack([mark.x0, mark.x1, gap], axis=1).ravel()
    y = np.stack([mark.y0, mark.y1, gap], axis=1).ravel()
    trace: dict[str, Any] = {"type": "scatter", "mode": "lines", "line": frame.line(mark, mark.width)}
    if mark.head:
        sizes = np.tile([0.0, 9.0, 0.0], len(mark.x0))
        heads = {"symbol": "arrow", "angleref": "previous", "size": sizes.tolist(), "standoff": 5, "opacity": 1}
        trace |= {"mode": "lines+markers", "marker": heads | {"color": trace["line"]["color"]}}
    trace |= {"x": numbers(frame.put(mark, "x", x)), "y": numbers(frame.put(mark, "y", y)), "hoverinfo": "skip"}
    return [trace | {"opacity": mark.opacity} | frame.home(mark) | frame.entry(mark.label, mark.key)]


def shapes(mark: Mark, frame: Frame) -> list[dict[str, Any]]:
    """The shapes of a mark."""
    if not isinstance(mark, HLine | VLine | Span):
        return []
    along, ends = _ends(mark, frame)
    if ends is None:
        return []
    low, high = frame.put(mark, along, np.array(ends, dtype=float)).tolist()
    x_ref, y_ref = frame.refs["x"], frame.refs["right" if mark.side == "right" else "y"]
    if along == "x":
        shape: dict[str, Any] = {"xref": x_ref, "x0": low, "x1": high, "yref": f"{y_ref} domain", "y0": 0, "y1": 1}
    else:
        shape = {"yref": y_ref, "y0": low, "y1": high, "xref": f"{x_ref} domain", "x0": 0, "x1": 1}
    if isinstance(mark, Span):
        fill = rgba(frame.colours.of(mark), mark.opacity)
        shape |= {"type": "rect", "fillcolor": fill, "line": {"width": 0}, "layer": "below"}
    else:
        shape |= {"type": "line", "line": frame.line(mark, mark.width), "layer": "above", "opacity": mark.opacity}
    return [shape | frame.entry(mark.label, mark.key)]


def _ends(mark: HLine | VLine | Span, frame: Frame) -> tuple[str, tuple[float, float] | None]:
    """The axis along which a guide has a place, and its ends there; None if it has no place."""
    along = "x" if isinstance(mark, VLine) or (isinstance(mark, Span) and mark.along == "x") else "y"
    axis, shown = frame.axis(mark, along), frame.view["right" if along == "y" and mark.side == "right" else along]
    if isinstance(mark, Span):
        return along, span_ends(axis, mark.low, mark.high, shown)
    level = mark.y if isinstance(mark, HLine) else mark.x
    return along, (level, level) if placed(axis, np.array(level)).size else None


def annotations(mark: Mark, frame: Frame) -> list[dict[str, Any]]:
    """The words of a mark."""
    if frame.close_up or not isinstance(mark, HLine | VLine | Span | Text) or not mark.text:
        return []
    x_ref, y_ref = frame.refs["x"], frame.refs["right" if mark.side == "right" else "y"]
    if not isinstance(mark, Text):
        along, ends = _ends(mark, frame)
        if ends is None:
            return []
        found: dict[str, Any] = {"text": words(mark.text), "showarrow": False}
        found["font"] = {"size": 11, "color": frame.colours.of(mark)}
        if along == "y":
            found |= {
                "xref": f"{x_ref} domain",
                "x": 1,
                "xanchor": "right",
                "yref": y_ref,
                "y": _place(mark, frame, "y", ends[1]),
            }
            return [found | {"yanchor": "bottom" if isinstance(mark, HLine) else "top"}]
        low, high = (_place(mark, frame, "x", end) for end in frame.view["x"])
        place = _place(mark, frame, "x", ends[0])
        side = "left" if place < low + 0.6 * (high - low) else "right"
        found |= {"xref": x_ref, "x": place, "xanchor": side, "yref": f"{y_ref} domain", "y": 1, "yanchor": "top"}
        return [found | {"xshift": 3 if side == "left" else -3}]
    spots = [(frame.axis(mark, name), value) for name, value in (("x", mark.x), ("y", mark.y))]
    if mark.frame == "data" and not all(placed(axis, np.array(value)).size for axis, value in spots):
        return []
    found = {"text": words(mark.text), "showarrow": False, "opacity": mark.opacity}
    found |= {"font": {"size": 12, "color": frame.colours.of(mark)}, "xanchor": mark.anchor.replace("centre", "center")}
    found |= {"xshift": 1.33 * mark.offset[0], "yshift": 1.33 * mark.offset[1], "yanchor": "middle"}
    if mark.frame == "panel":
        found |= {"xref": f"{x_ref} domain", "yref": f"{y_ref} domain", "x": mark.x, "y": mark.y}
    else:
        found |= {"xref": x_ref, "yref": y_ref, "x": _place(mark, frame, "x", mark.x)}
        found["y"] = _place(mark, frame, "y", mark.y)
    if mark.boxed:
        found |= {"bgcolor": PAPER, "bordercolor": MUTED, "borderwidth": 1, "borderpad": 4}
    return [found]


def _place(mark: Mark, frame: Frame, which: str, value: float) -> float:
    """Annotations, unlike traces and shapes, want the logarithm on a log axis."""
    drawn = float(frame.put(mark, which, np.array(value, dtype=float)))
    return float(np.log10(drawn)) if frame.axis(mark, which).scale == "log" else drawn

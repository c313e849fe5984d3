"""Traces of fields: heat maps and level lines."""

from __future__ import annotations

from typing import Any

import numpy as np

from thalweg.figures.fields import Contour, Heatmap
from thalweg.figures.palette import INK, PAPER, anchors, clipped, mixed, shades
from thalweg.figures.plotly.frame import Frame, numbers, traces, words
from thalweg.figures.scales import drawn_limits, forward, levels, number

__all__ = ["colour_stops"]


@traces.register
def _(mark: Heatmap, frame: Frame) -> list[dict[str, Any]]:
    u = clipped(mark.scale, frame.colours.ends(mark.scale), mark.z)
    trace: dict[str, Any] = {"type": "heatmap", "z": numbers(u, coarse=True), "coloraxis": frame.colour_axis(mark)}
    trace |= {"x": numbers(frame.put(mark, "x", mark.x)), "y": numbers(frame.put(mark, "y", mark.y))}
    trace |= {"opacity": mark.opacity, "hoverongaps": True, "zsmooth": False} | _cursor(mark, frame)
    if mark.texts and not frame.close_up:
        trace |= {"text": [[words(t) for t in row] for row in mark.texts], "texttemplate": "%{text}"}
    return [trace | frame.home(mark) | {"showlegend": False}]


def _cursor(mark: Heatmap | Contour, frame: Frame) -> dict[str, Any]:
    titles = [words(frame.axis(mark, name).label or name) for name in ("x", "y")]
    said = words(mark.scale.label or "value")
    z = numbers(np.asarray(mark.z, dtype=np.float64)[..., None], coarse=True)
    if frame.native(frame.axis(mark, "x")) and frame.native(frame.axis(mark, "y")):
        rows = [f"{titles[0]}: %{{x:.4g}}", f"{titles[1]}: %{{y:.4g}}"]
    else:
        rows = []
    return {"customdata": z, "hovertemplate": "<br>".join([*rows, f"{said}: %{{customdata[0]:.5g}}<extra></extra>"])}


@traces.register
def _(mark: Contour, frame: Frame) -> list[dict[str, Any]]:
    ends = frame.colours.ends(mark.scale) if mark.shaded else drawn_limits(mark.scale, mark.z)
    chosen = levels(mark.scale, *ends, mark.count) if mark.levels is None else mark.levels.astype(float)
    found = []
    if mark.shaded and mark.filled:
        found.append(_areas(mark, frame, chosen, ends))
    colours = shades(mark.scale, ends, chosen) if mark.shaded else [frame.colours.of(mark)] * len(chosen)
    if mark.filled and mark.shaded:
        colours = [mixed(INK, PAPER, 0.15)] * len(chosen)
    for level, colour in zip(chosen.tolist(), colours, strict=True):
        found += _level(mark, frame, level, colour)
    if not mark.shaded and found:
        found[0] |= frame.entry(mark.label, mark.key)
    if mark.shaded and not mark.filled and not frame.close_up:
        bar = {"type": "scatter", "x": [None], "y": [None], "mode": "markers", "showlegend": False, "hoverinfo": "skip"}
        bar |= {"marker": {"color": [float(forward(mark.scale, ends[0]))], "coloraxis": frame.colour_axis(mark)}}
        found.append(bar | frame.home(mark))
    return found


def _areas(mark: Contour, frame: Frame, chosen: np.ndarray, ends: tuple[float, float]) -> dict[str, Any]:
    """The coloured areas; plotly's levels are evenly spaced, so the field is mapped to the number of its area."""
    u = clipped(mark.scale, ends, mark.z)
    stops = np.unique([*forward(mark.scale, np.array(ends)), *forward(mark.scale, chosen)])
    rank = np.interp(u, stops, np.arange(len(stops)))
    rank = np.where(np.isnan(u), np.nan, rank)
    count = len(stops) - 1
    middle = (stops[1:] + stops[:-1]) / 2
    flat = mark.scale.replace(scale="linear", limits=(None, None))
    tints = shades(flat, (float(stops[0]), float(stops[-1])), middle)
    steps = [[place / count, tint] for i, tint in enumerate(tints) for place in (i, i + 1)]
    trace: dict[str, Any] = {
        "type": "contour",
        "z": numbers(rank, coarse=True),
        "zmin": 0,
        "zmax": count,
        "zauto": False,
    }
    trace |= {"x": numbers(frame.put(mark, "x", mark.x)), "y": numbers(frame.put(mark, "y", mark.y))}
    trace |= {"colorscale": steps, "showscale": False, "autocontour": False, "opacity": mark.opacity}
    trace |= {"contours": {"start": 1, "end": max(1, count - 1), "size": 1, "coloring": "fill"}, "line": {"width": 0}}
    return trace | _cursor(mark, frame) | frame.home(mark) | {"showlegend": False, "connectgaps": False}


def _level(mark: Contour, frame: Frame, level: float, colour: str) -> list[dict[str, Any]]:
    """The lines of one level, the longest with its number written on it."""
    from contourpy import contour_generator

    u = clipped(mark.scale, drawn_limits(mark.scale, mark.z), mark.z)
    x, y = frame.put(mark, "x", mark.x), frame.put(mark, "y", mark.y)
    generator = contour_generator(x, y, np.ma.masked_invalid(u))
    lines: list[np.ndarray] = [np.asarray(line) for line in generator.lines(float(forward(mark.scale, level)))]
    if not lines:
        return []
    gap = np.full((1, 2), np.nan)
    places = np.concatenate([part for line in lines for part in (line, gap)])
    said = f"{words(mark.scale.label or 'level')}: {number(level)}<extra></extra>"
    trace = {"type": "scatter", "mode": "lines", "x": numbers(places[:, 0]), "y": numbers(places[:, 1])}
    trace |= {"line": {"color": colour, "width": 1.0 if mark.filled else 1.4}, "hovertemplate": said}
    trace |= frame.home(mark) | {"showlegend": False, "opacity": 0.6 if mark.filled else mark.opacity}
    if not mark.labels or frame.close_up:
        return [trace]
    longest = max(lines, key=len)
    x_mid, y_mid = longest[len(longest) // 3]
    label = {"type": "scatter", "mode": "text", "x": [float(x_mid)], "y": [float(y_mid)], "text": [number(level)]}
    label |= {"textfont": {"size": 10, "color": INK, "shadow": "auto"}, "hoverinfo": "skip", "showlegend": False}
    return [trace, label | frame.home(mark)]


def colour_stops(scale: Any) -> list[list[Any]]:
    """A palette as plotly writes it."""
    found = anchors(scale)
    return [[i / (len(found) - 1), colour] for i, colour in enumerate(found)]

"""Traces of fields: heat maps and level lines. What is not finite stays grey."""

from __future__ import annotations

from typing import Any

import numpy as np

from thalweg.figures.fields import Contour, Heatmap
from thalweg.figures.palette import INK, PAPER, anchors, mixed, shades, shares
from thalweg.figures.plotly.frame import Frame, numbers, traces, words
from thalweg.figures.reading import gapped, in_place
from thalweg.figures.rulers import levels, worded
from thalweg.figures.scales import drawn_limits, forward

__all__ = ["colour_stops"]


@traces.register
def _(mark: Heatmap, frame: Frame) -> list[dict[str, Any]]:
    columns, rows = in_place(frame.panel, mark)
    if not len(columns) or not len(rows):
        return [_bar(mark, frame)] if not frame.close_up else []
    trace = _cells(mark, frame, columns, rows)
    if mark.texts and not frame.close_up:
        texts = [[words(mark.texts[i][j]) for j in columns.tolist()] for i in rows.tolist()]
        trace |= {"text": texts, "texttemplate": "%{text}"}
    return [trace]


def _cells(mark: Heatmap | Contour, frame: Frame, columns: np.ndarray, rows: np.ndarray) -> dict[str, Any]:
    """Coloured cells, those that are not finite left to the grey behind them."""
    u = gapped(forward(mark.scale, mark.z[np.ix_(rows, columns)]))
    trace: dict[str, Any] = {"type": "heatmap", "z": numbers(u, coarse=True), "coloraxis": frame.colour_axis(mark)}
    for which, values, kept in (("x", mark.x, columns), ("y", mark.y, rows)):
        trace[which] = numbers(frame.put(mark, which, values[kept].astype(np.float64)))
    trace |= {"opacity": mark.opacity, "hoverongaps": True, "zsmooth": False} | _cursor(mark, frame, columns, rows)
    return trace | frame.home(mark) | {"showlegend": False}


def _bar(mark: Heatmap | Contour, frame: Frame) -> dict[str, Any]:
    """A point nowhere: a colour bar appears only where some trace uses the colour axis."""
    bar = {"type": "scatter", "x": [None], "y": [None], "mode": "markers", "showlegend": False, "hoverinfo": "skip"}
    colour = float(forward(mark.scale, frame.colours.ends(mark.scale)[0]))
    return bar | {"marker": {"color": [colour], "coloraxis": frame.colour_axis(mark)}} | frame.home(mark)


def _cursor(mark: Heatmap | Contour, frame: Frame, columns: np.ndarray, rows: np.ndarray) -> dict[str, Any]:
    titles = [words(frame.axis(mark, name).label or name) for name in ("x", "y")]
    said = words(mark.scale.label or "value")
    z = numbers(np.asarray(mark.z, dtype=np.float64)[np.ix_(rows, columns)][..., None], coarse=True)
    if frame.native(frame.axis(mark, "x")) and frame.native(frame.axis(mark, "y")):
        places = [f"{titles[0]}: %{{x:.4g}}", f"{titles[1]}: %{{y:.4g}}"]
    else:
        places = []
    return {"customdata": z, "hovertemplate": "<br>".join([*places, f"{said}: %{{customdata[0]:.5g}}<extra></extra>"])}


@traces.register
def _(mark: Contour, frame: Frame) -> list[dict[str, Any]]:
    columns, rows = in_place(frame.panel, mark)
    bar = [_bar(mark, frame)] if mark.shaded and not frame.close_up else []
    if min(len(columns), len(rows)) < 2:  # there is nothing between one row and the next
        cells = mark.shaded and len(columns) and len(rows)
        return [_cells(mark, frame, columns, rows)] if cells else bar
    places = [frame.put(mark, n, v.astype(np.float64)) for n, v in (("x", mark.x[columns]), ("y", mark.y[rows]))]
    ends = frame.colours.ends(mark.scale) if mark.shaded else drawn_limits(mark.scale, mark.z)
    share = shares(mark.scale, ends, mark.z[np.ix_(rows, columns)])
    chosen = levels(mark.scale, *ends, mark.count) if mark.levels is None else mark.levels.astype(float)
    chosen = chosen[np.isfinite(forward(mark.scale, chosen))]
    found = []
    if mark.shaded and mark.filled:
        trace = _areas(share, shares(mark.scale, ends, chosen), mark)
        trace |= {"x": numbers(places[0]), "y": numbers(places[1])} | _cursor(mark, frame, columns, rows)
        found.append(trace | frame.home(mark))
    colours = shades(mark.scale, ends, chosen) if mark.shaded else [frame.colours.of(mark)] * len(chosen)
    if mark.filled and mark.shaded:
        colours = [mixed(INK, PAPER, 0.15)] * len(chosen)
    for place, word, colour in zip(shares(mark.scale, ends, chosen).tolist(), worded(chosen), colours, strict=True):
        found += _level(mark, frame, (*places, share), place, word, colour)
    if not mark.shaded and found:
        found[0] |= frame.entry(mark.label, mark.key)
    return found + bar * (not mark.filled)


def _areas(share: np.ndarray, levels_: np.ndarray, mark: Contour) -> dict[str, Any]:
    """The coloured areas; plotly's levels are evenly spaced, so the field is mapped to the number of its area."""
    stops = np.unique([0.0, 1.0, *levels_])
    rank = np.where(np.isnan(share), np.nan, np.interp(share, stops, np.arange(len(stops))))
    count = len(stops) - 1
    middle = (stops[1:] + stops[:-1]) / 2
    flat = mark.scale.replace(scale="linear", limits=(None, None))
    tints = shades(flat, (0.0, 1.0), middle)
    steps = [[place / count, tint] for i, tint in enumerate(tints) for place in (i, i + 1)]
    trace: dict[str, Any] = {"type": "contour", "z": numbers(rank, coarse=True)}
    trace |= {"zmin": 0, "zmax": count, "zauto": False}
    trace |= {"colorscale": steps, "showscale": False, "autocontour": False, "opacity": mark.opacity}
    trace |= {"contours": {"start": 1, "end": max(1, count - 1), "size": 1, "coloring": "fill"}, "line": {"width": 0}}
    return trace | {"showlegend": False, "connectgaps": False}


def _level(
    mark: Contour, frame: Frame, field: tuple[np.ndarray, ...], place: float, word: str, colour: str
) -> list[dict[str, Any]]:
    """The lines of one level, the longest with its number written on it.

    Args:
        mark: The field.
        frame: Where it is drawn.
        field: Its x, y and shares of the scale.
        place: The level as a share.
        word: Its number.
        colour: Of the lines.
    """
    from contourpy import contour_generator

    x, y, share = field
    generator = contour_generator(x, y, np.ma.masked_invalid(share))
    lines: list[np.ndarray] = [np.asarray(line) for line in generator.lines(place)]
    if not lines:
        return []
    gap = np.full((1, 2), np.nan)
    places = np.concatenate([part for line in lines for part in (line, gap)])
    said = f"{words(mark.scale.label or 'level')}: {word}<extra></extra>"
    trace = {"type": "scatter", "mode": "lines", "x": numbers(places[:, 0]), "y": numbers(places[:, 1])}
    trace |= {"line": {"color": colour, "width": 1.0 if mark.filled else 1.4}, "hovertemplate": said}
    trace |= frame.home(mark) | {"showlegend": False, "opacity": 0.6 if mark.filled else mark.opacity}
    if not mark.labels or frame.close_up:
        return [trace]
    longest = max(lines, key=len)
    x_mid, y_mid = longest[len(longest) // 3]
    label = {"type": "scatter", "mode": "text", "x": [float(x_mid)], "y": [float(y_mid)], "text": [word]}
    label |= {"textfont": {"size": 10, "color": INK, "shadow": "auto"}, "hoverinfo": "skip", "showlegend": False}
    return [trace, label | frame.home(mark)]


def colour_stops(scale: Any) -> list[list[Any]]:
    """A palette as plotly writes it."""
    found = anchors(scale)
    return [[i / (len(found) - 1), colour] for i, colour in enumerate(found)]

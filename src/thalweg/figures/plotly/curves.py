"""Traces of curves, intervals and bars."""

from __future__ import annotations

from typing import Any

import numpy as np

from thalweg.figures.marks import Band, Bars, ErrorBars, Histogram, Line, Lines
from thalweg.figures.palette import INK, shades, shares
from thalweg.figures.plotly.frame import SYMBOLS, Frame, numbers, rgba, traces, words
from thalweg.figures.reading import bar_names, bins, thinned
from thalweg.figures.scales import Axis, forward, number

TINTS = 24  # different colours of a fan: one trace each
FAN = 15_000  # points of all curves of a fan together: a quarter of a megabyte in the page


@traces.register
def _(mark: Line, frame: Frame) -> list[dict[str, Any]]:
    chosen = thinned(mark.x, mark.y)
    x, y = mark.x[chosen], mark.y[chosen]
    line = frame.line(mark, mark.width) | ({"shape": "hv"} if mark.steps else {})
    trace = {"type": "scatter", "mode": "lines+markers" if mark.symbol else "lines", "line": line}
    if mark.symbol:
        trace["marker"] = {"symbol": SYMBOLS[mark.symbol], "size": 6 + mark.width, "color": line["color"]}
    trace |= {"x": numbers(frame.put(mark, "x", x)), "y": numbers(frame.put(mark, "y", y)), "opacity": mark.opacity}
    return [trace | frame.home(mark) | frame.entry(mark.label, mark.key) | frame.cursor(mark, x, y)]


@traces.register
def _(mark: Lines, frame: Frame) -> list[dict[str, Any]]:
    count = len(mark.y)
    tints = [frame.colours.of(mark)] * count
    if mark.values is not None:
        share = np.clip(shares(mark.scale, frame.colours.ends(mark.scale), mark.values), 0, 1)
        middle = np.rint(share * (TINTS - 1)) / (TINTS - 1)
        tints = shades(mark.scale.replace(scale="linear", limits=(None, None)), (0.0, 1.0), middle)
    limit = max(100, FAN // max(1, count))
    found = []
    for tint in dict.fromkeys(tints):
        xs, ys, names = [], [], []
        for k in (k for k in range(count) if tints[k] == tint):
            chosen = thinned(mark.x, mark.y[k], limit=limit)
            xs += [mark.x[chosen].astype(float), np.array([np.nan])]  # the gap that ends a curve
            ys += [mark.y[k][chosen].astype(float), np.array([np.nan])]
            names += [words(mark.names[k])] * (len(chosen) + 1) if mark.names else []
        x, y = np.concatenate(xs), np.concatenate(ys)
        trace: dict[str, Any] = {"type": "scatter", "mode": "lines", "opacity": mark.opacity}
        trace |= {"line": {"color": tint, "width": round(1.3 * mark.width, 2)}}
        trace |= {"x": numbers(frame.put(mark, "x", x), coarse=True)}
        trace |= {"y": numbers(frame.put(mark, "y", y), coarse=True)}
        trace |= frame.home(mark) | frame.entry(mark.label, mark.key) | frame.cursor(mark, x, y)
        if names and not frame.close_up:  # a word for every point: once is enough
            trace |= {"text": names, "hovertemplate": "<b>%{text}</b><br>" + trace["hovertemplate"]}
        found.append(trace)
    if mark.values is not None and not frame.close_up:
        # A colour bar appears only where some trace uses the colour axis.
        bar = {"type": "scatter", "x": [None], "y": [None], "mode": "markers", "showlegend": False, "hoverinfo": "skip"}
        colour = float(forward(mark.scale, frame.colours.ends(mark.scale)[0]))
        bar |= {"marker": {"color": [colour], "coloraxis": frame.colour_axis(mark)}}
        found.append(bar | frame.home(mark))
    return found


@traces.register
def _(mark: Band, frame: Frame) -> list[dict[str, Any]]:
    chosen = thinned(mark.x, mark.low, mark.high)
    x, low, high = (np.asarray(a, dtype=np.float64)[chosen] for a in (mark.x, mark.low, mark.high))
    side = "right" if mark.side == "right" else "y"
    if frame.axis(mark, "y").scale == "log":
        low = np.where(low <= 0, frame.view[side][0], low)
    whole = np.isfinite(x) & np.isfinite(low) & np.isfinite(high)
    xs, ys = [], []
    for part in np.split(np.arange(len(x)), np.flatnonzero(np.diff(whole.astype(int))) + 1):
        if part.size and whole[part[0]]:
            xs += [x[part], x[part][::-1], [np.nan]]
            ys += [high[part], low[part][::-1], [np.nan]]
    outline = np.concatenate(xs) if xs else np.zeros(0), np.concatenate(ys) if ys else np.zeros(0)
    colour = frame.colours.of(mark)
    trace = {"type": "scatter", "mode": "lines", "line": {"width": 0, "color": colour}, "hoverinfo": "skip"}
    trace |= {"fill": "toself", "fillcolor": rgba(colour, mark.opacity)}
    trace |= {"x": numbers(frame.put(mark, "x", outline[0])), "y": numbers(frame.put(mark, "y", outline[1]))}
    return [trace | frame.home(mark) | frame.entry(mark.label, mark.key)]


@traces.register
def _(mark: ErrorBars, frame: Frame) -> list[dict[str, Any]]:
    colour = frame.colours.of(mark)
    x, y = frame.put(mark, "x", mark.x), frame.put(mark, "y", mark.y)
    mode = "+".join(["lines"] * mark.joined + ["markers"])
    trace: dict[str, Any] = {"type": "scatter", "mode": mode, "x": numbers(x), "y": numbers(y), "opacity": mark.opacity}
    trace["marker"] = {"size": 1.33 * mark.size, "symbol": SYMBOLS[mark.symbol or "circle"], "color": colour}
    if not mark.symbol:
        trace["marker"]["opacity"] = 0
    if mark.joined:
        trace["line"] = frame.line(mark, 1.2)
    for name, which, centre, low, high in (
        ("error_y", "y", y, mark.low, mark.high),
        ("error_x", "x", x, mark.left, mark.right),
    ):
        if low is not None and high is not None:
            bars = {"type": "data", "symmetric": False, "color": colour, "thickness": 1.3, "width": 3}
            trace[name] = bars | _lengths(centre, frame.put(mark, which, low), frame.put(mark, which, high))
    trace |= frame.home(mark) | frame.entry(mark.label, mark.key) | frame.cursor(mark, mark.x, mark.y)
    if mark.low is not None and mark.high is not None:
        ends = [f"{number(a)} … {number(b)}" for a, b in zip(mark.low.tolist(), mark.high.tolist(), strict=True)]
        trace |= {"text": ends, "hovertemplate": trace["hovertemplate"].replace("<extra>", "<br>%{text}<extra>")}
    return [trace]


def _lengths(centre: np.ndarray, low: np.ndarray, high: np.ndarray) -> dict[str, Any]:
    """How far intervals reach either way; an end that is not finite is left out."""
    with np.errstate(invalid="ignore", over="ignore"):
        up, down = high - centre, centre - low
    kept = [numbers(np.maximum(np.where(np.isfinite(way), way, 0.0), 0)) for way in (up, down)]
    return {"array": kept[0], "arrayminus": kept[1]}


@traces.register
def _(mark: Histogram, frame: Frame) -> list[dict[str, Any]]:
    floor = frame.floor(mark)
    edges, heights = bins(mark, frame.axis(mark, "x"))
    whole = np.isfinite(heights)
    xs, ys = [], []
    for part in np.split(np.arange(len(heights)), np.flatnonzero(np.diff(whole)) + 1):  # an outline for every run
        if part.size and whole[part[0]]:
            xs += [np.repeat(edges[part[0] : part[-1] + 2], 2), [np.nan]]
            ys += [[floor], np.repeat(np.maximum(heights[part], floor), 2), [floor], [np.nan]]
    x = np.concatenate(xs[:-1]) if xs else np.zeros(0)
    y = np.concatenate(ys[:-1]) if ys else np.zeros(0)
    colour = frame.colours.of(mark)
    trace = {"type": "scatter", "mode": "lines", "line": {"width": 1.3, "color": colour}, "opacity": mark.opacity}
    trace |= {"x": numbers(frame.put(mark, "x", x)), "y": numbers(frame.put(mark, "y", y)), "hoveron": "points"}
    if mark.filled:
        trace |= {"fill": "toself", "fillcolor": rgba(colour, 0.35)}
    return [trace | frame.home(mark) | frame.entry(mark.label, mark.key) | frame.cursor(mark, x, y)]


@traces.register
def _(mark: Bars, frame: Frame) -> list[dict[str, Any]]:
    together = [other for other in frame.panel.marks if isinstance(other, Bars)]
    width = 0.8 / len(together)
    shift = (next(i for i, other in enumerate(together) if other is mark) - (len(together) - 1) / 2) * width
    names = bar_names(frame.panel)
    places = np.array([names.index(name) for name in mark.names], dtype=float) + shift
    along, across = ("y", "x") if mark.horizontal else ("x", "y")
    axis: Axis = frame.axis(mark, across)
    drawn, floor = frame.put(mark, across, mark.values), frame.put(mark, across, np.array(frame.floor(mark, across)))
    trace: dict[str, Any] = {"type": "bar", "orientation": "h" if mark.horizontal else "v", "width": 0.92 * width}
    placed = np.isfinite(forward(axis, mark.values))  # what has no place has no bar
    trace |= {along: numbers(places), across: numbers(np.where(placed, drawn, np.nan) - floor), "base": float(floor)}
    trace["marker"] = {"color": rgba(frame.colours.of(mark), 0.85 * mark.opacity), "line": {"width": 0}}
    if mark.low is not None and mark.high is not None:
        bars = {"type": "data", "symmetric": False, "color": INK, "thickness": 1.3, "width": 3}
        ends = [frame.put(mark, across, end) for end in (mark.low, mark.high)]
        trace[f"error_{across}"] = bars | _lengths(drawn, *ends)
    said = [f"{words(n)}: {number(v)}" for n, v in zip(mark.names, mark.values.tolist(), strict=True)]
    head = f"<b>{words(mark.label)}</b><br>" if mark.label else words(axis.label) + "<br>" if axis.label else ""
    trace |= {"hovertext": said, "hovertemplate": f"{head}%{{hovertext}}<extra></extra>"}
    return [trace | frame.home(mark) | frame.entry(mark.label, mark.key)]

"""Traces of spatial panels, and their scenes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from thalweg.figures.palette import EMPTY, GRID, INK, MUTED, shades
from thalweg.figures.plotly.axes import plain_ticks, unusual
from thalweg.figures.plotly.frame import DASHES, Frame, numbers, traces, words
from thalweg.figures.plotly.points import point_parts, symbol_entries
from thalweg.figures.reading import axis_of, gapped, only, view
from thalweg.figures.rulers import ticks
from thalweg.figures.scales import forward
from thalweg.figures.spatial import Path3D, Scatter3D, Surface3D

__all__ = ["scene"]

# The only symbols that plotly draws in space.
SYMBOLS = {
    "circle": "circle", "square": "square", "triangle": "circle-open", "diamond": "diamond", "cross": "x",
    "plus": "cross", "triangle-down": "square-open", "star": "diamond-open",
}  # fmt: skip


def scene(frame: Frame, domain: dict[str, list[float]]) -> dict[str, Any]:
    """Axes, camera and place of a spatial panel."""
    elevation, azimuth = (math.radians(angle) for angle in frame.panel.view)
    flat = 1.9 * math.cos(elevation)
    eye = {"x": flat * math.cos(azimuth), "y": flat * math.sin(azimuth), "z": 1.9 * math.sin(elevation)}
    camera = {"eye": eye, "center": {"x": 0, "y": 0, "z": -0.16}}
    found: dict[str, Any] = {"domain": domain, "camera": camera, "aspectmode": "manual"}
    found["aspectratio"] = {"x": 1, "y": 1, "z": 0.75}
    for name in ("x", "y", "z"):
        axis, shown = axis_of(frame.panel, name), view(frame.panel, name)
        ruler: dict[str, Any] = {"title": {"text": words(axis.title), "font": {"size": 12}}}
        ruler |= {"range": forward(axis, np.array(shown)).tolist(), "gridcolor": GRID, "zeroline": False}
        ruler |= {"showbackground": False, "linecolor": MUTED, "tickfont": {"size": 11}, "color": INK}
        if axis.ticks:
            ruler |= {"tickvals": [place for place, _ in axis.ticks], "ticktext": [words(w) for _, w in axis.ticks]}
        elif axis.scale != "linear" or unusual(shown) or only([frame.panel], name) is not None:
            places, said = ticks(axis, *shown, 6, value=only([frame.panel], name))
            ruler |= {"tickvals": forward(axis, places).tolist(), "ticktext": said}
        else:
            ruler |= plain_ticks(shown)
        found[f"{name}axis"] = ruler
    return found


@traces.register
def _(mark: Surface3D, frame: Frame) -> list[dict[str, Any]]:
    values = mark.z if mark.values is None else mark.values
    height = frame.put(mark, "z", mark.z)
    trace: dict[str, Any] = {"type": "surface", "z": numbers(gapped(height), coarse=True)}
    trace |= {"x": numbers(frame.put(mark, "x", mark.x)), "y": numbers(frame.put(mark, "y", mark.y))}
    colours = numbers(gapped(forward(mark.scale, values)), coarse=True)
    trace |= {"surfacecolor": colours, "coloraxis": frame.colour_axis(mark)}
    trace |= {"opacity": mark.opacity, "lighting": {"ambient": 0.75, "diffuse": 0.5, "specular": 0.05}}
    x, y = np.meshgrid(mark.x, mark.y)
    trace |= frame.cursor(mark, x, y, mark.z)
    finite = height[np.isfinite(height)].astype(np.float64)
    step = float(finite.max() / 10 - finite.min() / 10) if finite.size else 0.0
    if mark.floor and step > 1e-12 * float(np.abs(finite).max(initial=0.0)):
        lines = {"show": True, "start": float(finite.min()) + step, "end": float(finite.max()), "size": step}
        trace["contours"] = {"z": lines | {"project": {"z": True}, "color": MUTED, "width": 1}}
    named = frame.home(mark) | {"name": words(mark.label), "showlegend": False}
    grey = np.isfinite(height) & ~np.isfinite(forward(mark.scale, values))
    if not grey.any():
        return [trace | named]
    # A place without a colour: plotly knows no grey of its own, so that the faces around it are a surface beside.
    around = np.pad(grey, 1)
    around = np.any([around[i : i + len(grey), j : j + grey.shape[1]] for i in range(3) for j in range(3)], axis=0)
    beside = {key: trace[key] for key in ("type", "x", "y", "opacity", "lighting")} | {"hoverinfo": "skip"}
    beside |= {"z": numbers(np.where(around, gapped(height), np.nan), coarse=True), "showscale": False}
    beside |= {"colorscale": [[0, EMPTY], [1, EMPTY]]}
    trace["z"] = numbers(np.where(grey, np.nan, gapped(height)), coarse=True)
    return [trace | named, beside | named]


@traces.register
def _(mark: Path3D, frame: Frame) -> list[dict[str, Any]]:
    places = (mark.x, mark.y, mark.z)
    line: dict[str, Any] = {"width": 3 * mark.width}
    if mark.values is None:
        # In space plotly knows widths and dashes as on paper, colours per point only without a dash.
        line |= {"color": frame.colours.of(mark), "dash": DASHES[frame.colours.style(mark)]}
    else:
        shade = gapped(forward(mark.scale, mark.values))
        line |= {"color": numbers(shade), "coloraxis": frame.colour_axis(mark)}
        if np.isnan(shade).any():  # plotly knows no grey of its own: every colour by name, and the bar without them
            line = {"width": line["width"], "color": shades(mark.scale, frame.colours.ends(mark.scale), mark.values)}
    trace: dict[str, Any] = {"type": "scatter3d", "mode": "lines+markers" if mark.symbol else "lines", "line": line}
    if mark.symbol:
        size = {"size": 2.5 + mark.width, "symbol": SYMBOLS[mark.symbol]}
        trace["marker"] = size | {key: line[key] for key in ("color", "coloraxis") if key in line}
    for name, values in zip(("x", "y", "z"), places, strict=True):
        trace[name] = numbers(frame.put(mark, name, values))
    trace |= {"opacity": mark.opacity} | frame.cursor(mark, *places)
    if mark.hover:
        said = [words(text) for text in mark.hover]
        trace |= {"text": said, "hovertemplate": trace["hovertemplate"].replace("<extra>", "<br>%{text}<extra>")}
    found = [trace | frame.home(mark) | frame.entry(mark.label, mark.key)]
    if mark.values is not None and "coloraxis" not in line:
        bar = {"type": "scatter3d", "mode": "markers", "x": [None], "y": [None], "z": [None], "hoverinfo": "skip"}
        colour = float(forward(mark.scale, frame.colours.ends(mark.scale)[0]))
        bar |= {"marker": {"color": [colour], "coloraxis": frame.colour_axis(mark)}, "showlegend": False}
        found.append(bar | frame.home(mark))
    return found


@traces.register
def _(mark: Scatter3D, frame: Frame) -> list[dict[str, Any]]:
    found = []
    for key, keep, marker, more in point_parts(mark, frame, SYMBOLS, (mark.x, mark.y, mark.z)):
        mode = "markers+text" if any(mark.texts) else "markers"
        trace: dict[str, Any] = {"type": "scatter3d", "mode": mode, "marker": marker, "opacity": mark.opacity}
        for name, values in zip(("x", "y", "z"), (mark.x, mark.y, mark.z), strict=True):
            trace[name] = numbers(frame.put(mark, name, values)[keep])
        found.append(trace | more | frame.home(mark) | frame.entry(key or mark.label, key or mark.key))
    return found + symbol_entries(mark, frame)

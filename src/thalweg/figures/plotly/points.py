"""Traces of points."""

from __future__ import annotations

from typing import Any

import numpy as np

from thalweg.figures.marks import Scatter
from thalweg.figures.palette import EMPTY, INK, MUTED, PAPER, mixed
from thalweg.figures.plotly.frame import SYMBOLS, Frame, numbers, rgba, traces, words
from thalweg.figures.reading import gapped
from thalweg.figures.scales import forward, number
from thalweg.figures.spatial import Scatter3D

__all__ = ["point_parts", "symbol_entries"]

DENSE = 4000  # points above which the graphics card draws them
SIDES = {
    "top right": (1, 1), "bottom right": (1, -1), "top left": (-1, 1), "bottom left": (-1, -1), "top center": (0, 1.2),
    "bottom center": (0, -1.2), "middle right": (1.2, 0), "middle left": (-1.2, 0),
}  # fmt: skip


@traces.register
def _(mark: Scatter, frame: Frame) -> list[dict[str, Any]]:
    found = []
    for key, keep, marker, more in point_parts(mark, frame, SYMBOLS, (mark.x, mark.y)):
        trace: dict[str, Any] = {"type": "scattergl" if len(mark.x) > DENSE else "scatter", "marker": marker}
        modes = ["lines"] * mark.joined + ["markers"] + ["text"] * (any(mark.texts) and not frame.close_up)
        trace |= {"mode": "+".join(modes), "opacity": mark.opacity}
        if mark.joined:
            trace["line"] = {"width": 1, "color": rgba(frame.colours.of(mark, key), 0.6)}
        trace |= {"x": numbers(frame.put(mark, "x", mark.x)[keep]), "y": numbers(frame.put(mark, "y", mark.y)[keep])}
        found.append(trace | more | frame.home(mark) | frame.entry(key or mark.label, key or mark.key))
    return found + symbol_entries(mark, frame)


def point_parts(
    mark: Scatter | Scatter3D, frame: Frame, symbols: dict[str, str], places: tuple[np.ndarray, ...]
) -> Any:
    """The points of every category: its word (None if there are none), which points, their marker, texts and hover."""
    sizes = np.broadcast_to(
        np.asarray(mark.size, dtype=np.float64) * (1.33 if len(places) == 2 else 1.0), (len(mark.x),)
    )
    kinds = np.array([symbols[frame.colours.symbol(k, mark.symbol)] for k in mark.markers] or [symbols[mark.symbol]])
    kinds = np.broadcast_to(kinds, (len(mark.x),)) if len(kinds) == 1 else kinds
    # Points without words of their own need no sentence each.
    told = mark.hover or mark.markers or mark.categories or any(mark.keys) or mark.values is not None
    hover = None if not told else np.array(_hover(mark, frame, places), dtype=object)
    parts: list[tuple[str | None, np.ndarray, str]] = [
        (key, np.array([c == key for c in mark.categories], dtype=bool), frame.colours.of(mark, key))
        for key in dict.fromkeys(mark.categories)
    ]
    if not parts and mark.values is not None:
        unknown = ~np.isfinite(forward(mark.scale, mark.values))
        parts.append((None, ~unknown, ""))
        if unknown.any():
            parts.append((None, unknown, EMPTY))
    for key, keep, colour in parts or [(None, np.ones(len(mark.x), dtype=bool), frame.colours.of(mark))]:
        marker: dict[str, Any] = {"size": _one(sizes[keep]), "symbol": _one(kinds[keep])}
        marker["line"] = {"width": 0.5 if len(places) == 2 else 0, "color": PAPER}
        if mark.values is not None:
            marker["line"]["color"] = mixed(INK, PAPER, 0.4)
        if colour:
            marker["color"] = colour
        elif mark.values is not None:
            shade = forward(mark.scale, mark.values[keep])
            marker |= {"color": numbers(shade, coarse=True), "coloraxis": frame.colour_axis(mark)}
        more: dict[str, Any] = frame.cursor(mark, *(place[keep] for place in places))
        if hover is not None:
            more = {"hovertext": hover[keep].tolist(), "hovertemplate": "%{hovertext}<extra></extra>"}
        if any(mark.texts) and not frame.close_up:
            texts = [words(text) for text, k in zip(mark.texts, keep, strict=True) if k]
            more |= {"text": texts, "textfont": {"size": 10, "color": INK}}
            if isinstance(mark, Scatter):
                if len(mark.x) <= DENSE:
                    more["textfont"]["shadow"] = "auto"  # legible on any field; WebGL knows none
                more |= {"textposition": text_sides(mark, frame)[keep].tolist(), "cliponaxis": False}
        if any(mark.keys):
            more["customdata"] = [name for name, k in zip(mark.keys, keep, strict=True) if k]
        yield key, keep, marker, more


def text_sides(mark: Scatter, frame: Frame) -> np.ndarray:
    """On which side of its point every text stands: the one where it overlaps fewest points and earlier texts."""
    side = "right" if mark.side == "right" else "y"
    ends = [forward(frame.axis(mark, name), np.array(frame.view[v])) for name, v in (("x", "x"), ("y", side))]
    shares = [gapped(forward(frame.axis(mark, n), v)) for n, v in (("x", mark.x), ("y", mark.y))]
    # Pixels in a panel of the usual size: the true one is known to the browser only.
    with np.errstate(over="ignore"):
        u, v = ((s - low) / (high - low) * p for s, (low, high), p in zip(shares, ends, (420, 300), strict=True))
    taken = np.zeros((0, 2))
    found = np.full(len(u), "top right", dtype=object)
    for i in [i for i, text in enumerate(mark.texts) if text and np.isfinite([u[i], v[i]]).all()]:
        width = 5.6 * len(mark.texts[i])
        best, chosen = np.inf, np.zeros(2)
        for name, (dx, dy) in SIDES.items():
            centre = np.array([u[i] + dx * (width / 2 + 4), v[i] + dy * 10])
            near = np.abs(np.concatenate([taken, np.stack([u, v], axis=1)]) - centre) < [width / 2 + 4, 9]
            cost = (near.all(axis=1) * np.repeat([width / 8, 1.0], [len(taken), len(u)])).sum()
            cost += 20 * (not 0 < centre[0] < 420) + 20 * (not 0 < centre[1] < 300)
            if cost < best:
                best, found[i], chosen = cost, name, centre
        ends_ = chosen + np.array([[-width / 3, 0], [0, 0], [width / 3, 0]])
        taken = np.concatenate([taken, ends_])
    return found


def _one(values: np.ndarray) -> Any:
    """One value if all are alike, else the list."""
    found = values.tolist()
    return found[0] if found and len(set(found)) == 1 else found


def _hover(mark: Scatter | Scatter3D, frame: Frame, places: tuple[np.ndarray, ...]) -> list[str]:
    titles = [words(frame.axis(mark, name).label or name) for name in ("x", "y", "z")[: len(places)]]
    found = []
    for i, place in enumerate(zip(*(p.tolist() for p in places), strict=True)):
        rows = [f"<b>{words(mark.categories[i] if mark.categories else mark.label)}</b>"]
        rows += [words(mark.markers[i])] if mark.markers else []
        rows += [words(mark.hover[i])] if mark.hover else []
        rows += [f"{title}: {number(value)}" for title, value in zip(titles, place, strict=True)]
        if mark.values is not None:
            rows.append(f"{words(mark.scale.label or 'value')}: {number(float(mark.values[i]))}")
        found.append("<br>".join(row for row in rows if row not in ("", "<b></b>")))
    return found


def symbol_entries(mark: Scatter | Scatter3D, frame: Frame) -> list[dict[str, Any]]:
    """Legend entries that say what the symbols mean."""
    found = []
    for word in dict.fromkeys(mark.markers):
        entry = frame.entry(word)
        if entry["showlegend"]:
            symbol = SYMBOLS[frame.colours.symbol(word, mark.symbol)]
            sample = {"type": "scatter", "mode": "markers", "x": [None], "y": [None], "hoverinfo": "skip"}
            sample |= {"marker": {"symbol": symbol, "color": MUTED, "size": 8}}
            found.append(sample | entry)  # on the first axes, so that it needs no scene
    return found

"""The places of the panels and the rulers of their axes, in plotly's words."""

from __future__ import annotations

from typing import Any

import numpy as np

from thalweg.figures.figure import Figure, Panel
from thalweg.figures.palette import GRID, MUTED
from thalweg.figures.plotly.frame import words
from thalweg.figures.rulers import ticks
from thalweg.figures.scales import Axis, ColourScale, forward

__all__ = ["NARROW", "WIDTH", "axis_layout", "domains", "long_name", "plain_ticks", "unusual"]

WIDTH = 900.0  # pixels of the page column for which distances are chosen
NARROW = 480.0  # the same on a small screen


def domains(figure: Figure, width: float = WIDTH) -> list[tuple[list[float], list[float]]]:
    """The part of the drawing area, `width` pixels wide, of every panel: x from left to right, y from bottom to top."""
    rows, columns = figure.grid
    right = any(panel.right is not None for panel in figure.panels)
    own_bars = any(_own_scales(figure, panel) for panel in figure.panels)
    gap = (88 + 62 * right + 88 * own_bars) / width if columns > 1 else 0.0
    reserve = 88 / width if own_bars or (columns == 1 and right) else 0.0
    share = (1 - reserve * own_bars - gap * (columns - 1)) / columns
    height = figure.inches[1] * 92 * rows
    tall = (34 if figure.share_x else 62) + 24 * any(panel.title for panel in figure.panels)
    between = tall / height if rows > 1 else 0.0
    one = (1 - between * (rows - 1)) / rows
    found = []
    for index in range(len(figure.panels)):
        row, column = divmod(index, columns)
        left, top = column * (share + gap), 1 - row * (one + between)
        found.append(([left, left + share], [max(0.0, top - one), top]))
    return found


def _own_scales(figure: Figure, panel: Panel) -> list[ColourScale]:
    """The scales whose colour bars stand beside this panel, because no other uses them."""
    others = [scale for other in figure.panels if other is not panel for scale in other.colour_scales()]
    return [scale for scale in panel.colour_scales() if scale.bar and scale not in others]


def plain_ticks(shown: tuple[float, float]) -> dict[str, Any]:
    """How a linear ruler writes its numbers: never 16n or 50k, powers of ten below 10⁻⁴ and from 10⁶ on.

    >>> plain_ticks((0.0, 2e-8))["exponentformat"], plain_ticks((0.0, 2e5))["minexponent"]
    ('power', 5)
    """
    return {"exponentformat": "power", "minexponent": 5 if max(map(abs, shown)) >= 1 else 4, "separatethousands": True}


def long_name(ref: str) -> str:
    """Plotly's name of an axis in the layout: y2 is yaxis2."""
    return f"{ref[0]}axis{ref[1:]}"


def unusual(shown: tuple[float, float]) -> bool:
    """Whether plotly's own ticks fail: on numbers very small or large, or with many equal digits."""
    size = max(map(abs, shown))
    return not (1e-100 < size < 1e100 and shown[1] - shown[0] > 1e-7 * size)


def axis_layout(
    axis: Axis, shown: tuple[float, float], *, labels: bool = True, value: float | None = None
) -> dict[str, Any]:
    """Scale, range, ticks and title of an axis; ``value`` is the only one drawn, which has a tick."""
    found: dict[str, Any] = {
        "title": {"text": words(axis.title) if labels else "", "standoff": 8, "font": {"size": 13}}
    }
    found |= {"gridcolor": GRID, "linecolor": MUTED, "showline": True, "zeroline": False, "ticks": "outside"}
    found |= {"ticklen": 4, "tickcolor": MUTED, "showticklabels": labels, "automargin": True, "tickfont": {"size": 12}}
    if axis.scale == "log":
        span = float(np.log10(shown[1]) - np.log10(shown[0]))
        found |= {"type": "log", "range": np.log10(shown).tolist(), "exponentformat": "power"}
        if span < 1.5 or value is not None:
            places, said = ticks(axis, *shown, 6, value=value)
            found |= {"tickvals": places.tolist(), "ticktext": said}
        else:
            found["dtick"] = max(1, round(span / 8))
            if (
                span < 8
            ):  # only beside ticks of plotly's own: beside given ones its minor ticks crowd and lie at infinity
                found["minor"] = {"ticks": "outside", "ticklen": 2, "tickcolor": MUTED}
    else:
        found |= {"type": "linear", "range": forward(axis, np.array(shown)).tolist()} | plain_ticks(shown)
    if axis.ticks:
        places = (
            forward(axis, np.array([p for p, _ in axis.ticks])) if axis.scale != "log" else [p for p, _ in axis.ticks]
        )
        found |= {"tickvals": [float(p) for p in places], "ticktext": [words(word) for _, word in axis.ticks]}
        found.pop("dtick", None)
        found.pop("minor", None)
    elif axis.scale in ("symlog", "power") or (axis.scale == "linear" and (value is not None or unusual(shown))):
        places, said = ticks(axis, *shown, 8, value=value)
        found |= {"tickvals": forward(axis, places).tolist(), "ticktext": said}
    return found

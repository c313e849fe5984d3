"""Figures in the browser: the JSON that plotly.js draws.

>>> from thalweg.figures import Axis, Figure, Line, Panel
>>> figure = Figure("loss", "Loss", "", (Panel(Axis("epoch"), Axis("loss", "", "log"), (Line([0, 1], [1.0, 0.5]),)),))
>>> drawn = to_json(figure)
>>> sorted(drawn), drawn["layout"]["yaxis"]["title"]["text"]
(['config', 'data', 'layout'], 'loss (log scale)')

Everything is plain dictionaries, so no plotting library is imported. Arrays are base64 typed arrays, which keep NaN and
infinities and are half as long as decimal numbers.
"""

from __future__ import annotations

from typing import Any

from thalweg.figures.figure import Figure

__all__ = ["titled", "to_json"]


def to_json(figure: Figure, *, narrow: bool = False) -> dict[str, Any]:
    """The arguments of ``Plotly.newPlot``: data, layout and config, as strict JSON.

    Title and caption are left to the page around it. The width follows the page, the height is fixed. Points with
    ``keys`` carry them as ``customdata``, so that the page can open a ``Detail`` on a click.

    Args:
        figure: What to draw.
        narrow: For a small screen: all panels in one column, the legend beneath them. The data stay the same, so that a
            page may keep them and change the layout alone.
    """
    from thalweg.figures.plotly.page import composed

    return composed(figure, narrow=narrow)


def titled(figure: Figure) -> dict[str, Any]:
    """As :func:`to_json`, with the figure's title in it, for places without a page around it."""
    from thalweg.figures.plotly.frame import words

    drawn = to_json(figure)
    layout = drawn["layout"]
    title = {"text": words(figure.title), "x": 0.0, "xref": "paper", "xanchor": "left", "font": {"size": 17}}
    title |= {"y": 1 - 14 / (layout["height"] + 30), "yanchor": "top"}
    margin = layout["margin"] | {"t": layout["margin"]["t"] + 30}
    return drawn | {"layout": layout | {"title": title, "margin": margin, "height": layout["height"] + 30}}

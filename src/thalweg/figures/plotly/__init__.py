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

__all__ = ["to_json"]


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

"""One interactive figure as a page of its own, and what pages of many figures share with it."""

from __future__ import annotations

import json
from typing import Any

from markupsafe import Markup

from thalweg.figures.figure import Figure
from thalweg.figures.matplotlib import render
from thalweg.figures.matplotlib.inlined import address
from thalweg.figures.plotly import to_json
from thalweg.figures.plotly.packing import library, packed, size, unpacker
from thalweg.figures.reading import notes

__all__ = ["element", "interactive", "page", "plotly_element"]


def interactive(figure: Figure) -> dict[str, Any]:
    """What plotly.js draws, with a second layout ``narrow`` for small screens where it is another."""
    wide, narrow = to_json(figure), to_json(figure, narrow=True)["layout"]
    return wide if narrow == wide["layout"] else wide | {"narrow": narrow}


def element(name: str, data: Any) -> Markup:
    """Data, packed, as an element that ``unpacked`` of ``unpack.js`` reads.

    Args:
        name: The element's id.
        data: Anything that strict JSON can carry.
    """
    return _element(name, *_packed_json(data))


def plotly_element() -> Markup:
    """Plotly's script, packed, as the element that ``withPlotly`` of ``unpack.js`` runs."""
    return _element("plotly", *library())


def page(figure: Figure) -> str:
    """One figure with its title and caption as HTML that opens without a network."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("thalweg.figures.plotly")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    drawn = interactive(figure)
    return environment.get_template("figure.html").render(
        figure=figure,
        notes=notes(figure),
        height=drawn["layout"]["height"],
        data=element("figure", drawn),
        static=Markup(address(*render(figure))),
        plotly=plotly_element(),
        unpacker=Markup(unpacker()),
    )


def _packed_json(data: Any) -> tuple[str, int]:
    text = json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return packed(text), size(text)


def _element(name: str, text: str, bytes_: int) -> Markup:
    return Markup('<script type="text/plain" id="{}" data-size="{}">').format(name, bytes_) + Markup(f"{text}</script>")

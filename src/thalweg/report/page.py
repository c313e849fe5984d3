"""The page: template, embedded data and scripts."""

from __future__ import annotations

import json
from typing import Any

from markupsafe import Markup

from thalweg._version import __version__
from thalweg.figures.palette import CATEGORIES, EMPTY, GRID, INK, MUTED, PAPER, mixed
from thalweg.figures.plotly.packing import unpacker
from thalweg.figures.plotly.single import plotly_element
from thalweg.report.document import Document
from thalweg.report.pictures import stored

__all__ = ["embedded", "rendered"]

# The colours of ink and paper change places in the dark; data keep theirs, but for the black of the palette. Axes that
# are written in the colour of their curves (mixed with ink) are mixed with light instead.
DARK = {INK: "#e4e8ee", MUTED: "#9aa5b1", GRID: "#2c333d", PAPER: "#161b22", EMPTY: "#3d444d", CATEGORIES[6]: "#f0f0f0"}
DARK |= {mixed(colour, INK, 0.15): mixed(colour, PAPER, 0.35) for colour in CATEGORIES}


def rendered(document: Document) -> str:
    """The whole document as HTML."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("thalweg.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"embedded": embedded, "stored": stored}
    return environment.get_template("report.html").render(
        document=document,
        version=__version__,
        dark=DARK,
        plotly=plotly_element(),
        unpacker=script(unpacker()),
        behaviour=script(environment.get_template("script.js").render()),
        style=Markup(environment.get_template("style.css").render()),
    )


def script(source: str) -> Markup:
    """A script of ours, which cannot end its element."""
    return Markup(source.replace("</script", "<\\/script"))


def embedded(data: Any) -> Markup:
    r"""Data as JSON inside a script element: no character in it can end the element or begin a comment.

    >>> print(embedded({"a": "</script><!-- & "}))
    {"a":"\u003c/script\u003e\u003c!-- \u0026 "}
    """
    text = json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)

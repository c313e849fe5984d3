"""A figure as the address of a picture, for a page that has no files beside it."""

from __future__ import annotations

import base64
import io
import re
from urllib.parse import quote

__all__ = ["address", "svg_address", "webp"]

BIGGEST_SVG = 24_000
"""Characters above which the picture is one of pixels, which takes about as many."""

WIDEST = 960
"""Pixels across: the column of a page, 140 an inch on paper.

The page draws its figures itself; pictures are for paper and for where scripts are off.
"""

_PLACES = re.compile(r"(?<=\s)(?:d|x|y|points)=\"[^\"]*\"")
_DECIMALS = re.compile(r"-?\d+\.\d{2,}")


def address(png: bytes, svg: bytes) -> str:
    """A figure as a ``data:`` address: the SVG where it is short, else pixels.

    Args:
        png: The figure as :func:`~thalweg.figures.matplotlib.render` makes it.
        svg: The same as SVG.
    """
    if b"data:image/png" not in svg:
        found = svg_address(svg)
        if len(found) <= BIGGEST_SVG:
            return found
    return f"data:image/webp;base64,{base64.b64encode(webp(png)).decode()}"


def svg_address(svg: bytes) -> str:
    """A picture as a ``data:`` address half as long as base64: places to 0.1 points, few characters encoded.

    >>> svg_address(b'<?xml version="1.0"?> <svg><path d="M 1.23456 2"/></svg>')
    "data:image/svg+xml;charset=utf-8,<svg><path d='M 1.2 2'/></svg>"
    """
    text = svg.decode()
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = _PLACES.sub(lambda found: _DECIMALS.sub(lambda one: f"{float(one[0]):.1f}", found[0]), text)
    text = " ".join(text.replace("'DejaVu Sans'", "DejaVu Sans").split())
    if "'" not in text:  # else the double quotes are encoded
        text = text.replace('"', "'")
    return "data:image/svg+xml;charset=utf-8," + quote(text, safe=" !$'()*+,-./:;<=>?@[]^_`{|}~")


def webp(png: bytes) -> bytes:
    """The picture as WebP: a third of the bytes of a PNG, and a reader sees no difference."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as opened:
        picture = opened.convert("RGB")
    if picture.width > WIDEST:
        height = round(picture.height * WIDEST / picture.width)
        picture = picture.resize((WIDEST, height), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    picture.save(written, "WEBP", quality=40, method=6)
    return written.getvalue()

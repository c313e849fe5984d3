"""A figure in all the forms that a report needs: files for papers, data for the browser, a picture for the printer."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from thalweg.errors import InputError
from thalweg.figures import Figure
from thalweg.figures.plotly import to_json
from thalweg.figures.reading import notes
from thalweg.runs.files import write_bytes
from thalweg.runs.reading import read_bytes, regular

__all__ = ["Film", "Picture", "draw", "films", "svg_address"]

BIGGEST_SVG = 150_000  # characters above which the picture inside the page is a PNG
BIGGEST_PNG = 150_000  # bytes of that picture: it is for paper and for readers without scripts, the file is sharper
VEILED = 0.02  # share of a picture inside the picture that may be half transparent, as the rims of a surface are
BIGGEST_FILM = 4_000_000  # bytes above which a film stays beside the page

_PLACES = re.compile(r"(?<=\s)(?:d|x|y|points)=\"[^\"]*\"")
_RASTER = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=\s]+)")
_DECIMALS = re.compile(r"-?\d+\.\d{2,}")


@dataclasses.dataclass(frozen=True)
class Picture:
    """A drawn figure.

    Attributes:
        name: Its name.
        title: Words above it.
        caption: Words beneath it.
        notes: What the picture cannot show.
        interactive: What plotly.js draws: data, layout, config, and ``narrow``, a layout for small screens.
        details: What clicks on points open: key, title, facts, and perhaps another plotly figure.
        static: The picture as a ``data:`` address.
        files: Pairs (kind, address relative to the report) of the files.
    """

    name: str
    title: str
    caption: str
    notes: tuple[str, ...]
    interactive: dict[str, Any]
    details: dict[str, dict[str, Any]]
    static: str
    files: tuple[tuple[str, str], ...]

    @property
    def alternative(self) -> str:
        """The picture in words, for those who do not see it."""
        return " ".join(part for part in (f"{self.title}.", self.caption, *self.notes) if part)


def draw(figure: Figure, folder: Path, beside: Path, *, keep: bool = False) -> Picture:
    """Draw a figure, and write it as PNG, SVG and JSON.

    Args:
        figure: What to draw.
        folder: Where the files go.
        beside: Folder of the report, from which it refers to the files.
        keep: Take the files that are there, if they are of the same figure.

    Raises:
        WriteError: A file cannot be written.
    """
    data = json.dumps(figure.to_json(), allow_nan=False, ensure_ascii=False).encode()
    places = {kind: folder / f"{figure.name}.{kind.lower()}" for kind in ("PNG", "SVG", "JSON")}
    found = _kept(places, data) if keep else None
    if found is None:
        from thalweg.figures.matplotlib import render

        found = render(figure)
        for target, content in zip(places.values(), (*found, data), strict=True):  # the JSON last: it vouches for both
            write_bytes(target, content)
    png, svg = found
    files = [(kind, Path(os.path.relpath(target, beside)).as_posix()) for kind, target in places.items()]
    static = svg_address(svg)
    if len(static) > BIGGEST_SVG:
        static = _base64(smaller(png), "image/png")
    details = {
        detail.key: {
            "title": detail.title,
            "facts": [list(fact) for fact in detail.facts],
            "figure": interactive(detail.figure) if detail.figure else None,
        }
        for detail in figure.details
    }
    return Picture(
        name=figure.name,
        title=figure.title,
        caption=figure.caption,
        notes=notes(figure),
        interactive=interactive(figure),
        details=details,
        static=static,
        files=tuple(files),
    )


@dataclasses.dataclass(frozen=True)
class Film:
    """A film inside the page.

    Attributes:
        caption: What it shows.
        address: A ``data:`` address.
        file: Its address relative to the report.
        moving: Whether it is a video, an animated picture otherwise.
    """

    caption: str
    address: str
    file: str
    moving: bool


def films(folder: Path, beside: Path, statements: Sequence[str]) -> tuple[Film, ...]:
    """The films in a folder that one of the statements names, but for very large ones.

    Args:
        folder: Where the run keeps its exports.
        beside: Folder of the report, from which it refers to the files.
        statements: What the run has found; the sentence that names the film is its caption.
    """
    found = []
    for file in sorted((*folder.glob("*.gif"), *folder.glob("*.mp4"))):
        named = [one for one in statements if f"{folder.name}/{file.name}" in one]
        if named and regular(file).st_size <= BIGGEST_FILM:
            moving = file.suffix == ".mp4"
            address = _base64(file.read_bytes(), "video/mp4" if moving else "image/gif")
            found.append(Film(named[0], address, Path(os.path.relpath(file, beside)).as_posix(), moving))
    return tuple(found)


def svg_address(svg: bytes) -> str:
    """A picture as a ``data:`` address half as long as base64: places to 0.1 points, few characters encoded.

    Surfaces and coloured cells are pictures inside the picture; 256 colours do for them.

    >>> svg_address(b'<?xml version="1.0"?> <svg><path d="M 1.23456 2"/></svg>')
    "data:image/svg+xml;charset=utf-8,<svg><path d='M 1.2 2'/></svg>"
    """
    text = svg.decode()
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = _RASTER.sub(lambda found: _base64(_paletted(base64.b64decode(found[1])), "image/png"), text)
    text = _PLACES.sub(lambda found: _DECIMALS.sub(lambda one: f"{float(one[0]):.1f}", found[0]), text)
    text = " ".join(text.replace("'DejaVu Sans'", "DejaVu Sans").split())
    if "'" not in text:  # else the double quotes are encoded
        text = text.replace('"', "'")
    return "data:image/svg+xml;charset=utf-8," + quote(text, safe=" !$'()*+,-./:;<=>?@[]^_`{|}~")


def smaller(png: bytes, most: int = BIGGEST_PNG) -> bytes:
    """The same picture in at most so many bytes: with 256 colours, and then at half the size until it fits."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as opened:
        picture = opened.convert("RGB")
    while len(png) > most and min(picture.size) > 64:
        written = io.BytesIO()
        picture.quantize(256).save(written, "PNG", optimize=True)
        png = written.getvalue()
        picture = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.LANCZOS)
    return png


def _paletted(png: bytes) -> bytes:
    """The same picture on white paper with 255 colours and one that is transparent, if that is shorter."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as opened:
        picture = opened.convert("RGBA")
    alpha = picture.getchannel("A")
    if sum(alpha.histogram()[1:255]) > VEILED * picture.width * picture.height:  # more than the rims shines through
        return png
    paper = Image.new("RGBA", picture.size, "white")
    paper.alpha_composite(picture)
    found = paper.convert("RGB").quantize(255, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    colours = (found.getpalette() or [])[:765]
    found.putpalette([*colours, *[255] * (768 - len(colours))])
    found.paste(255, mask=alpha.point([255, *[0] * 255]))
    written = io.BytesIO()
    found.save(written, "PNG", optimize=True, transparency=255)
    return min(png, written.getvalue(), key=len)


def _base64(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _kept(places: Mapping[str, Path], data: bytes) -> tuple[bytes, bytes] | None:
    """PNG and SVG as an earlier report has drawn them, None unless they are of exactly this figure."""
    with suppress(InputError):
        if read_bytes(places["JSON"]) == data:
            return read_bytes(places["PNG"]), read_bytes(places["SVG"])
    return None


def interactive(figure: Figure) -> dict[str, Any]:
    """What plotly.js draws, with a second layout for small screens where it is another."""
    wide, narrow = to_json(figure), to_json(figure, narrow=True)["layout"]
    return wide if narrow == wide["layout"] else wide | {"narrow": narrow}

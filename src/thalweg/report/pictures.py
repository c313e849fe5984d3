"""A figure in all the forms that a report needs: files for papers, data for the browser, a picture for the printer."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from markupsafe import Markup

from thalweg._files.reading import read_bytes, regular
from thalweg._files.writing import write_bytes
from thalweg.errors import InputError
from thalweg.figures import Figure
from thalweg.figures import matplotlib as static_renderer
from thalweg.figures.matplotlib.inlined import address
from thalweg.figures.plotly.single import element, interactive
from thalweg.figures.reading import notes

__all__ = ["Film", "Picture", "draw", "films", "static", "stored"]

BIGGEST_FILM = 400_000  # bytes above which a film stays beside the page
MOST_FRAMES = 40  # above which the page shows every second


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure in a report.

    Attributes:
        figure: What is drawn; the words around it are its own.
        static: The drawn picture as a ``data:`` address; empty where the report is no page for a browser.
        files: Pairs (kind, address relative to the report) of the files.
    """

    figure: Figure
    static: str = ""
    files: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """The figure's name."""
        return self.figure.name

    @property
    def title(self) -> str:
        """Words above it."""
        return self.figure.title

    @property
    def caption(self) -> str:
        """Words beneath it."""
        return self.figure.caption

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What the picture cannot show."""
        return notes(self.figure)

    @cached_property
    def interactive(self) -> dict[str, Any]:
        """What plotly.js draws: data, layout, config, and ``narrow``, a layout for small screens."""
        return interactive(self.figure)

    @cached_property
    def details(self) -> dict[str, dict[str, Any]]:
        """What clicks on points open, by key: title, facts, and perhaps another plotly figure."""
        return {
            detail.key: {
                "title": detail.title,
                "facts": [list(fact) for fact in detail.facts],
                "figure": interactive(detail.figure) if detail.figure else None,
            }
            for detail in self.figure.details
        }

    @property
    def alternative(self) -> str:
        """The picture in words, for those who do not see it."""
        return " ".join(part for part in (f"{self.title}.", self.caption, *self.notes) if part)


def stored(pictures: Sequence[Picture], name: str, key: str) -> Markup:
    """All that a script needs to draw pictures, packed together as an element.

    Args:
        pictures: Which.
        name: The element's id.
        key: Of the article that they stand in, which begins the name of each.
    """
    found = {f"{key}-{one.name}-data": {"figure": one.interactive, "details": one.details} for one in pictures}
    return element(name, found)


def static(figure: Figure) -> str:
    """The drawn figure as a ``data:`` address."""
    return address(*static_renderer.render(figure))


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
        found = static_renderer.render(figure)
        for target, content in zip(places.values(), (*found, data), strict=True):  # the JSON last: it vouches for both
            write_bytes(target, content)
    files = [(kind, Path(os.path.relpath(target, beside)).as_posix()) for kind, target in places.items()]
    return Picture(figure, address(*found), tuple(files))


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
            address = _base64(file.read_bytes(), "video/mp4") if moving else _animated(file.read_bytes())
            found.append(Film(named[0], address, Path(os.path.relpath(file, beside)).as_posix(), moving))
    return tuple(found)


def _animated(gif: bytes) -> str:
    """The film as WebP, without loss, where that is smaller: of many frames every second, for as long as two.

    The file beside the page has all of them.
    """
    from PIL import Image, ImageSequence

    written = io.BytesIO()
    with suppress(OSError), Image.open(io.BytesIO(gif)) as film:  # what Pillow cannot read stays what it is
        times, frames = [], []
        for frame in ImageSequence.Iterator(film):
            times.append(frame.info.get("duration", 100))
            frames.append(frame.convert("RGB"))
        if len(frames) > MOST_FRAMES:
            times = [sum(times[i : i + 2]) for i in range(0, len(times), 2)]
            frames = [*frames[:-1:2], frames[-1]] if len(frames) % 2 else frames[1::2]
        options = {"save_all": True, "append_images": frames[1:], "duration": times, "loop": 0}
        frames[0].save(written, "WEBP", lossless=True, method=2, **options)
    smaller = 0 < len(written.getvalue()) < len(gif)
    return _base64(written.getvalue(), "image/webp") if smaller else _base64(gif, "image/gif")


def _base64(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _kept(places: Mapping[str, Path], data: bytes) -> tuple[bytes, bytes] | None:
    """PNG and SVG as an earlier report has drawn them, None unless they are of exactly this figure."""
    with suppress(InputError):
        if read_bytes(places["JSON"]) == data:
            return read_bytes(places["PNG"]), read_bytes(places["SVG"])
    return None

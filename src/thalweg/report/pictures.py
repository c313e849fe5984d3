"""A figure in all the forms that a report needs: files for papers, data for the browser, a picture for the printer."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thalweg.figures import Figure
from thalweg.figures.plotly import to_json
from thalweg.figures.reading import notes
from thalweg.runs.files import write_bytes

__all__ = ["Picture", "draw"]

BIGGEST_SVG = 300_000  # bytes above which the picture inside the page is the PNG


@dataclasses.dataclass(frozen=True)
class Picture:
    """A drawn figure.

    Attributes:
        name: Its name.
        title: Words above it.
        caption: Words beneath it.
        notes: What the picture cannot show.
        interactive: What plotly.js draws: data, layout, config, and ``narrow``, the layout on a small screen.
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
    small = len(svg) <= BIGGEST_SVG
    picture = base64.b64encode(svg if small else png).decode()
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
        static=f"data:image/{'svg+xml' if small else 'png'};base64,{picture}",
        files=tuple(files),
    )


def _kept(places: Mapping[str, Path], data: bytes) -> tuple[bytes, bytes] | None:
    """PNG and SVG as an earlier report has drawn them, None unless they are of exactly this figure."""
    try:
        if places["JSON"].read_bytes() == data:
            return places["PNG"].read_bytes(), places["SVG"].read_bytes()
    except OSError:
        pass
    return None


def interactive(figure: Figure) -> dict[str, Any]:
    """What plotly.js draws, with a second layout for small screens."""
    return to_json(figure) | {"narrow": to_json(figure, narrow=True)["layout"]}

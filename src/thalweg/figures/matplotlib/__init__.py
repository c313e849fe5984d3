"""Figures on paper: PNG and SVG by matplotlib.

>>> import tempfile, pathlib
>>> from thalweg.figures import Axis, Figure, Line, Panel
>>> figure = Figure("loss", "Loss", "", (Panel(Axis("epoch"), Axis("loss"), (Line([0, 1], [1.0, 0.5]),)),))
>>> [path.name for path in save(figure, pathlib.Path(tempfile.mkdtemp()) / figure.name)]
['loss.png', 'loss.svg']
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from thalweg._files.writing import write_bytes
from thalweg.figures.figure import Figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Page

__all__ = ["drawn", "native", "render", "save"]


def save(figure: Figure, stem: str | os.PathLike[str], *, dpi: int = 200) -> tuple[Path, Path]:
    """Write ``stem.png`` and ``stem.svg``, each atomically.

    Args:
        figure: What to draw.
        stem: Path without suffix.
        dpi: Dots per inch of the PNG, and of dense fields inside the SVG; 200 prints sharply at the figure's size.

    Returns:
        The two paths.

    Raises:
        WriteError: A file cannot be written.
    """
    rendered = render(figure, dpi=dpi)
    paths = Path(f"{os.fspath(stem)}.png"), Path(f"{os.fspath(stem)}.svg")
    for path, content in zip(paths, rendered, strict=True):
        write_bytes(path, content)
    return paths


def render(figure: Figure, *, dpi: int = 200) -> tuple[bytes, bytes]:
    """The PNG and SVG files as bytes; the same figure gives the same bytes on the same versions.

    Text in the SVG is text, so that it can be searched and edited.
    """
    from thalweg.figures.matplotlib.page import rendered

    return rendered(figure, dpi)


def drawn(figure: Figure, kind: str, *, dpi: int = 200) -> bytes:
    """The figure as one file, ``"png"``, ``"svg"`` or ``"pdf"``; fonts are inside the PDF."""
    from thalweg.figures.matplotlib.page import written

    return written(figure, kind, dpi)


def native(figure: Figure) -> Page:
    """The figure as matplotlib's own, laid out; saved by it, it looks as here."""
    from matplotlib import rc_context

    from thalweg.figures.matplotlib.page import composed
    from thalweg.figures.matplotlib.style import RC

    with rc_context(RC):
        return composed(figure)

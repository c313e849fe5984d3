"""How a figure leaves the program: shown, in a notebook, as a file, or as an object of a plotting library.

:class:`Displayed` is what :class:`~thalweg.figures.Figure` inherits for it. The renderers are looked up by name when
they are first used: importing matplotlib and plotly takes seconds, and the data of a figure need neither.
"""

from __future__ import annotations

import base64
import dataclasses
import importlib
import json
import os
import sys
import tempfile
import warnings
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from thalweg._files.reading import read_json
from thalweg._files.writing import write_bytes
from thalweg.errors import InputError, nearest
from thalweg.figures.record import Record

if TYPE_CHECKING:
    import matplotlib.figure
    import plotly.graph_objects

__all__ = ["SUFFIXES", "Displayed"]

SUFFIXES = (".png", ".svg", ".pdf", ".html", ".json")
"""What a figure is saved as."""

NOTEBOOK_DPI = 144
"""Of the picture that a notebook keeps: sharp enough, and a third of the size of a file's."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Displayed(Record):
    """What every figure can do with itself."""

    name: str
    """The stem of its files: lower-case letters, digits and hyphens, unique within a run."""

    title: str
    """Short words above it."""

    def show(self) -> None:
        """Opens the interactive figure: in a notebook beneath the cell, from a terminal in the browser.

        From a terminal the figure is written into a temporary file, which the browser opens. Where nobody sits at a
        terminal, as in a batch job, nothing is shown and a warning says so: use :meth:`save`.
        """
        if _in_notebook():
            importlib.import_module("IPython.display").display(self)
            return
        advice = f'save it instead: figure.save("{self.name}.html")'
        if not _interactive():
            warnings.warn(f"a figure is shown in a notebook or from a terminal only; {advice}", stacklevel=2)
            return
        path = self.save(Path(tempfile.mkdtemp(prefix="thalweg-")) / f"{self.name}.html")
        if not webbrowser.open(path.as_uri()):
            warnings.warn(f"no browser could be opened; the figure is in {path}", stacklevel=2)

    def save(self, path: str | os.PathLike[str], *, dpi: int = 200) -> Path:
        """Writes the figure, atomically, in the format that the suffix names.

        Args:
            path: ``.png``, ``.svg`` and ``.pdf`` are for papers, ``.html`` is the interactive figure in one file that
                opens without a network (1.4 MB, most of it plotly's script), ``.json`` the data, for :meth:`load`.
            dpi: Dots per inch of a PNG, and of dense fields inside SVG and PDF.

        Returns:
            The path.

        Raises:
            InputError: Another suffix, or none.
            WriteError: The file cannot be written.

        >>> import tempfile
        >>> from thalweg.figures import Axis, Figure, Line, Panel
        >>> figure = Figure("loss", "Loss", "", (Panel(Axis("epoch"), Axis("loss"), (Line([0, 1], [1.0, 0.5]),)),))
        >>> Figure.load(figure.save(Path(tempfile.mkdtemp()) / "loss.json")) == figure
        True
        """
        target = Path(path)
        suffix = target.suffix.lower()
        if suffix not in SUFFIXES:
            known = ", ".join(SUFFIXES)
            raise InputError(f"path must end in one of {known}, found '{target.name}'{nearest(suffix, SUFFIXES)}")
        if suffix == ".json":
            content = json.dumps(self.to_json(), allow_nan=False, ensure_ascii=False).encode()
        elif suffix == ".html":
            content = _module("plotly.single").page(self).encode()
        else:
            content = _module("matplotlib").drawn(self, suffix[1:], dpi=dpi)
        write_bytes(target, content)
        return target

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Reads the figure that :meth:`save` wrote as JSON, equal to what it was.

        Raises:
            InputError: The file is missing, or holds something else.
        """
        return cls.from_json(cast("dict[str, Any]", read_json(Path(path))))

    def matplotlib(self) -> matplotlib.figure.Figure:
        """The figure as matplotlib's own, to be changed and saved there. It belongs to no window."""
        return _module("matplotlib").native(self)

    def plotly(self) -> plotly.graph_objects.Figure:
        """The figure as plotly's own, with its title, to be changed and shown there."""
        from plotly.graph_objects import Figure as PlotlyFigure

        drawn = _module("plotly").titled(self)
        return PlotlyFigure(data=drawn["data"], layout=drawn["layout"])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """What a notebook shows, interactive, and keeps for places that run no scripts, a picture."""
        png = _module("matplotlib").drawn(self, "png", dpi=NOTEBOOK_DPI)
        bundle = {
            "application/vnd.plotly.v1+json": _module("plotly").titled(self),
            "image/png": base64.b64encode(png).decode(),
            "text/plain": f"{self.title} (figure {self.name})",
        }
        shown = set(include or bundle) - set(exclude or ())
        wide = int.from_bytes(png[16:20], "big")  # of the header of every PNG
        metadata = {"image/png": {"width": round(wide * 96 / NOTEBOOK_DPI)}}
        return (
            {kind: content for kind, content in bundle.items() if kind in shown},
            {kind: content for kind, content in metadata.items() if kind in shown},
        )


def _module(name: str) -> Any:
    return importlib.import_module(f"thalweg.figures.{name}")


def _in_notebook() -> bool:
    """Whether cells are shown by a kernel, not in IPython's own terminal."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return hasattr(shell, "kernel")


def _interactive() -> bool:
    """Whether a person sits at a terminal."""
    return hasattr(sys, "ps1") or bool(sys.flags.interactive) or (sys.stdin.isatty() and sys.stdout.isatty())

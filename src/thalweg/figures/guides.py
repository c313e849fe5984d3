"""Marks that explain a panel: lines across it, spans, arrows and words."""

from __future__ import annotations

import dataclasses

from thalweg.figures.mark import STYLES, Mark
from thalweg.figures.record import Vector

__all__ = ["Arrows", "HLine", "Span", "Text", "VLine"]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Arrows(Mark):
    """Straight links from x0 (K,), y0 (K,) to x1 (K,), y1 (K,): edges of a graph, steps, forces.

    Attributes:
        head: Draw an arrow head at the far end.
        width: In points.
        style: As for ``Line``.
    """

    x0: Vector
    y0: Vector
    x1: Vector
    y1: Vector
    head: bool = dataclasses.field(default=True, kw_only=True)
    width: float = dataclasses.field(default=1.0, kw_only=True)
    style: str = dataclasses.field(default="solid", kw_only=True)

    def _check(self) -> None:
        super()._check()
        self._lengths("x0", "y0", "x1", "y1")
        self._one_of("style", STYLES)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class HLine(Mark):
    """A level across the panel at y, with a word written on it if ``text`` is given."""

    y: float
    text: str = ""
    style: str = dataclasses.field(default="dashed", kw_only=True)
    width: float = dataclasses.field(default=1.0, kw_only=True)

    def _check(self) -> None:
        super()._check()
        self._one_of("style", STYLES)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class VLine(Mark):
    """A position across the panel at x (a phase that begins, a threshold), with a word on it if ``text`` is given."""

    x: float
    text: str = ""
    style: str = dataclasses.field(default="dashed", kw_only=True)
    width: float = dataclasses.field(default=1.0, kw_only=True)

    def _check(self) -> None:
        super()._check()
        self._one_of("style", STYLES)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Span(Mark):
    """A shaded interval of an axis: the zero band of eigenvalues, a phase of training."""

    low: float
    high: float
    along: str = "x"
    text: str = ""
    opacity: float = dataclasses.field(default=0.12, kw_only=True)

    def _check(self) -> None:
        super()._check()
        self._one_of("along", ("x", "y"))


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Text(Mark):
    """Words at (x, y).

    Attributes:
        frame: ``"data"`` for data coordinates, ``"panel"`` for shares of the panel, from the lower left corner.
        anchor: Which side of the text touches the point: ``"left"``, ``"centre"`` or ``"right"``.
        offset: Shift (right, up) in points.
        boxed: On a background of its own.
    """

    x: float
    y: float
    text: str
    frame: str = dataclasses.field(default="data", kw_only=True)
    anchor: str = dataclasses.field(default="left", kw_only=True)
    offset: tuple[float, float] = dataclasses.field(default=(0.0, 0.0), kw_only=True)
    boxed: bool = dataclasses.field(default=False, kw_only=True)

    def _check(self) -> None:
        super()._check()
        self._one_of("frame", ("data", "panel"))
        self._one_of("anchor", ("left", "centre", "right"))

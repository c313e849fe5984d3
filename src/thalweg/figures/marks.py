"""What is drawn inside a flat panel: lines, bands, points, bars, fields and annotations.

Arrays follow the axis letters M (points of a curve), K (curves or points), R × C (rows × columns of a field, rows along
y). Common keywords of every mark that carries data:

``label``
    Its entry in the legend; no entry if empty. Equal labels share one entry and one colour over the whole figure.
``group``
    A key for the colour where several marks belong together but only one is in the legend (a line and its band);
    the label is the key if this is empty.
``colour``
    A fixed colour instead: a slot of the categorical palette (0, 1, …), ``"ink"``, ``"muted"``, ``"accent"`` or
    ``"#rrggbb"``.
``side``
    ``"left"`` or ``"right"``: which of the panel's y axes it belongs to.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from thalweg.errors import InputError, nearest
from thalweg.figures.record import Matrix, Record, Vector
from thalweg.figures.scales import ColourScale

__all__ = [
    "Arrows", "Band", "Bars", "Contour", "ErrorBars", "HLine", "Heatmap", "Histogram", "Line", "Lines", "Mark",
    "Scatter", "Span", "Text", "VLine",
]  # fmt: skip

STYLES = ("solid", "dashed", "dotted", "dashdot")
SYMBOLS = ("circle", "square", "triangle", "diamond", "cross", "plus", "triangle-down", "star")
NAMED_COLOURS = ("ink", "muted", "accent")


@dataclasses.dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Mark(Record):
    """What every mark has: its place in the legend, its colour and its axis (see the module)."""

    label: str = ""
    group: str = ""
    colour: int | str | None = None
    side: str = "left"
    opacity: float = 1.0

    @property
    def key(self) -> str:
        """What decides the colour: the group, else the label."""
        return self.group or self.label

    def _check(self) -> None:
        colour = self.colour
        if isinstance(colour, str) and colour not in NAMED_COLOURS and not re.fullmatch(r"#[0-9a-fA-F]{6}", colour):
            raise self._refuse("colour", f"must be a palette slot, one of {NAMED_COLOURS} or #rrggbb, found {colour!r}")
        if isinstance(colour, int) and colour < 0:
            raise self._refuse("colour", f"must be a palette slot of at least 0, found {colour}")
        self._one_of("side", ("left", "right"))
        if not 0 < self.opacity <= 1:
            raise self._refuse("opacity", f"must be in (0, 1], found {self.opacity}")

    def _one_of(self, field: str, options: tuple[str, ...]) -> None:
        found = getattr(self, field)
        if found not in options:
            raise self._refuse(field, f"must be one of {', '.join(options)}, found {found!r}{nearest(found, options)}")

    def _lengths(self, reference: str, *fields: str) -> None:
        """Every given per-point field is as long as the reference."""
        expected = len(getattr(self, reference))
        for field in fields:
            value = getattr(self, field)
            absent = value is None or (isinstance(value, tuple) and not value)
            if not absent and len(value) != expected:
                raise self._refuse(field, f"must have as many entries as {reference} ({expected}), found {len(value)}")


def _shape(name: str, z: Any, x: Any, y: Any) -> None:
    if z.shape != (len(y), len(x)):
        raise InputError(f"{name}.z must have shape [len(y), len(x)] = {[len(y), len(x)]}, found {list(z.shape)}")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Line(Mark):
    """A curve through x (M,), y (M,); NaN leaves a gap.

    Attributes:
        style: ``"solid"``, ``"dashed"``, ``"dotted"`` or ``"dashdot"``.
        width: In points.
        symbol: Marker at every point, one of ``SYMBOLS``; none if empty.
        steps: Constant between points (a step after each x) instead of straight.

    >>> Line([0, 1, 2], [1.0, 0.1, float("nan")], label="training loss").y.dtype
    dtype('float64')
    """

    x: Vector
    y: Vector
    style: str = dataclasses.field(default="solid", kw_only=True)
    width: float = dataclasses.field(default=1.5, kw_only=True)
    symbol: str = dataclasses.field(default="", kw_only=True)
    steps: bool = dataclasses.field(default=False, kw_only=True)

    def _check(self) -> None:
        super()._check()
        self._lengths("x", "y")
        self._one_of("style", STYLES)
        self._one_of("symbol", ("", *SYMBOLS))


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Lines(Mark):
    """Many curves at once: x (M,), y (K, M): a fan of perturbed parameters, a hundred replicas.

    Attributes:
        values: (K,) numbers that colour the curves by ``scale``; otherwise all have one colour.
        scale: The colour scale of ``values``.
        names: (K,) what the cursor shows at each curve.
        width: In points.
    """

    x: Vector
    y: Matrix
    values: Vector | None = None
    scale: ColourScale = dataclasses.field(default_factory=ColourScale, kw_only=True)
    names: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)
    width: float = dataclasses.field(default=0.8, kw_only=True)

    def _check(self) -> None:
        super()._check()
        if self.y.shape[1] != len(self.x):
            raise self._refuse("y", f"must have shape [K, len(x) = {len(self.x)}], found {list(self.y.shape)}")
        self._lengths("y", "values", "names")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Band(Mark):
    """The area between low (M,) and high (M,) over x (M,): a spread or interval, which the label or caption names."""

    x: Vector
    low: Vector
    high: Vector
    opacity: float = dataclasses.field(default=0.22, kw_only=True)

    def _check(self) -> None:
        super()._check()
        self._lengths("x", "low", "high")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Scatter(Mark):
    """Points at x (K,), y (K,), coloured alike, by category or by value.

    Attributes:
        categories: (K,) words; a colour and a legend entry each.
        values: (K,) numbers coloured by ``scale`` (NaN in a grey of its own). Not together with ``categories``.
        scale: The colour scale of ``values``.
        markers: (K,) words of a second category; a symbol and a legend entry each.
        symbol: The symbol of all points where ``markers`` is empty.
        texts: (K,) labels written beside the points; leave most empty, or they hide each other.
        hover: (K,) what the cursor shows beside the coordinates; lines split by a newline.
        keys: (K,) names of ``Figure.details`` that a click on a point opens in the report.
        size: Diameter in points, one number or (K,) numbers.
        joined: Draw a thin line through the points in order, per category.
    """

    x: Vector
    y: Vector
    categories: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)
    values: Vector | None = None
    scale: ColourScale = dataclasses.field(default_factory=ColourScale, kw_only=True)
    markers: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)
    symbol: str = dataclasses.field(default="circle", kw_only=True)
    texts: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)
    hover: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)
    keys: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)
    size: float | tuple[float, ...] = dataclasses.field(default=5.0, kw_only=True)
    joined: bool = dataclasses.field(default=False, kw_only=True)

    def _check(self) -> None:
        super()._check()
        self._lengths("x", "y", "categories", "values", "markers", "texts", "hover", "keys")
        if isinstance(self.size, tuple):
            self._lengths("x", "size")
        self._one_of("symbol", SYMBOLS)
        if self.categories and self.values is not None:
            raise self._refuse("values", "cannot be given together with categories: a point has one colour")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ErrorBars(Mark):
    """Intervals around x (K,), y (K,), as absolute ends, so that they may be asymmetric.

    Attributes:
        low: (K,) lower ends along y, ``high`` the upper ones.
        left: (K,) lower ends along x, ``right`` the upper ones.
        symbol: Marker at the centres; none if empty (where a ``Scatter`` draws them).
        size: Of the marker, in points.
        joined: Connect the centres by a line.
    """

    x: Vector
    y: Vector
    low: Vector | None = None
    high: Vector | None = None
    left: Vector | None = None
    right: Vector | None = None
    symbol: str = dataclasses.field(default="", kw_only=True)
    size: float = dataclasses.field(default=5.0, kw_only=True)
    joined: bool = dataclasses.field(default=False, kw_only=True)

    def _check(self) -> None:
        super()._check()
        self._lengths("x", "y", "low", "high", "left", "right")
        self._one_of("symbol", ("", *SYMBOLS))
        for a, b in (("low", "high"), ("left", "right")):
            if (getattr(self, a) is None) != (getattr(self, b) is None):
                raise self._refuse(a, f"and {b} must be given together")
        if self.low is None and self.left is None:
            raise self._refuse("low", "and high, or left and right, must be given")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Histogram(Mark):
    """Heights (B,) over bins with edges (B + 1,): counts or a density, which the axis names.

    >>> counts, edges = [3, 5, 1], [0.0, 0.5, 1.0, 1.5]
    >>> Histogram(edges, counts, label="eigenvalues").heights.tolist()
    [3, 5, 1]
    """

    edges: Vector
    heights: Vector
    filled: bool = dataclasses.field(default=True, kw_only=True)

    def _check(self) -> None:
        super()._check()
        if len(self.edges) != len(self.heights) + 1:
            raise self._refuse("edges", f"must be one more than heights ({len(self.heights)}), found {len(self.edges)}")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Bars(Mark):
    """A bar of ``values`` (K,) per word of ``names``; several ``Bars`` in a panel stand side by side.

    Attributes:
        low: (K,) lower ends of an interval around each value, ``high`` the upper ones.
        horizontal: Names along y, values along x (for long names).
    """

    names: tuple[str, ...]
    values: Vector
    low: Vector | None = None
    high: Vector | None = None
    horizontal: bool = dataclasses.field(default=False, kw_only=True)

    def _check(self) -> None:
        super()._check()
        self._lengths("names", "values", "low", "high")
        if (self.low is None) != (self.high is None):
            raise self._refuse("low", "and high must be given together")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Heatmap(Mark):
    """A field z (R, C) as coloured cells centred at x (C,), y (R,), both ascending; NaN cells stay visibly empty.

    Attributes:
        scale: The colour scale, drawn beside the panel.
        texts: Words in the cells, R rows of C; none if empty.
    """

    x: Vector
    y: Vector
    z: Matrix
    scale: ColourScale = dataclasses.field(default_factory=ColourScale, kw_only=True)
    texts: tuple[tuple[str, ...], ...] = dataclasses.field(default=(), kw_only=True)

    def _check(self) -> None:
        super()._check()
        _shape("Heatmap", self.z, self.x, self.y)
        if self.texts and [len(row) for row in self.texts] != [len(self.x)] * len(self.y):
            raise self._refuse("texts", f"must be {len(self.y)} rows of {len(self.x)} words")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Contour(Mark):
    """Level lines of a field z (R, C) given at x (C,), y (R,), both ascending.

    Attributes:
        scale: The colour scale; the automatic levels are even on it (powers for ``log``).
        levels: (L,) ascending levels instead of automatic ones.
        count: About how many automatic levels.
        filled: Colour the areas between the lines (and draw a colour bar); else the lines carry the colour, or have
            the one given by ``colour``.
        labels: Write the level on its line.
    """

    x: Vector
    y: Vector
    z: Matrix
    levels: Vector | None = None
    scale: ColourScale = dataclasses.field(default_factory=ColourScale, kw_only=True)
    count: int = dataclasses.field(default=12, kw_only=True)
    filled: bool = dataclasses.field(default=False, kw_only=True)
    labels: bool = dataclasses.field(default=True, kw_only=True)

    def _check(self) -> None:
        super()._check()
        _shape("Contour", self.z, self.x, self.y)
        if min(self.z.shape) < 2:
            raise self._refuse("z", f"must be at least 2 × 2, found shape {list(self.z.shape)}")
        if self.levels is not None and not (self.levels[1:] > self.levels[:-1]).all():
            raise self._refuse("levels", "must be ascending")


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

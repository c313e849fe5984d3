"""Marks made of points: lines, bands, scatters, intervals, bars.

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

import numpy as np

from thalweg.figures.mark import STYLES, SYMBOLS, Mark
from thalweg.figures.record import Matrix, Vector
from thalweg.figures.scales import ColourScale

__all__ = ["Band", "Bars", "ErrorBars", "Histogram", "Line", "Lines", "Scatter"]


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

    @property
    def shaded(self) -> tuple[ColourScale, np.ndarray] | None:
        """See ``Mark``."""
        return None if self.values is None else (self.scale, self.values)

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

    @property
    def shaded(self) -> tuple[ColourScale, np.ndarray] | None:
        """See ``Mark``."""
        return None if self.values is None else (self.scale, self.values)

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

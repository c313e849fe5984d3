"""What is drawn inside a panel of three dimensions: a surface, a path, points.

A panel is spatial as soon as it holds one of these; it then needs the axes x, y and z. Axis letters as in
:mod:`thalweg.figures.marks`.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from thalweg.figures.fields import check_shape
from thalweg.figures.mark import STYLES, SYMBOLS, Mark
from thalweg.figures.record import Matrix, Vector
from thalweg.figures.scales import ColourScale

__all__ = ["Path3D", "Scatter3D", "Spatial", "Surface3D"]


@dataclasses.dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Spatial(Mark):
    """Base of the marks of a spatial panel."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Surface3D(Spatial):
    """Heights z (R, C) over x (C,), y (R,), coloured by ``values`` (R, C), or by height if there are none.

    Attributes:
        scale: The colour scale.
        floor: Draw level lines of the heights on the floor of the box.
    """

    x: Vector
    y: Vector
    z: Matrix
    values: Matrix | None = None
    scale: ColourScale = dataclasses.field(default_factory=ColourScale, kw_only=True)
    floor: bool = dataclasses.field(default=False, kw_only=True)

    @property
    def shaded(self) -> tuple[ColourScale, np.ndarray] | None:
        """See ``Mark``."""
        return (self.scale, self.z if self.values is None else self.values)

    def _check(self) -> None:
        super()._check()
        check_shape("Surface3D", self.z, self.x, self.y)
        if self.values is not None and self.values.shape != self.z.shape:
            raise self._refuse("values", f"must have z's shape {list(self.z.shape)}, found {list(self.values.shape)}")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Path3D(Spatial):
    """A curve through x, y, z (M,), in one colour or coloured along its way by ``values`` (M,).

    Attributes:
        scale: The colour scale of ``values``.
        symbol: Marker at every point; none if empty.
        hover: (M,) what the cursor shows beside the coordinates.
    """

    x: Vector
    y: Vector
    z: Vector
    values: Vector | None = None
    scale: ColourScale = dataclasses.field(default_factory=ColourScale, kw_only=True)
    symbol: str = dataclasses.field(default="", kw_only=True)
    style: str = dataclasses.field(default="solid", kw_only=True)
    width: float = dataclasses.field(default=1.8, kw_only=True)
    hover: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)

    @property
    def shaded(self) -> tuple[ColourScale, np.ndarray] | None:
        """See ``Mark``."""
        return None if self.values is None else (self.scale, self.values)

    def _check(self) -> None:
        super()._check()
        self._lengths("x", "y", "z", "values", "hover")
        self._one_of("symbol", ("", *SYMBOLS))
        self._one_of("style", STYLES)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Scatter3D(Spatial):
    """Points at x, y, z (K,); colours, symbols, texts, hover and keys as for ``Scatter``."""

    x: Vector
    y: Vector
    z: Vector
    categories: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)
    values: Vector | None = None
    scale: ColourScale = dataclasses.field(default_factory=ColourScale, kw_only=True)
    markers: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)
    symbol: str = dataclasses.field(default="circle", kw_only=True)
    texts: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)
    hover: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)
    keys: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)
    size: float | tuple[float, ...] = dataclasses.field(default=4.0, kw_only=True)

    @property
    def shaded(self) -> tuple[ColourScale, np.ndarray] | None:
        """See ``Mark``."""
        return None if self.values is None else (self.scale, self.values)

    def _check(self) -> None:
        super()._check()
        self._lengths("x", "y", "z", "categories", "values", "markers", "texts", "hover", "keys")
        if isinstance(self.size, tuple):
            self._lengths("x", "size")
        self._one_of("symbol", SYMBOLS)
        if self.categories and self.values is not None:
            raise self._refuse("values", "cannot be given together with categories: a point has one colour")

"""Marks that show a number at every place of a panel: heat maps and level lines."""

from __future__ import annotations

import dataclasses

import numpy as np

from thalweg.errors import InputError
from thalweg.figures.mark import Mark
from thalweg.figures.record import Matrix, Vector
from thalweg.figures.scales import ColourScale

__all__ = ["Contour", "Heatmap", "check_shape"]


def check_shape(name: str, z: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """Refuse a field whose shape does not follow from its coordinates, or without a cell."""
    if z.shape != (len(y), len(x)):
        raise InputError(f"{name}.z must have shape [len(y), len(x)] = {[len(y), len(x)]}, found {list(z.shape)}")
    if not z.size:
        raise InputError(f"{name}.z must hold at least one cell, found shape {list(z.shape)}")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Heatmap(Mark):
    """A field z (R, C) as coloured cells centred at x (C,), y (R,), both ascending; NaN and infinite cells are grey.

    Attributes:
        scale: The colour scale, drawn beside the panel.
        texts: Words in the cells, R rows of C; none if empty.
    """

    x: Vector
    y: Vector
    z: Matrix
    scale: ColourScale = dataclasses.field(default_factory=ColourScale, kw_only=True)
    texts: tuple[tuple[str, ...], ...] = dataclasses.field(default=(), kw_only=True)

    @property
    def shaded(self) -> tuple[ColourScale, np.ndarray] | None:
        """See ``Mark``."""
        return (self.scale, self.z)

    def _check(self) -> None:
        super()._check()
        check_shape("Heatmap", self.z, self.x, self.y)
        if self.texts and [len(row) for row in self.texts] != [len(self.x)] * len(self.y):
            raise self._refuse("texts", f"must be {len(self.y)} rows of {len(self.x)} words")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Contour(Mark):
    """Level lines of a field z (R, C) given at x (C,), y (R,), both ascending.

    Filled, what is NaN or infinite stays grey. A field of one row or column has no lines, but coloured cells.

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

    @property
    def shaded(self) -> tuple[ColourScale, np.ndarray] | None:
        """See ``Mark``."""
        return (self.scale, self.z) if self.colour is None else None

    def _check(self) -> None:
        super()._check()
        check_shape("Contour", self.z, self.x, self.y)
        if self.levels is not None and not (self.levels[1:] > self.levels[:-1]).all():
            raise self._refuse("levels", "must be ascending")

"""What a surface is: values on a grid along one, two or three directions, with their picture, table and sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from thalweg._lazy import polars as pl
from thalweg._short import short
from thalweg.errors import InputError
from thalweg.landscape.directions import Directions
from thalweg.landscape.grid import Axes
from thalweg.landscape.plane import PathOnPlane
from thalweg.landscape.plane_figures import on_plane
from thalweg.landscape.surface_figures import curve, flat, space
from thalweg.results import BaseResult
from thalweg.results.words import typeset

if TYPE_CHECKING:
    from thalweg.figures import Figure

__all__ = ["Surface"]

ALONG = {"trajectory": "the principal components of the trajectory", "gradient": "the gradient"}
"""Kinds of directions that a title names in other words."""


@short
@dataclass(frozen=True, eq=False)
class Surface(BaseResult):
    """Values on a grid in the coordinates of K directions.

    Args:
        axes: K ascending arrays of coordinates, in units of the lengths of the directions; zero is one of each.
        values: name -> (len(axes[0]), len(axes[1]), …) float64, indexed by the first direction first; NaN and infinite
            where the loss is.
        directions: Along which.
        center: (P,), θ at the coordinates zero.
        notes: Sentences: what the directions hide, how the range was found, where the grid was refined, how many values
            are not finite.
    """

    axes: Axes
    values: dict[str, np.ndarray]
    directions: Directions
    center: Tensor = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of points along each axis."""
        return tuple(len(axis) for axis in self.axes)

    @property
    def center_index(self) -> tuple[int, ...]:
        """Where the centre lies on the grid."""
        return tuple(int(np.flatnonzero(axis == 0)[0]) for axis in self.axes)

    def at_center(self, name: str) -> float:
        """The value at θ itself."""
        return float(self.values[name][self.center_index])

    def coordinates(self) -> np.ndarray:
        """All cells, (len(axes[0]), len(axes[1]), …, K)."""
        return np.stack(np.meshgrid(*self.axes, indexing="ij"), axis=-1)

    def plot(
        self,
        metric: str | None = None,
        *,
        path: PathOnPlane | None = None,
        places: Mapping[str, Sequence[float]] | None = None,
        name: str = "surface",
        title: str = "",
    ) -> Figure:
        """The values of one metric: a curve along one direction, levels and cells along two.

        Args:
            metric: Which; default the first.
            path: What :func:`~thalweg.landscape.path_on_plane` found along the same directions, drawn over it.
            places: Name -> coordinates of places that are marked by a star.
            name: Of the figure.
            title: Of the figure; default what is shown along what.

        Raises:
            InputError: There is no such metric, or the surface has three directions (`export_surface` writes it for
                ParaView).
        """
        key, said, title = self._said(metric, title)
        if len(self.axes) > 2:
            raise InputError("a surface of three directions cannot be plotted: export it with export_surface")
        labels, notes = ([typeset(text) for text in texts] for texts in (self.directions.labels, self.notes))
        track = None if path is None else path.track(metric)
        shared: dict[str, Any] = {"name": name, "title": title, "notes": notes}
        if len(self.axes) == 1:
            there: dict[str, Any] = {}
            if track is not None:
                there = {"places": track.coordinates.ravel(), "true": track.true.ravel()}
            return curve(self.axes[0], labels[0], self.values[key], said, **shared, **there)
        above, named = (on_plane(track, places or {}, texts=texts) for texts in (False, True))
        more = "" if path is None else " The line is the projection of the path of training."
        return flat(self.axes, labels, self.values[key], said, above=above, named=named, more=more, **shared)

    def space(
        self,
        metric: str | None = None,
        *,
        path: PathOnPlane | None = None,
        places: Mapping[str, Sequence[float]] | None = None,
        name: str = "space",
        title: str = "",
    ) -> Figure:
        """The values of one metric along two directions as heights, to be turned; arguments as :meth:`plot`."""
        key, said, title = self._said(metric, title)
        if len(self.axes) != 2:
            raise InputError(f"heights need a surface of two directions, found {len(self.axes)}")
        labels = [typeset(label) for label in self.directions.labels]
        marked = {"path": None if path is None else path.track(metric), "places": places}
        return space(self.axes, labels, self.values[key], said, name=name, title=title, **marked)

    def _said(self, metric: str | None, title: str) -> tuple[str, str, str]:
        """The name of a metric, its words, and the title of its figure."""
        key = next(iter(self.values)) if metric is None else metric
        if key not in self.values:
            raise InputError(f"metric must be one of {', '.join(self.values)}, found '{key}'")
        said, kind = key.replace("_", " "), self.directions.kind
        return key, said, title or f"The {said} along {ALONG.get(kind, kind)}"

    def table(self) -> pl.DataFrame:
        """One row per cell: the coordinates "c1", "c2", …, then every metric."""
        places = self.coordinates().reshape(-1, len(self.axes))
        columns = {f"c{k + 1}": places[:, k] for k in range(len(self.axes))}
        return pl.DataFrame(columns | {name: value.ravel() for name, value in self.values.items()})

    def summary(self) -> str:
        """The first metric at the centre, its range, and how many cells are finite."""
        name, values = next(iter(self.values.items()))
        finite = values[np.isfinite(values)]
        cells = " × ".join(map(str, self.shape))
        if not finite.size:
            return f"None of {cells} cells has a finite {name}."
        lowest = np.unravel_index(np.nanargmin(np.where(np.isfinite(values), values, np.nan)), values.shape)
        place = ", ".join(f"{axis[k]:.3g}" for axis, k in zip(self.axes, lowest, strict=True))
        lost = values.size - finite.size
        bad = f" {lost} of {values.size} cells are not finite." if lost else ""
        return (
            f"The {name} is {self.at_center(name):.4g} at the center; in {cells} cells it goes from {finite.min():.4g} "
            f"(at {place}) to {finite.max():.4g}.{bad}"
        )

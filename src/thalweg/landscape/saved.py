"""A surface as numbers alone, without its directions and model: what is kept, drawn and written for other programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from thalweg._lazy import polars as pl
from thalweg._short import short
from thalweg.errors import InputError
from thalweg.landscape.surface import Surface

__all__ = ["SavedSurface"]


@short
@dataclass(frozen=True, eq=False)
class SavedSurface:
    """A surface as numbers alone, perhaps with a path over it.

    Args:
        axes: One to three ascending coordinates (n₀,), (n₁,), (n₂,).
        labels: What each axis is.
        values: Metric -> (n₀, n₁, n₂), indexed as the axes; the first is the height.
        path: Columns of equal length M: "coordinates" (M, K) in the K axes, the first metric at these places of the
            surface under its own name, and anything else (M,), such as "true loss", "off-plane", "step". Empty: no
            path.

    Raises:
        InputError: Shapes that do not fit.

    >>> x, y = np.linspace(-1, 1, 3), np.linspace(0, 1, 5)
    >>> bowl = SavedSurface((x, y), ("first", "second"), {"loss": x[:, None] ** 2 + y})
    >>> list(bowl.arrays()), bowl.height
    (['axis/first', 'axis/second', 'value/loss'], 'loss')
    >>> bowl.table().shape
    (15, 3)
    """

    axes: tuple[np.ndarray, ...]
    labels: tuple[str, ...]
    values: Mapping[str, np.ndarray]
    path: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= len(self.axes) <= 3 or len(self.labels) != len(self.axes):
            raise InputError(f"axes must be one to three, with a label each, found {len(self.axes)}, {self.labels}")
        if len({*self.labels, *self.values}) < len(self.labels) + len(self.values):
            raise InputError(f"labels and metrics must differ, found {self.labels} and {tuple(self.values)}")
        shape = tuple(len(axis) for axis in self.axes)
        if not self.values:
            raise InputError("values must hold at least one metric, found none")
        for name, value in self.values.items():
            if value.shape != shape:
                raise InputError(f"values['{name}'] must have the shape of the axes {shape}, found {value.shape}")
        if self.path:
            self._check_path()

    def _check_path(self) -> None:
        for name in ("coordinates", self.height):
            if name not in self.path:
                raise InputError(f"path must hold '{name}', found {tuple(self.path)}")
        expected = (len(self.path[self.height]), len(self.axes))
        if self.path["coordinates"].shape != expected:
            raise InputError(f"path['coordinates'] must have shape {expected}, found {self.path['coordinates'].shape}")
        for name, column in self.path.items():
            if name != "coordinates" and column.shape != expected[:1]:
                raise InputError(f"path['{name}'] must have shape {expected[:1]}, found {column.shape}")

    @classmethod
    def of(cls, surface: Any, path: Mapping[str, np.ndarray] | None = None) -> SavedSurface:
        """The numbers of a :class:`~thalweg.landscape.Surface`.

        Args:
            surface: It, or numbers that are saved already.
            path: A path over it, as above; default none, or the one that was saved with it.

        Returns:
            The numbers; of directions with equal labels (two eigenvectors of equal eigenvalues) all but the first are
            numbered.
        """
        if isinstance(surface, SavedSurface):
            return surface if path is None else cls(surface.axes, surface.labels, surface.values, path)
        if not isinstance(surface, Surface):
            raise InputError(f"surface must be a Surface or a SavedSurface, found {type(surface).__name__}")
        axes = tuple(np.asarray(axis) for axis in surface.axes)
        values = {name: np.asarray(value) for name, value in surface.values.items()}
        given = surface.directions.labels
        labels = [label if label not in given[:k] else f"{label} ({k + 1})" for k, label in enumerate(given)]
        return cls(axes, tuple(labels), values, path or {})

    @property
    def height(self) -> str:
        """The metric that is drawn as height: the first."""
        return next(iter(self.values))

    def arrays(self) -> dict[str, np.ndarray]:
        """All numbers by name, as a run keeps them; :meth:`from_arrays` undoes it."""
        out = {f"axis/{label}": axis for label, axis in zip(self.labels, self.axes, strict=True)}
        out |= {f"value/{name}": value for name, value in self.values.items()}
        return out | {f"path/{name}": column for name, column in self.path.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> SavedSurface:
        """The surface whose :meth:`arrays` these are."""
        parts: dict[str, dict[str, np.ndarray]] = {"axis": {}, "value": {}, "path": {}}
        for key, array in arrays.items():
            kind, _, name = key.partition("/")
            if kind not in parts:
                raise InputError(f"a saved surface must hold axis/…, value/… and path/…, found '{key}'")
            parts[kind][name] = np.asarray(array)
        return cls(tuple(parts["axis"].values()), tuple(parts["axis"]), parts["value"], parts["path"])

    def table(self) -> pl.DataFrame:
        """One row per cell: coordinates under the labels, then every metric; the last axis runs fastest."""
        places = np.meshgrid(*self.axes, indexing="ij")
        columns = {label: place.ravel() for label, place in zip(self.labels, places, strict=True)}
        return pl.DataFrame(columns | {name: value.ravel() for name, value in self.values.items()})

    def path_table(self) -> pl.DataFrame:
        """One row per point of the path: coordinates under the labels, then every column."""
        places = self.path["coordinates"]
        columns = {label: places[:, k] for k, label in enumerate(self.labels)}
        return pl.DataFrame(columns | {name: value for name, value in self.path.items() if name != "coordinates"})

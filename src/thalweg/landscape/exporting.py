"""Surfaces for other programs: VTK XML for ParaView, npz for numpy, Parquet tables.

What is written is a :class:`SavedSurface`: a surface without its directions and model, as numbers alone. The same
numbers are what an experiment keeps in its run folder (results ``surface-NAME``), so that `thalweg export RUN --to vtk`
computes nothing.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg._files.writing import write_bytes
from thalweg._short import short
from thalweg.declared import declared
from thalweg.errors import InputError, nearest
from thalweg.landscape.surface import Surface

if TYPE_CHECKING:
    import polars as pl

    from thalweg.runs import Run

__all__ = ["FORMATS", "SavedSurface", "export", "export_surface"]

PREFIX = "surface-"
"""The results of a run that are saved surfaces."""


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
        import polars as pl

        places = np.meshgrid(*self.axes, indexing="ij")
        columns = {label: place.ravel() for label, place in zip(self.labels, places, strict=True)}
        return pl.DataFrame(columns | {name: value.ravel() for name, value in self.values.items()})

    def path_table(self) -> pl.DataFrame:
        """One row per point of the path: coordinates under the labels, then every column."""
        import polars as pl

        places = self.path["coordinates"]
        columns = {label: places[:, k] for k, label in enumerate(self.labels)}
        return pl.DataFrame(columns | {name: value for name, value in self.path.items() if name != "coordinates"})


@declared
def export_surface(
    surface: Any,
    stem: str | Path,
    to: str = "vtk",
    *,
    path: Mapping[str, np.ndarray] | None = None,
    log: bool | None = None,
) -> tuple[Path, ...]:
    """Write a surface for another program.

    - ``"vtk"``: XML for ParaView. Curves and surfaces become structured grids (``.vts``) whose points carry the first
      metric as height, volumes image data (``.vti``; ``.vts`` where an axis is not evenly spaced); all metrics are
      point data. Points whose height is not finite are hidden, their data stay NaN or infinite. The path becomes a
      polyline (``-path.vtp``).
    - ``"npz"``: ``axis_0``, ``axis_1``, …, ``labels``, every metric by name, and the path as ``path_…``.
    - ``"parquet"``: a row per cell, and (``-path.parquet``) a row per point of the path.

    Args:
        surface: A :class:`~thalweg.landscape.Surface` or :class:`SavedSurface`.
        stem: Path without suffix.
        to: The format.
        path: A path over the surface, see :class:`SavedSurface`.
        log: Whether the height in VTK is the decimal logarithm of the first metric; default if it is positive and
            spans at least two decades. The metric itself is point data either way.

    Returns:
        The files.

    Raises:
        InputError: An unknown format, shapes that do not fit, or a logarithmic height without positive values.
        WriteError: A file cannot be written.

    Example:
        >>> import tempfile
        >>> x = np.linspace(-1, 1, 5)
        >>> bowl = SavedSurface((x, x), ("a", "b"), {"loss": x[:, None] ** 2 + x**2})
        >>> [file.name for file in export_surface(bowl, Path(tempfile.mkdtemp()) / "bowl")]
        ['bowl.vts']
    """
    if to not in FORMATS:
        raise InputError(f"to must be one of {', '.join(FORMATS)}, found '{to}'{nearest(to, FORMATS)}")
    if log is not None and to != "vtk":
        raise InputError(f"log must be left out for {to}, which has no height, found {log}")
    contents = FORMATS[to](SavedSurface.of(surface, path), log)
    files = tuple(Path(f"{stem}{suffix}") for suffix in contents)
    for file, content in zip(files, contents.values(), strict=True):
        write_bytes(file, content)
    return files


def export(run: Run, to: str, folder: Path | None = None) -> Path:
    """Write all surfaces that a run has kept.

    Args:
        run: Any run, complete or not.
        to: As :func:`export_surface`.
        folder: Where to; default ``exports/<to>`` in the run.

    Raises:
        InputError: An unknown format, or a run that keeps no surface.
        WriteError: The files cannot be written.
    """
    kept = [name for name in run.results if name.startswith(PREFIX)]
    if not kept:
        raise InputError(f"run {run.path} keeps no surface that could be written as {to}")
    target = run.files.exports / to if folder is None else Path(folder)
    for name in kept:
        export_surface(SavedSurface.from_arrays(run.load(name)), target / name.removeprefix(PREFIX), to)
    return target


def _npz(surface: SavedSurface, _: bool | None) -> dict[str, bytes]:
    arrays = {f"axis_{k}": axis for k, axis in enumerate(surface.axes)} | {"labels": np.array(surface.labels)}
    arrays |= dict(surface.values) | {f"path_{name}": column for name, column in surface.path.items()}
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return {".npz": file.getvalue()}


def _parquet(surface: SavedSurface, _: bool | None) -> dict[str, bytes]:
    frames = {".parquet": surface.table()}
    frames |= {"-path.parquet": surface.path_table()} if surface.path else {}
    out = {}
    for suffix, frame in frames.items():
        file = io.BytesIO()
        frame.write_parquet(file)
        out[suffix] = file.getvalue()
    return out


def _vtk(surface: SavedSurface, log: bool | None) -> dict[str, bytes]:
    from thalweg.landscape import vtk

    return vtk.documents(surface, log)


FORMATS: dict[str, Callable[[SavedSurface, bool | None], dict[str, bytes]]] = {
    "vtk": _vtk,
    "npz": _npz,
    "parquet": _parquet,
}

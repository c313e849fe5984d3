"""Surfaces for other programs: VTK XML for ParaView, npz for numpy, Parquet tables.

What is written is a :class:`SavedSurface`: a surface without its directions and model, as numbers alone. The same
numbers are what an experiment keeps in its run folder (results ``surface-NAME``), so that `thalweg export RUN --to vtk`
computes nothing.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg._files.writing import write_bytes
from thalweg.declared import declared
from thalweg.errors import InputError, nearest
from thalweg.landscape import vtk
from thalweg.landscape.saved import SavedSurface

if TYPE_CHECKING:
    from thalweg.runs import Run

__all__ = ["FORMATS", "export", "export_surface"]

PREFIX = "surface-"
"""The results of a run that are saved surfaces."""


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


FORMATS: dict[str, Callable[[SavedSurface, bool | None], dict[str, bytes]]] = {
    "vtk": vtk.documents,
    "npz": _npz,
    "parquet": _parquet,
}

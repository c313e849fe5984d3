"""VTK XML: the files that ParaView opens, with exact numbers (inline base64, little-endian)."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from xml.sax.saxutils import quoteattr

import numpy as np

from thalweg.errors import InputError
from thalweg.landscape.saved import SavedSurface

__all__ = ["documents"]

HIDDEN = 2  # vtkDataSetAttributes::HIDDENPOINT
DECADES = 2  # from here on the height is logarithmic by itself


def documents(surface: SavedSurface, log: bool | None) -> dict[str, bytes]:
    """Suffix -> content of the files of one surface; see :func:`thalweg.landscape.exporting.export_surface`."""
    volume = len(surface.axes) == 3
    if volume and log:
        raise InputError("log must be left out for three axes, where nothing is drawn as height, found True")
    if volume and all(_even(axis) for axis in surface.axes):
        out = {".vti": _image(surface)}
    else:
        out = {".vts": _grid(surface, log=not volume and _logarithmic(surface, log))}
    if surface.path:
        out["-path.vtp"] = _polyline(surface, log=not volume and _logarithmic(surface, log))
    return out


def _logarithmic(surface: SavedSurface, log: bool | None) -> bool:
    heights = surface.values[surface.height]
    finite = heights[np.isfinite(heights)]
    positive = finite[finite > 0]
    if log and not positive.size:
        raise InputError(f"log must be False for a surface without a positive {surface.height}, found True")
    if log is None:
        return bool(finite.size and positive.size == finite.size and finite.max() >= 10**DECADES * finite.min())
    return log


def _even(axis: np.ndarray) -> bool:
    steps = np.diff(axis)
    return len(axis) > 1 and bool(np.allclose(steps, steps[0], rtol=1e-6, atol=0))


def _height(values: np.ndarray, *, log: bool) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log10(values) if log else np.asarray(values, dtype=np.float64)


def _lowest(surface: SavedSurface, *, log: bool) -> float:
    heights = _height(surface.values[surface.height], log=log)
    return float(heights[np.isfinite(heights)].min()) if np.isfinite(heights).any() else 0.0


def _placed(coordinates: np.ndarray, height: np.ndarray | None, floor: float) -> np.ndarray:
    """(M, 3) points; with a height (M,), it is the z of curves and surfaces, and what is not finite lies on the floor.

    >>> _placed(np.array([[1.0], [2.0]]), np.array([0.5, np.inf]), 0.0).tolist()
    [[1.0, 0.0, 0.5], [2.0, 0.0, 0.0]]
    """
    out = np.zeros((len(coordinates), 3))
    out[:, : coordinates.shape[1]] = coordinates
    if height is not None:
        out[:, 2] = np.where(np.isfinite(height), height, floor)
    return out


def _grid(surface: SavedSurface, *, log: bool) -> bytes:
    places = np.stack([p.ravel(order="F") for p in np.meshgrid(*surface.axes, indexing="ij")], axis=1)
    height = None
    if len(surface.axes) < 3:
        height = _height(surface.values[surface.height], log=log).ravel(order="F")
    points = _placed(places, height, _lowest(surface, log=log))
    data = _point_data(surface, None if height is None else np.where(np.isfinite(height), 0, HIDDEN).astype(np.uint8))
    extent = _extent(surface)
    body = f"<Piece Extent={extent}>{data}<Points>{_array('Points', points)}</Points></Piece>"
    return _file("StructuredGrid", f"<StructuredGrid WholeExtent={extent}>{body}</StructuredGrid>")


def _image(surface: SavedSurface) -> bytes:
    extent = _extent(surface)
    origin = " ".join(repr(float(axis[0])) for axis in surface.axes)
    spacing = " ".join(repr(float(axis[-1] - axis[0]) / (len(axis) - 1)) for axis in surface.axes)
    body = f"<Piece Extent={extent}>{_point_data(surface, None)}</Piece>"
    head = f'<ImageData WholeExtent={extent} Origin="{origin}" Spacing="{spacing}">'
    return _file("ImageData", f"{head}{body}</ImageData>")


def _polyline(surface: SavedSurface, *, log: bool) -> bytes:
    path = surface.path
    height = _height(path[surface.height], log=log) if len(surface.axes) < 3 else None
    points = _placed(path["coordinates"], height, _lowest(surface, log=log))
    count = len(points)
    columns = _arrays({name: column for name, column in path.items() if name != "coordinates"})
    cells = _array("connectivity", np.arange(count)) + _array("offsets", np.array([count]))
    head = f'<Piece NumberOfPoints="{count}" NumberOfVerts="0" NumberOfLines="1" NumberOfStrips="0" NumberOfPolys="0">'
    body = f"<PointData>{columns}</PointData><Points>{_array('Points', points)}</Points><Lines>{cells}</Lines>"
    return _file("PolyData", f"<PolyData>{head}{body}</Piece></PolyData>")


def _point_data(surface: SavedSurface, hidden: np.ndarray | None) -> str:
    arrays = {name: value.ravel(order="F") for name, value in surface.values.items()}
    if hidden is not None and hidden.any():
        arrays["vtkGhostType"] = hidden
    return f"<PointData Scalars={quoteattr(surface.height)}>{_arrays(arrays)}</PointData>"


def _extent(surface: SavedSurface) -> str:
    counts = [len(axis) - 1 for axis in surface.axes] + [0] * (3 - len(surface.axes))
    return f'"0 {counts[0]} 0 {counts[1]} 0 {counts[2]}"'


def _arrays(columns: Mapping[str, np.ndarray]) -> str:
    return "".join(_array(name, column) for name, column in columns.items())


def _array(name: str, values: np.ndarray) -> str:
    """One array: its length in bytes as UInt64, then its bytes, in base64."""
    plain = np.ascontiguousarray(values)
    plain = plain.astype(plain.dtype.newbyteorder("<"), copy=False)
    kind = {"f": "Float", "i": "Int", "u": "UInt", "b": "UInt"}[plain.dtype.kind] + str(8 * plain.dtype.itemsize)
    parts = f' NumberOfComponents="{values.shape[1]}"' if values.ndim == 2 else ""
    text = base64.b64encode(np.array(plain.nbytes, "<u8").tobytes() + plain.tobytes()).decode()
    return f'<DataArray type="{kind}" Name={quoteattr(name)}{parts} format="binary">{text}</DataArray>\n'


def _file(kind: str, body: str) -> bytes:
    head = f'<VTKFile type="{kind}" version="1.0" byte_order="LittleEndian" header_type="UInt64">'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}\n{body}\n</VTKFile>\n'.encode()

"""Data in a file: arrays (.npz), a table (.csv, .parquet), or a folder of images in a folder for each class."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from thalweg._lazy import polars as pl
from thalweg.errors import InputError, brief, first_line, nearest

__all__ = ["Arrays", "read"]

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
_FOUR = {"x_train", "y_train", "x_test", "y_test"}


@dataclass(frozen=True, eq=False)
class Arrays:
    """Inputs and targets of both sets; None where there is no test set."""

    train: tuple[NDArray[Any], NDArray[Any]]
    test: tuple[NDArray[Any], NDArray[Any]] | None


def read(path: Path, target: str = "") -> Arrays:
    """The arrays of a file or folder; integers as targets are classes, other numbers are values.

    Args:
        path: ``.npz`` with x_train, y_train and maybe x_test, y_test, or x and y; ``.csv`` or ``.parquet``; a folder of
            class folders, or of ``train`` and ``test`` with class folders in them.
        target: Name of the column of a table that is predicted.

    Raises:
        InputError: Another kind of file, one that is damaged, or one in which something is missing.
    """
    kinds: dict[str, Callable[[], Arrays]] = {
        ".npz": lambda: _arrays(path),
        ".csv": lambda: _table(path, target),
        ".parquet": lambda: _table(path, target),
    }
    if not path.exists():
        raise InputError(f"{path} must be a file that is there, found none")
    suffix = path.suffix.lower()
    if path.is_dir():
        return _images(path)
    if suffix not in kinds:
        raise InputError(
            f"data must be FILE.py:NAME, an .npz, .csv or .parquet file or a folder of images, found {path.name!r}"
        )
    if target and suffix == ".npz":
        raise InputError(f"data.target names a column of a table, found {target!r} for {path.name}")
    return kinds[suffix]()


def _arrays(path: Path) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as kept:
            found = {name: kept[name] for name in kept.files}
    except (OSError, ValueError, EOFError, KeyError, AttributeError, TypeError, BadZipFile, zlib.error) as error:
        raise InputError(f"{path.name} must be an .npz file of plain arrays, found: {first_line(error)}") from None
    names = set(found)
    if {"x_train", "y_train"} <= names and len(names & {"x_test", "y_test"}) != 1:
        test = (found["x_test"], found["y_test"]) if "x_test" in names else None
        return Arrays((found["x_train"], found["y_train"]), test)
    if {"x", "y"} <= names and not names & _FOUR:
        return Arrays((found["x"], found["y"]), None)
    raise InputError(
        f"{path.name} must hold x_train, y_train and maybe x_test, y_test, or x and y; found {', '.join(sorted(names))}"
    )


def _table(path: Path, target: str) -> Arrays:
    try:
        frame = pl.read_csv(path) if path.suffix.lower() == ".csv" else pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path.name} must be a table of {path.suffix[1:]}, found: {first_line(error)}") from None
    if target not in frame.columns:
        listed = ", ".join(frame.columns[:12])
        found = f"no {target!r}{nearest(target, frame.columns)}" if target else "none"
        raise InputError(f"data.target must name the column that is predicted, found {found}; columns: {listed}")
    inputs = frame.drop(target)
    for column in inputs.iter_columns():
        if not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
            raise InputError(f"columns of {path.name} must be numbers, found {column.dtype} in {column.name!r}")
    if not inputs.width:
        raise InputError(f"{path.name} must have a column beside {target!r}, found none")
    for column in frame.iter_columns():
        if column.null_count():
            raise InputError(f"{path.name} must have no empty cells, found {column.null_count():,} in {column.name!r}")
    return Arrays((inputs.cast(pl.Float64).to_numpy(), _targets(frame[target])), None)


def _targets(column: pl.Series) -> NDArray[Any]:
    """Numbers as they are, texts as the numbers of their classes in alphabetical order."""
    if column.dtype.is_float():
        return column.to_numpy()
    if column.dtype.is_integer() or str(column.dtype) == "Boolean":
        return column.to_numpy().astype(np.int64)
    return np.unique(column.cast(str).to_numpy().astype(str), return_inverse=True)[1].astype(np.int64)


def _images(folder: Path) -> Arrays:
    split = sorted(one.name for one in folder.iterdir() if one.is_dir() and not one.name.startswith("."))
    if set(split) >= {"train"} and set(split) <= {"train", "test", "val"}:
        classes = _classes(folder / "train")
        test = next((name for name in ("test", "val") if name in split), None)
        return Arrays(_set(folder / "train", classes), None if test is None else _set(folder / test, classes))
    return Arrays(_set(folder, _classes(folder)), None)


def _classes(folder: Path) -> list[str]:
    found = sorted(one.name for one in folder.iterdir() if one.is_dir() and not one.name.startswith("."))
    if len(found) < 2:
        raise InputError(f"{folder} must hold a folder of images for each class, at least two, found {len(found)}")
    return found


def _set(folder: Path, classes: list[str]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Images (N, C, H, W) of 8 bits and their classes (N,)."""
    if unknown := sorted({one.name for one in folder.iterdir() if one.is_dir()} - set(classes)):
        raise InputError(f"{folder} must hold the classes {', '.join(classes[:10])} only, found {brief(unknown[0])}")
    images, labels = [], []
    for number, name in enumerate(classes):
        place = folder / name
        files = sorted(one for one in place.iterdir() if one.suffix.lower() in IMAGES) if place.is_dir() else []
        images += [_image(file) for file in files]
        labels += [number] * len(files)
    if not images:
        raise InputError(f"{folder} must hold images ({', '.join(IMAGES)}), found none")
    sizes = {image.shape[:2] for image in images}
    if len(sizes) > 1:
        words = " and ".join(f"{width}×{height}" for height, width in sorted(sizes)[:2])
        raise InputError(f"images of {folder} must all have one size, found {words}")
    if len({image.ndim for image in images}) > 1:  # some gray, some in colors
        images = [image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2) for image in images]
    stack = np.stack(images)
    return (stack[:, None] if stack.ndim == 3 else stack.transpose(0, 3, 1, 2)), np.array(labels)


def _image(file: Path) -> NDArray[Any]:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise InputError(
            "a folder of images needs the package pillow, found none: pip install thalweg[images]"
        ) from None
    try:
        with Image.open(file) as image:
            return np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))
    except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{file} must be an image, found: {first_line(error)}") from None

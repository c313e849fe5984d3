"""Where data files are looked for, and what was found: behind ``thalweg data where`` and ``thalweg data list``.

The search path, first hit wins: the folder or file named by ``path`` (then nothing else), the folders in the
environment variable THALWEG_DATA, the user's cache folder (where ``thalweg data fetch`` installs), Debian's folder of
data sets, and Keras' folder.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from platformdirs import user_cache_path

from thalweg.errors import InputError, nearest
from thalweg.tasks.sources import SOURCES, Source

__all__ = ["DataRow", "Found", "Place", "cache_folder", "list_data", "locate", "source", "where"]

VARIABLE = "THALWEG_DATA"
DEBIAN = Path("/usr/share/datasets")
BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
"""Files of CIFAR-10, without the suffix of the binary form."""


@dataclass(frozen=True)
class Place:
    """One folder of the search path.

    Args:
        what: Why it is on the path.
        path: The folder (or, for an explicit path, perhaps a file).
        exists: Whether it is there.
        flat: Whether files may lie directly in it, without a folder named after the data set.
    """

    what: str
    path: Path
    exists: bool
    flat: bool = False


@dataclass(frozen=True)
class Found:
    """Files of one data set.

    Args:
        layout: How they are stored.
        path: The folder that holds them, or the .npz file.
    """

    layout: Literal["idx", "npz", "batches-py", "batches-bin"]
    path: Path


@dataclass(frozen=True)
class DataRow:
    """One line of ``thalweg data list``.

    Args:
        name: Name of the task.
        what: What it is.
        found: Where it was found; None if it was not.
        note: What to do to get it, or what is wrong with the files found; empty if nothing.
    """

    name: str
    what: str
    found: str | None
    note: str = ""


def cache_folder() -> Path:
    """The folder into which ``thalweg data fetch`` installs, by the platform's convention."""
    return user_cache_path("thalweg") / "data"


def source(name: str) -> Source:
    """The published data set of this name.

    Raises:
        InputError: If there is none that could be fetched or searched for.

    >>> source("mnist").title
    'MNIST'
    """
    if name in SOURCES:
        return SOURCES[name]
    if name in ("digits", "function"):
        raise InputError(f"{name!r} needs no files: it is always there")
    raise InputError(f"data must be one of {', '.join(SOURCES)}, found {name!r}{nearest(name, SOURCES)}")


def where(path: Path | None = None) -> list[Place]:
    """The search path, in order.

    Args:
        path: An explicit folder or file: then the only place.
    """
    if path is not None:
        path = path.expanduser()
        return [Place("given as path", path, path.exists(), flat=True)]
    named = [Path(part).expanduser() for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]
    places = [Place(f"environment variable {VARIABLE}", folder, folder.is_dir(), flat=True) for folder in named]
    for what, folder in (
        ("installed by `thalweg data fetch`", cache_folder()),
        ("Debian's packages", DEBIAN),
        ("Keras", Path("~/.keras/datasets").expanduser()),
    ):
        places.append(Place(what, folder, folder.is_dir()))
    return places


def locate(wanted: Source, path: Path | None = None) -> Found | None:
    """Find the files of a data set; None if no place has any.

    Args:
        wanted: The data set.
        path: An explicit folder or file, in place of the search path.

    Raises:
        InputError: If a place holds some of the files but not all: a broken download is not passed over silently.
    """
    for place in where(path):
        if place.path.is_file():
            if place.path.suffix != ".npz":
                raise InputError(f"path must be a folder or an .npz file, found {str(place.path)!r}")
            return Found("npz", place.path)
        folders = [place.path / below for below in wanted.folders] + [place.path] * place.flat
        for folder in folders:
            found = _batches(folder, wanted) if wanted.archive else _idx(folder, wanted)
            if found is not None:
                return found
        archive = place.path / ("cifar10.npz" if wanted.archive else f"{wanted.name}.npz")
        if archive.is_file():
            return Found("npz", archive)
    return None


def _idx(folder: Path, wanted: Source) -> Found | None:
    there = {name for name in wanted.sha256 if idx_file(folder, name) is not None}
    return Found("idx", folder) if _complete(there, set(wanted.sha256), folder, wanted) else None


def idx_file(folder: Path, name: str) -> Path | None:
    """The IDX file of this name in a folder, raw or compressed."""
    return next((file for file in (folder / name, folder / f"{name}.gz") if file.is_file()), None)


def _batches(folder: Path, wanted: Source) -> Found | None:
    suffixes: dict[Literal["batches-py", "batches-bin"], str] = {"batches-py": "", "batches-bin": ".bin"}
    for layout, suffix in suffixes.items():
        names = {f"{name}{suffix}" for name in BATCHES}
        there = {name for name in names if (folder / name).is_file()}
        if _complete(there, names, folder, wanted):
            return Found(layout, folder)
    return None


def _complete(there: set[str], names: set[str], folder: Path, wanted: Source) -> bool:
    missing = sorted(names - there)
    if there and missing:
        raise InputError(f"{folder} must hold all files of {wanted.title}, found no {', '.join(missing)}")
    return not missing


def missing_message(wanted: Source, path: Path | None = None) -> str:
    """One sentence: the data set was not found, where it was looked for, and how to get it."""
    if path is not None:
        return f"data set {wanted.name!r} was not found in {str(path)!r}"
    looked = ", ".join(str(place.path) for place in where())
    hint = f", or {wanted.hint}" if wanted.hint else ""
    return (
        f"data set {wanted.name!r} was not found in {looked}: fetch it with `thalweg data fetch {wanted.name}`{hint}, "
        f"or name its folder with path or {VARIABLE}"
    )


def list_data() -> list[DataRow]:
    """Every task by name: what it is, and where its files were found or how to get them.

    >>> [row.name for row in list_data()]
    ['digits', 'mnist', 'fashion-mnist', 'cifar10', 'function']
    """
    rows = [DataRow("digits", "1,797 handwritten digits, 8x8 grey", "ships with scikit-learn")]
    for wanted in SOURCES.values():
        try:
            found, note = locate(wanted), ""
        except InputError as error:
            found, note = None, str(error)
        if found is None and not note:
            note = f"fetch with `thalweg data fetch {wanted.name}`"
        rows.append(DataRow(wanted.name, wanted.what, str(found.path) if found else None, note))
    rows.append(DataRow("function", "a named target or any expression of x", "built in"))
    return rows

"""The files of a run's folder that the browser may have."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from thalweg.progress import storage

__all__ = ["Drawing", "File", "drawings", "inside", "listed", "suffix"]

HIDDEN = ("lock", "snapshots")  # not listed: of no use without the library, and many


@dataclass(frozen=True)
class File:
    """A file to download: its path from the run's folder, and its size in words."""

    path: str
    size: str


@dataclass(frozen=True)
class Drawing:
    """A figure: its name, its picture if there is one, and its files by kind."""

    name: str
    picture: str | None
    files: tuple[tuple[str, str], ...]


def inside(folder: Path, path: str) -> Path | None:
    r"""The file of that path, if it is a plain one in the folder; a link may lead within the folder only.

    Args:
        folder: The run's.
        path: From there, with forward slashes, as it comes from the browser.

    >>> inside(Path("/"), "etc/../etc/hostname"), inside(Path("/"), "/etc/hostname"), inside(Path("/"), "a\0b")
    (None, None, None)
    """
    parts = path.split("/")
    if any(part in ("", "..") or part.startswith(".") or "\\" in part or "\0" in part for part in parts):
        return None
    try:
        found = folder.joinpath(*parts).resolve(strict=True)
        return found if found.is_file() and found.is_relative_to(folder.resolve(strict=True)) else None
    except (OSError, RuntimeError, ValueError):  # not there, not allowed, a circle of links, or no name for a file
        return None


def listed(folder: Path) -> tuple[File, ...]:
    """All files worth downloading but for the figures, sorted by their paths."""
    found = []
    for place, folders, names in os.walk(folder):
        here = Path(place).relative_to(folder)
        top = here == Path()
        folders[:] = sorted(n for n in folders if not n.startswith(".") and not (top and n in (*HIDDEN, "figures")))
        for name in sorted(names):
            path = (here / name).as_posix()
            target = None if top and name in HIDDEN else inside(folder, path)
            if target is not None:
                found.append(File(path, storage(target.stat().st_size)))
    return tuple(found)


def drawings(folder: Path) -> tuple[Drawing, ...]:
    """The figures, by their names."""
    found: dict[str, dict[str, str]] = {}
    for path in sorted(folder.glob("figures/[!.]*")):
        relative = path.relative_to(folder).as_posix()
        if inside(folder, relative):
            found.setdefault(path.stem, {})[suffix(relative).removeprefix(".").upper()] = relative
    order = ("PNG", "SVG", "GIF")  # what can be shown, and first among the files
    return tuple(
        Drawing(
            name,
            next((kinds[kind] for kind in order if kind in kinds), None),
            tuple(sorted(kinds.items(), key=lambda item: (order.index(item[0]) if item[0] in order else 9, item[0]))),
        )
        for name, kinds in found.items()
    )


def suffix(path: str) -> str:
    """What a file's name ends with, in small letters."""
    return PurePosixPath(path).suffix.lower()

"""The runs below a folder. Whatever is wrong with one is said in its line, and hides no other."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from thalweg.errors import InputError
from thalweg.runs.layout import RunFiles, folder_of_runs
from thalweg.runs.run import Run
from thalweg.runs.state import State

__all__ = ["Line", "find_runs", "is_run", "lines"]


@dataclass(frozen=True)
class Line:
    """What a table says of one run.

    Attributes:
        name: Of its folder.
        state: As :attr:`thalweg.runs.Run.state`, or "broken" if its files cannot be believed.
        size: Bytes on the disk.
        age: Seconds since it was made, of a broken one since its folder last changed.
        message: Why it failed, was interrupted, or is broken.
    """

    name: str
    state: State | Literal["broken"]
    size: int
    age: float
    message: str


def find_runs(root: str | os.PathLike[str]) -> list[Run]:
    """All runs directly below a folder, sorted by name; none if the folder does not exist.

    Raises:
        InputError: `root` is a file.
    """
    folder = folder_of_runs(root)
    runs = []
    for name in _names(folder):
        with suppress(InputError):
            runs.append(Run.open(folder / name))
    return runs


def lines(root: str | os.PathLike[str]) -> list[Line]:
    """All runs directly below a folder, and folders that were to be runs, sorted by name.

    Raises:
        InputError: `root` is a file.
    """
    folder = folder_of_runs(root)
    return [_line(folder / name) for name in _names(folder)]


def is_run(folder: Path) -> bool:
    """Whether a folder is a run, or was to be one: any of a run's files is in it."""
    files = RunFiles(folder)
    signs = (files.config, files.environment, files.checksums, files.state, files.complete, files.lock, files.snapshots)
    try:
        return folder.is_dir() and any(os.path.lexists(sign) for sign in signs)
    except (OSError, ValueError):  # a name longer than any file's, or a folder that is not ours to read
        return False


def _names(folder: Path) -> list[str]:
    if not folder.exists():
        return []
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".") and is_run(path))


def _line(folder: Path) -> Line:
    run = Run(folder)
    try:
        run = Run.open(folder)
        run.check(content=False)
        return Line(run.name, run.state, run.size, run.age, run.message)
    except (InputError, OSError) as error:
        message = str(error).replace(f"{folder}{os.sep}", "")
        changed = time.time()
        with suppress(OSError):
            changed = folder.stat().st_mtime
        return Line(folder.name, "broken", run.size, max(0.0, time.time() - changed), message)

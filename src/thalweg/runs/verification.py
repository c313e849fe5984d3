"""A run as a whole: every file that counts is there and is what was written, and there is no other among them.

What is wrong is named, also while another process writes the run: a look that meets a change is taken again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from thalweg._files.reading import present, read_json, regular
from thalweg.errors import InputError
from thalweg.runs import environment, table
from thalweg.runs.entries import Files
from thalweg.runs.layout import RunFiles
from thalweg.runs.ledger import Ledger, strange
from thalweg.runs.state import ending

if TYPE_CHECKING:
    from thalweg.runs.folder import FolderRecording

__all__ = ["check"]

_LOOKS, _PAUSE = 6, 0.05


def check(
    files: RunFiles, ledger: Ledger, recording: Callable[[str], FolderRecording], *, content: bool = True
) -> None:
    """Look whether a run is whole, as far as it has come.

    Args:
        files: Of any run.
        ledger: Its checksums.
        recording: Gives the recording of a name.
        content: Read all files, which takes about a second per GB; else look at their names and sizes, and into the
            small ones.

    Raises:
        InputError: A file is missing, another than was written, no regular file, or none of the run's; the message
            names it.
    """
    for look in range(_LOOKS):
        before = _stamp(files)
        try:
            return _check(files, ledger, recording, content=content)
        except InputError:
            if look + 1 == _LOOKS or _stamp(files) == before:
                raise
        time.sleep(_PAUSE)


def _stamp(files: RunFiles) -> list[tuple[int, ...]]:
    """What changes whenever somebody writes the run."""
    states = sorted(files.snapshots.glob("*/state.safetensors"))
    found: list[tuple[int, ...]] = []
    for path in (files.checksums, files.environment, files.state, files.complete, *states):
        try:
            looked = os.lstat(path)
            found.append((looked.st_ino, looked.st_mtime_ns, looked.st_ctime_ns))
        except OSError:
            found.append(())
    return found


def _check(files: RunFiles, ledger: Ledger, recording: Callable[[str], FolderRecording], *, content: bool) -> None:
    noted = ledger.files()
    present(files.lock)
    if noted is None:
        read_json(files.config)
    for name in noted or ():
        ledger.verify(files.folder / name, content=content or name == "config.json")
    environment.read(files.environment)
    if present(files.state):
        ending(files)
    _check_results(files, noted, ledger.tolerated())
    _check_recordings(files, recording, content=content)
    if present(files.complete):
        tables = table.marker(files).files
        for name in tables:
            table.verified(files, files.folder / name, content=content)


def _check_results(files: RunFiles, noted: Files | None, tolerated: set[str]) -> None:
    for path in _entries(files.results):
        name = path.relative_to(files.folder).as_posix()
        if noted is None:
            regular(path)
        elif name not in noted and name not in tolerated:
            raise strange(path)


def _check_recordings(files: RunFiles, recording: Callable[[str], FolderRecording], *, content: bool) -> None:
    for path in _entries(files.snapshots):
        if path.is_symlink() or not path.is_dir():
            raise strange(path)
        if content:
            recording(path.name).check(content=True)


def _entries(folder: Path) -> list[Path]:
    """What is in a folder of a run, but for hidden files; nothing if it was not made yet."""
    if not os.path.lexists(folder):
        return []
    if folder.is_symlink() or not folder.is_dir():
        raise InputError(f"{folder} must be a folder, found something else")
    return sorted(folder.glob("[!.]*"))

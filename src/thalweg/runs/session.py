"""One process at work on a run: lock, session entry, and a truthful end however it comes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from thalweg._files.reading import present
from thalweg._files.writing import remove_stale
from thalweg.errors import InputError
from thalweg.runs import environment
from thalweg.runs.layout import RunFiles
from thalweg.runs.ledger import Ledger
from thalweg.runs.lock import locked
from thalweg.runs.state import State, mark, one_line

__all__ = ["Session", "session"]


class Session:
    """The right to write to a run, held by the process that opened it and by none of its forked children."""

    def __init__(self, files: RunFiles) -> None:
        self._files = files
        self._began = time.monotonic()
        self._process = os.getpid()

    @property
    def mine(self) -> bool:
        """Whether this is the process that holds the lock."""
        return self._process == os.getpid()

    def close(self, *, complete: bool) -> None:
        """Note in the environment when the session ended; with `complete` also that the run did."""
        seconds = time.monotonic() - self._began
        environment.session_ended(self._files.environment, seconds=seconds, complete=complete)

    def end(self, state: State, message: str) -> None:
        """Leave a mark of how the session ended, unless the run is complete."""
        if self._files.complete.exists() or not self.mine:
            return
        # A full disk must not hide the error that is on its way out; without its mark the run counts as interrupted.
        with suppress(OSError, InputError):
            mark(self._files, state, message)
            self.close(complete=False)


@contextmanager
def session(
    files: RunFiles, *, command: str, fields: Mapping[str, Any], check: Callable[[bool], object]
) -> Iterator[Session]:
    """Hold a run for writing while the block runs.

    Args:
        files: The run's places.
        command: What started this process.
        fields: Environment fields that this session knows.
        check: Raises unless the run is whole as far as it has come; called with whether to read large files too.

    Raises:
        InputError: Somebody else writes, the run is complete, or a file is damaged.
        WriteError: The folder is read-only, or the disk full.
    """
    with locked(files.lock):
        if present(files.complete):
            raise InputError(f"run {files.folder} is complete; change the config or remove the folder to run it again")
        Ledger(files.folder).recover()
        for folder in (files.folder, files.results, files.figures):
            remove_stale(folder)
        check(False)  # nothing is written into a run that does not even look whole
        held = Session(files)
        environment.session_started(files.environment, command=command, fields=fields)
        mark(files, "running")
        try:
            check(True)
            yield held
        except Exception as error:
            held.end("failed", one_line(error))
            raise
        except BaseException:
            held.end("interrupted", "interrupted by the user")
            raise
        else:
            held.end("interrupted", "left before it was complete")

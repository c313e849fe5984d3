"""One writer per run: an advisory lock that dies with its process.

The kernel holds the lock (``flock``), so a crash or `kill -9` releases it and nothing stale is left to clean up. The
file's content, process and host, serves only the message that a second writer gets.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from thalweg._files.reading import present, regular
from thalweg._files.writing import writing_to
from thalweg.errors import InputError

__all__ = ["LockedError", "locked", "is_locked"]

_ATTEMPTS, _PAUSE = 5, 0.02  # `is_locked` holds the lock for microseconds; a writer that meets it tries again

_held: set[int] = set()


class LockedError(InputError):
    """Somebody else writes the run; whoever can wait may try again."""


def _forget() -> None:
    """In a forked child: close the copies of the lock, lest a worker that outlives its parent keep the run locked."""
    for descriptor in _held:
        with suppress(OSError):
            os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_forget)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of one run while the block runs.

    Args:
        path: The lock file inside the run's folder; made if it is missing, never removed (removing would race).

    Raises:
        LockedError: Somebody else writes; the message names the process.
        InputError: In place of the lock there is something that is no file.
        WriteError: The lock file cannot be made, for instance in a read-only folder.
    """
    present(path)
    with writing_to(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    _held.add(descriptor)
    try:
        _acquire(descriptor, path)
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC).isoformat("T", "seconds")}
        with writing_to(path):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(owner).encode(), 0)
        try:
            yield
        finally:
            with suppress(OSError):
                os.ftruncate(descriptor, 0)
    finally:
        if descriptor in _held:  # a forked child has closed it already
            _held.discard(descriptor)
            os.close(descriptor)


def _acquire(descriptor: int, path: Path) -> None:
    for attempt in range(_ATTEMPTS):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if attempt + 1 < _ATTEMPTS:
                time.sleep(_PAUSE)
        else:
            return
    raise LockedError(f"run {path.parent} is being written by {_owner(path)}; only one writer is allowed")


def _owner(path: Path) -> str:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        owner = json.loads(path.read_bytes())
        return f"process {owner['pid']} on {owner['host']} since {owner['since']}"
    return "another process"


def is_locked(path: Path) -> bool:
    """Whether a live process holds the lock; never waits."""
    try:
        regular(path)  # opening a pipe would wait for somebody at its other end
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, InputError):
        return False
    try:
        # Shared, so that two onlookers do not take each other for writers.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)

"""Files that are either there whole or not there at all.

Every write goes to a temporary file in the same folder, is flushed to the disk (fsync) and then renamed over the
target: a reader, a `kill -9` or a full disk never meets half a file. JSON keeps what Python's own module keeps: floats
by their shortest exact form, NaN and infinities as ``NaN`` and ``Infinity``.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import re
import shutil
import socket
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from thalweg._files.reading import DEEPEST, depth
from thalweg.errors import InputError

__all__ = [
    "WriteError",
    "as_os_error",
    "replacing",
    "write_bytes",
    "write_json",
    "json_bytes",
    "plain",
    "canonical",
    "remove_stale",
    "size",
]

_PREFIX = ".tmp-"  # hidden, so that no listing takes a half-written file for a real one
_NAMES = re.compile(rf"{re.escape(_PREFIX)}(\d+)(?:@([0-9a-f]{{8}}))?-(\d+)-(.+)", re.DOTALL)
_ABANDONED = 86_400.0  # seconds after which a temporary file of another machine counts as left behind
_counter = itertools.count()


class WriteError(OSError):
    """A file that could not be written; ``str`` is one sentence that names the path, ``errno`` says why.

    >>> print(WriteError(errno.ENOSPC, "No space left on device", "runs/a/metrics.parquet"))
    cannot write runs/a/metrics.parquet: no space left on device
    """

    def __str__(self) -> str:
        reason = str(self.strerror or "unknown reason")
        return f"cannot write {self.filename}: {reason[:1].lower()}{reason[1:]}"


def as_os_error(error: Exception) -> OSError:
    """The operating system's error behind that of a library written in Rust, which reports it as text only.

    >>> as_os_error(Exception("IO error: File too large (os error 27)")).errno == errno.EFBIG
    True
    """
    number = re.search(r"os error (\d+)", str(error))
    if number is None:
        return OSError(errno.EIO, str(error).splitlines()[0])
    return OSError(int(number[1]), os.strerror(int(number[1])))


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Turn every operating-system error of the block into a :class:`WriteError` that names `path`."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        raise WriteError(error.errno or errno.EIO, error.strerror or str(error), str(path)) from error


@contextmanager
def replacing(
    path: str | os.PathLike[str], around: Callable[[Path], AbstractContextManager[object]] | None = None
) -> Iterator[Path]:
    """Write a file atomically: yields a temporary path that takes the place of `path` when the block ends well.

    The temporary name ends like the target, so that libraries which choose a format by the suffix work. If the block
    raises, the temporary file is removed and the target stays as it was. Missing parent folders are made. Temporary
    files that killed processes have left for the same target are removed.

    Args:
        path: The file to make or replace.
        around: Called with the temporary file when it is on the disk; the file takes its place within this context.

    Raises:
        WriteError: The disk is full, the folder read-only, and so on.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with replacing(folder / "note.txt") as temporary:
    ...     _ = temporary.write_text("whole")
    >>> [entry.name for entry in folder.iterdir()]
    ['note.txt']
    """
    target = Path(path)
    temporary = temporary_folder(target.parent, target.name)
    with writing_to(target):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            remove_stale(target.parent, target.name)
            yield temporary
            _flush(temporary)
            with nullcontext() if around is None else around(temporary):
                temporary.replace(target)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
    # The file is already visible; a file system that cannot flush folders must not turn success into failure.
    with suppress(OSError):
        _flush(target.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Write bytes, or text as UTF-8, atomically.

    Raises:
        WriteError: The file could not be written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def write_json(path: str | os.PathLike[str], value: object) -> None:
    """Write a value as JSON, atomically.

    Raises:
        InputError: The value holds something that JSON cannot carry (see :func:`plain`).
        WriteError: The file could not be written.
    """
    write_bytes(path, json_bytes(value, Path(path).stem))


def json_bytes(value: object, where: str = "value") -> bytes:
    """The content of a JSON file of this value.

    Raises:
        InputError: As :func:`plain`, or it is nested too deeply to be read again.
    """
    try:
        found = plain(value, where)
    except RecursionError:
        found = None
        deep = True
    else:
        deep = depth(found) > DEEPEST
    if deep:
        raise InputError(f"{where} must not be nested in more than {DEEPEST} levels")
    return (json.dumps(found, indent=2, ensure_ascii=False) + "\n").encode()


def plain(value: object, where: str = "value") -> Any:
    """The same value in JSON's own types: numpy scalars as numbers, tuples as lists, everything else unchanged.

    Args:
        value: Nested dicts with text keys, lists, tuples, text, numbers, booleans, None.
        where: How to call the value in an error message.

    Raises:
        InputError: Something in it has no JSON form; the message says where.

    >>> plain({"widths": (10, 10), "rate": np.float64(0.1)})
    {'widths': [10, 10], 'rate': 0.1}
    """
    match value:
        case None | bool() | str():
            return value
        case np.generic():
            return plain(value.item(), where)
        case int() | float():
            return value
        case Mapping():
            for key in value:
                if not isinstance(key, str):
                    raise InputError(f"the keys of {where} must be text, found {key!r}")
            return {key: plain(item, f"{where}.{key}") for key, item in value.items()}
        case list() | tuple():
            return [plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
        case _:
            raise InputError(
                f"{where} must be made of dicts, lists, text, numbers, booleans and None, found {type(value).__name__}"
            )


def canonical(value: object) -> bytes:
    """One spelling for equal values: sorted keys, no spaces, floats by repr; for hashing and comparing.

    >>> canonical({"b": 1, "a": (0.1, None)})
    b'{"a":[0.1,null],"b":1}'
    """
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def remove_stale(folder: Path, name: str | None = None) -> None:
    """Remove the temporary files and folders that killed processes left in a folder; those of live ones stay.

    Args:
        folder: Where; nothing happens if it does not exist.
        name: Only those that were to become the file of this name.
    """
    try:
        with os.scandir(folder) as entries:
            found = [entry.name for entry in entries if entry.name.startswith(_PREFIX)]
    except OSError:
        return
    for entry in found:
        parts = _NAMES.fullmatch(entry)
        if parts is None or name not in (None, parts[4]) or not _left(folder / entry, int(parts[1]), parts[2]):
            continue
        with suppress(OSError):
            path = folder / entry
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _left(path: Path, process: int, machine: str | None) -> bool:
    """Whether nobody works on a temporary file any more; processes of other machines cannot be asked."""
    try:
        written = path.lstat().st_mtime
    except OSError:
        return False
    if machine in (None, _machine()):
        return not _alive(process) or _started(process) > written + 1.0  # the number may be another process's by now
    return time.time() - written > _ABANDONED


@cache
def _machine() -> str:
    """This machine in eight hex digits: folders of runs may be shared by several."""
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _started(process: int) -> float:
    """When a process began, in seconds since 1970; 0 where the system does not tell."""
    try:
        ticks = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19])
        boot = re.search(r"^btime (\d+)", Path("/proc/stat").read_text(), re.MULTILINE)
        return int(boot[1]) + ticks / os.sysconf("SC_CLK_TCK") if boot else 0.0
    except (OSError, ValueError, IndexError):
        return 0.0


def temporary_folder(root: Path, name: str) -> Path:
    """A path beside which a whole file or folder can be prepared and then renamed to its final name."""
    return root / f"{_PREFIX}{os.getpid()}@{_machine()}-{next(_counter)}-{name}"


def size(folder: Path) -> int:
    """Bytes that all files below a folder hold; files that vanish meanwhile count as nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += (Path(parent) / name).lstat().st_size
    return total

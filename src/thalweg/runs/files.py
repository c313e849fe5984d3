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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from thalweg.errors import InputError

__all__ = [
    "WriteError",
    "as_os_error",
    "replacing",
    "write_bytes",
    "write_json",
    "read_json",
    "plain",
    "canonical",
    "remove_stale",
    "size",
]

_PREFIX = ".tmp-"  # hidden, so that no listing takes a half-written file for a real one
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
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file atomically: yields a temporary path that takes the place of `path` when the block ends well.

    The temporary name ends like the target, so that libraries which choose a format by the suffix work. If the block
    raises, the temporary file is removed and the target stays as it was. Missing parent folders are made.

    Args:
        path: The file to make or replace.

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
    temporary = target.with_name(f"{_PREFIX}{os.getpid()}-{next(_counter)}-{target.name}")
    with writing_to(target):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            _flush(temporary)
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
    write_bytes(path, json.dumps(plain(value, Path(path).stem), indent=2, ensure_ascii=False) + "\n")


def read_json(path: str | os.PathLike[str]) -> object:
    """Read a JSON file.

    Raises:
        InputError: The file is missing or is no JSON; the message names it.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path} is missing") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is corrupt: {error}") from error


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


def remove_stale(folder: Path) -> None:
    """Remove the temporary files and folders that killed processes left in `folder`; those of live ones stay."""
    for entry in folder.glob(f"{_PREFIX}*"):
        owner = entry.name.removeprefix(_PREFIX).split("-")[0]
        if not owner.isdecimal() or _alive(int(owner)):
            continue
        with suppress(OSError):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def temporary_folder(root: Path, name: str) -> Path:
    """A path beside which a whole folder can be prepared and then renamed to its final name."""
    return root / f"{_PREFIX}{os.getpid()}-{next(_counter)}-{name}"


def size(folder: Path) -> int:
    """Bytes that all files below a folder hold; files that vanish meanwhile count as nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += (Path(parent) / name).lstat().st_size
    return total

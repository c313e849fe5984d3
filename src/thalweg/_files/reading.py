"""Reading files that anybody may have damaged: whatever is wrong with one is a sentence that names it.

Only regular files are read. A pipe would wait for ever, a folder and a link are not what was written.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

from thalweg.errors import InputError

__all__ = ["DEEPEST", "regular", "present", "read_bytes", "read_json", "depth"]

DEEPEST = 100
"""Levels of nesting that a JSON file may have; deeper ones would exhaust Python's stack somewhere."""

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def regular(path: str | os.PathLike[str], *, follow: bool = False) -> os.stat_result:
    """What the system knows of a file.

    Args:
        path: Of the file.
        follow: Whether a link to a file will do, for files that a person keeps where they like.

    Raises:
        InputError: It is missing, cannot be looked at, or is no regular file; the message names it.
    """
    try:
        found = Path(path).stat() if follow else os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path} is missing") from None
    except OSError as error:
        raise _unreadable(path, error) from None
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        raise InputError(f"{path} must be a regular file, found {kind}")
    return found


def present(path: str | os.PathLike[str]) -> bool:
    """Whether there is such a file.

    Raises:
        InputError: Something is there that is no regular file.
    """
    try:
        regular(path)
    except InputError:
        if os.path.lexists(path):
            raise
        return False
    return True


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The content of a regular file.

    Raises:
        InputError: As :func:`regular`, or it cannot be read.
    """
    regular(path)
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path} is missing") from None
    except OSError as error:
        raise _unreadable(path, error) from None


def read_json(path: str | os.PathLike[str]) -> object:
    """Read a JSON file.

    Raises:
        InputError: As :func:`read_bytes`, or it is no JSON, or nested too deeply.
    """
    content = read_bytes(path)
    try:
        value = json.loads(content)
    except RecursionError:
        value = None
        deep = True
    except ValueError as error:  # no JSON, no UTF-8, or a number of thousands of digits
        raise InputError(f"{path} is corrupt: {error}") from None
    else:
        deep = depth(value) > DEEPEST
    if deep:
        raise InputError(f"{path} is corrupt: it is nested in more than {DEEPEST} levels")
    return value


def depth(value: object) -> int:
    """Levels of lists and dicts in a value, counted without recursion and no further than needed.

    >>> depth(3), depth([]), depth({"a": [1, [2]]})
    (0, 1, 3)
    """
    levels, found = 0, [value]
    while levels <= DEEPEST:
        found = [one for one in found if isinstance(one, list | dict)]
        if not found:
            break
        levels += 1
        inner: list[object] = []
        for one in found:
            inner += one.values() if isinstance(one, dict) else one
        found = inner
    return levels


def _unreadable(path: str | os.PathLike[str], error: OSError) -> InputError:
    reason = error.strerror or "unknown reason"
    return InputError(f"{path} cannot be read: {reason[:1].lower()}{reason[1:]}")

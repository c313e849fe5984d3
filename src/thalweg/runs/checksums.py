"""Checksums: of files, and of small JSON documents that carry their own.

A file is read through once before its content is believed; the same file, unchanged since, is believed again. Reading
is what hashing costs: SHA-256 takes 0.5 to 1 s per GB.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thalweg._files.reading import read_json, regular
from thalweg._files.writing import canonical, write_json
from thalweg.errors import InputError

__all__ = ["KEY", "Checksum", "checksum_of", "read_sealed", "sealed", "settled", "stamp", "verify", "write_sealed"]

KEY = "checksum"
"""Where a document keeps its own checksum."""

_SETTLED = 100_000_000  # ns: a file younger than that may change again without a new time, on some file systems
_MOST = 100_000
_seen: dict[tuple[object, ...], str] = {}  # file as the system knows it -> SHA-256 of its content


@dataclass(frozen=True)
class Checksum:
    """Of one file.

    Attributes:
        size: In bytes.
        sha256: Hex digits.
    """

    size: int
    sha256: str

    @classmethod
    def of(cls, content: bytes) -> Checksum:
        """That of a file of this content."""
        return cls(len(content), hashlib.sha256(content).hexdigest())

    def to_json(self) -> list[int | str]:
        """Size and hex digits."""
        return [self.size, self.sha256]

    @classmethod
    def from_json(cls, value: object) -> Checksum:
        """The inverse of :meth:`to_json`.

        Raises:
            ValueError: The value is something else.
        """
        match value:
            case [int(size), str(sha256)]:
                return cls(size, sha256)
        raise ValueError(f"a checksum must be a size and hex digits, found {value!r}")


def checksum_of(path: Path) -> Checksum:
    """The checksum of a file as it is now.

    Raises:
        InputError: It is missing, unreadable or no regular file.
    """
    found = regular(path)
    key = (str(path), *stamp(found))
    if key not in _seen:
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                size = os.fstat(file.fileno()).st_size
        except OSError as error:
            raise InputError(f"{path} cannot be read: {(error.strerror or 'unknown reason').lower()}") from None
        if not settled(found):
            return Checksum(size, digest)
        if len(_seen) >= _MOST:
            _seen.clear()
        _seen[key] = digest
    return Checksum(found.st_size, _seen[key])


def stamp(found: os.stat_result) -> tuple[int, ...]:
    """What changes whenever a file does."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def settled(found: os.stat_result) -> bool:
    """Whether a file is old enough that another change would show in its stamp."""
    return time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) >= _SETTLED


def verify(path: Path, expected: Checksum | None, *, content: bool = True) -> None:
    """Compare a file with what was written.

    Args:
        path: The file.
        expected: Its checksum; None for a file that only must be there.
        content: Read it, else look at its size only.

    Raises:
        InputError: It is missing, no regular file, or another; the message names it.
    """
    size = regular(path).st_size
    if expected is None:
        return
    if size != expected.size:
        raise InputError(f"{path} is corrupt: it has {size:,} bytes, {expected.size:,} were written")
    if content and checksum_of(path) != expected:
        raise InputError(f"{path} is corrupt: it does not match its checksum")


def sealed(name: str, value: Mapping[str, Any], identity: str) -> dict[str, Any]:
    """A document with its checksum, which counts for this name and this run only.

    Args:
        name: Of its file.
        value: What JSON can carry.
        identity: What tells the run from others.
    """
    return {**value, KEY: hashlib.sha256(canonical([name, identity, value])).hexdigest()}


def write_sealed(path: Path, value: Mapping[str, Any], identity: str) -> None:
    """Write a document with its checksum, atomically.

    Raises:
        WriteError: The file could not be written.
    """
    write_json(path, sealed(path.name, value, identity))


def read_sealed(path: Path, identity: str | None) -> dict[str, Any]:
    """Read a document, without its checksum.

    Args:
        path: The file.
        identity: As it was written; None if it was written without a checksum.

    Raises:
        InputError: It is missing, corrupt, or that of another run.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise InputError(f"{path} is corrupt: it must hold a table, found {type(value).__name__}")
    plain = {key: item for key, item in value.items() if key != KEY}
    if identity is not None and value.get(KEY) != sealed(path.name, plain, identity)[KEY]:
        raise InputError(f"{path} is corrupt: it does not match its checksum")
    return plain

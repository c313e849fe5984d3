"""Which files a run has committed, and their checksums: the file ``checksums.json``.

::

    {"format": 1,
     "files": {"config.json": [size, sha256], "results/NAME.json": [size, sha256], "state.json": null, ...},
     "replacing": {"results/NAME.json": [size, sha256]},
     "checksum": of all this}

Files with ``null`` must be there and vouch for themselves: JSON documents that carry a checksum of their own, and the
``state.safetensors`` of every recording, whose header has those of its shards (so that a commit of a recording and its
checksums are one and the same replacement of a file). All these checksums count for one run only, the one whose
``config.json`` has the SHA-256 that stands here.

A result is replaced in three steps: what it will be is noted under ``replacing``, the file takes its place, and
the note moves to ``files``. A process that is killed in between leaves a note that the content of the file settles: it
is either the old one or the new one, and anything else is damage. Writers take turns within these steps by a lock on
the run's folder, which dies with its process.

A run that was begun before there were checksums has no such file, and gets none: it is opened as ever, unverified.
Its ``environment.json`` has no checksum of its own, by which it differs from a run whose ``checksums.json`` is lost.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from thalweg._files.reading import present, read_json, regular
from thalweg._files.writing import replacing, write_json, writing_to
from thalweg.errors import InputError
from thalweg.runs.checksums import KEY, Checksum, checksum_of, read_sealed, sealed, stamp, verify, write_sealed
from thalweg.runs.entries import CONFIG, Entries, Files

__all__ = ["Ledger", "strange"]

_TURNS = 20  # looks at a file that a live process keeps replacing


class Ledger:
    """The checksums of one run.

    Args:
        folder: The run's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "checksums.json"
        self._last: tuple[tuple[int, ...], Entries] | None = None  # as read, while the file is the same
        self._own: set[Path] = set()  # files that this object has written
        self.believed: dict[Path, None] = {}  # those of a run without checksums that were read, in this order

    # ---- reading

    def read(self) -> Entries | None:
        """What is noted; None for a run that was begun before there were checksums.

        Raises:
            InputError: ``checksums.json`` is damaged or lost.
        """
        if not present(self.path):
            self._refuse_lost()
            return None
        found = stamp(regular(self.path))
        if self._last is None or self._last[0] != found:
            self._last = (found, Entries.from_json(read_sealed(self.path, ""), self.path))
        return self._last[1]

    def _refuse_lost(self) -> None:
        try:
            value = read_json(self.folder / "environment.json")
        except InputError:
            return  # whoever needs it will say so
        if isinstance(value, dict) and KEY in value:
            raise InputError(f"{self.path} is missing")

    @property
    def identity(self) -> str | None:
        """What the checksums of this run's documents are made with; None if it has none."""
        entries = self.read()
        return None if entries is None else entries.identity

    def files(self) -> Files | None:
        """All files that count, whatever a killed process has left half done; None without checksums."""
        entries = self.read()
        return None if entries is None else self._settled(entries)

    def _settled(self, entries: Entries) -> Files:
        targets = {name: one for name, one in entries.replacing.items() if one is not None}
        if not entries.replacing or not all(self._is(name, one) for name, one in targets.items()):
            return entries.files
        removed = entries.replacing.keys() - targets.keys()
        return {name: one for name, one in {**entries.files, **targets}.items() if name not in removed}

    def _is(self, name: str, expected: Checksum) -> bool:
        try:
            return checksum_of(self.folder / name) == expected
        except InputError:
            return False

    def tolerated(self) -> set[str]:
        """Names of files that may be there although they do not count: a killed process was about to remove them."""
        entries = self.read()
        return set() if entries is None else set(entries.replacing)

    def verify(self, path: Path, *, content: bool = True) -> None:
        """Look whether a file of the run is what was written; also while another process replaces it.

        Args:
            path: The file.
            content: Compare its content too, and not only its size.

        Raises:
            InputError: It is missing, another, no regular file, or none of the run's; the message names it.
        """
        name = path.relative_to(self.folder).as_posix()
        files, last = self.files(), None
        if files is None and path not in self._own and name != CONFIG:
            self.believed.pop(path, None)
            self.believed[path] = None
        for _ in range(_TURNS):
            try:
                return _compare(path, name, files, content=content)
            except InputError as error:
                last, before, files = error, files, self.files()
                if files == before:
                    raise
        raise last or InputError(f"{path} is corrupt")

    def document(self, path: Path) -> dict[str, Any]:
        """Read one of the run's JSON documents, such as ``environment.json``, without its checksum.

        Raises:
            InputError: It is missing, corrupt, or that of another run.
        """
        try:
            return read_sealed(path, self.identity)
        except InputError:
            config = self.folder / CONFIG
            if os.path.lexists(config):
                self.verify(config)  # it may be these two that do not belong together
            raise

    # ---- writing

    def write_document(self, path: Path, value: Mapping[str, Any]) -> None:
        """Write one of the run's JSON documents, with its checksum.

        Raises:
            WriteError: The file could not be written.
        """
        identity = self.identity
        write_json(path, value) if identity is None else write_sealed(path, value, identity)

    @contextmanager
    def replacing(self, path: Path, removing: Iterable[Path] = ()) -> Iterator[Path]:
        """As :func:`thalweg._files.writing.replacing`, with the file's checksum noted.

        Args:
            path: The file to make or replace.
            removing: Files that it takes the place of besides; those that are not there are left out.

        Raises:
            WriteError: A file could not be written.
        """
        old = [one for one in removing if os.path.lexists(one)]

        @contextmanager
        def around(temporary: Path) -> Iterator[None]:
            with self._transaction({path: checksum_of(temporary), **dict.fromkeys(old)}):
                yield

        with replacing(path, around) as temporary:
            yield temporary
        self._own.add(path)
        self.believed.pop(path, None)

    def remove(self, paths: Iterable[Path]) -> None:
        """Remove files.

        Raises:
            WriteError: ``checksums.json`` could not be written.
        """
        if found := [path for path in paths if os.path.lexists(path)]:
            with self._transaction(dict.fromkeys(found)):
                pass

    def note(self, path: Path) -> None:
        """Note that a file which vouches for itself must be there from now on; a full disk puts it off."""
        name = path.relative_to(self.folder).as_posix()
        entries = self.read()
        if entries is None or name in entries.files:
            return
        with suppress(OSError), self._turn():
            entries = self._recovered()
            if entries is not None:
                self._write(Entries({**entries.files, name: None}))

    def recover(self) -> None:
        """Finish what a killed process has left half done."""
        entries = self.read()
        if entries is not None and entries.replacing:
            with self._turn():
                entries = self._recovered()
                if entries is not None:
                    self._write(entries)

    @contextmanager
    def _transaction(self, changes: Mapping[Path, Checksum | None]) -> Iterator[None]:
        """Note the changes, let the block replace files, remove others, and note that it is done."""
        with self._turn():
            entries = self._recovered()
            named = {path.relative_to(self.folder).as_posix(): one for path, one in changes.items()}
            noted = None if entries is None else replace(entries, replacing=named)
            if noted is not None:
                self._write(noted)
            try:
                yield
            except BaseException:  # an interrupt may come before the file is replaced, or after
                if noted is not None:
                    with suppress(OSError):
                        self._write(Entries(self._settled(noted)))
                raise
            for path, one in changes.items():
                if one is None:
                    path.unlink(missing_ok=True)
            if entries is not None:
                removed = {name for name, one in named.items() if one is None}
                kept = {name: one for name, one in {**entries.files, **named}.items() if name not in removed}
                with suppress(OSError):  # the change counts already; the next writer notes that it is done
                    self._write(Entries(kept))

    def _recovered(self) -> Entries | None:
        """The entries with nothing half done; the caller holds the turn, and writes them."""
        entries = self.read()
        if entries is None or not entries.replacing:
            return entries
        files = self._settled(entries)
        for name, one in entries.replacing.items():
            if one is None and name not in files:
                with suppress(OSError):
                    (self.folder / name).unlink(missing_ok=True)
        return Entries(files)

    def _write(self, entries: Entries) -> None:
        write_json(self.path, sealed(self.path.name, entries.to_json(), ""))

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with writing_to(self.path):
            descriptor = os.open(self.folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with suppress(OSError):  # a file system that cannot lock folders
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _compare(path: Path, name: str, files: Files | None, *, content: bool) -> None:
    if files is not None and name not in files:
        raise strange(path)
    expected = None if files is None else files[name]
    if name == CONFIG and expected is not None and checksum_of(path) != expected:
        # Nothing tells which of the two it is.
        raise InputError(f"{path} is corrupt, or checksums.json is that of another run: they do not match")
    verify(path, expected, content=content)


def strange(path: Path) -> InputError:
    """The error of a file that somebody has put among those of a run."""
    return InputError(f"{path} is none of the files that the run has written; remove it")

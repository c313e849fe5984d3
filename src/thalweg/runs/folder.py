"""A recording in a run's folder.

Files of recording NAME below ``snapshots/NAME``::

    00000.safetensors       theta (s, R, P), steps (s,), epochs (s,) and buffers/… (s, R, …) of the
                            first commit that had snapshots
    00000.metrics.parquet   the metrics rows of the first commit that had any (merged into one table at completion)
    state.safetensors       training state of the last commit, and in its header the contents that this commit sealed,
                            with the checksums of all the files above and of the state itself

The commit is the replacement of ``state.safetensors``: it happens after everything it refers to is on the disk, and
shards are never changed afterwards. Killed before it, a process leaves the previous commit and some files that nothing
refers to; killed after it, the new commit. Those files are the next in number, and the only ones that are ever removed:
any other file that no commit refers to was put there by somebody, and is named.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import torch
from safetensors import SafetensorError
from torch import Tensor

from thalweg._files.reading import DEEPEST, depth, present, regular
from thalweg._files.tensors import open_tensors, save_tensors, tensors_of
from thalweg._files.writing import canonical, remove_stale
from thalweg.errors import InputError
from thalweg.runs import unsealed
from thalweg.runs.checksums import KEY, Checksum, checksum_of, settled, stamp, verify
from thalweg.runs.frames import joined, read_metrics, write_frame
from thalweg.runs.index import FORMAT, UNCHECKED, Chunk, Index
from thalweg.runs.ledger import Ledger, strange
from thalweg.runs.recording import Recording, State
from thalweg.runs.snapshots import BUFFERS, FileShard

if TYPE_CHECKING:
    import polars as pl

__all__ = ["FolderRecording"]

_STATE = "state/"  # prefix of the caller's tensors; the contents' own begin with "contents/"


@dataclass(frozen=True)
class _Sealed:
    """What the header of a state says: contents, meta, and the checksum of the tensors (None: an earlier version's)."""

    index: Index
    meta: dict[str, Any]
    state: str | None


@final
class FolderRecording(Recording):
    """See :class:`Recording`; made by :meth:`thalweg.runs.Run.recording`.

    Args:
        name: Which of the run's recordings.
        folder: Its folder; made at the first commit.
        ledger: The checksums of the run.
        ready: Raises unless the run is open for writing.
        merged: The recording's rows of the run's completed metrics table; None while there is no such table.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        ledger: Ledger,
        ready: Callable[[], object],
        merged: Callable[[str], pl.DataFrame | None],
    ) -> None:
        super().__init__(name)
        self.folder = folder
        self._ledger = ledger
        self._ready_check = ready
        self._seen: tuple[tuple[int, ...], _Sealed] | None = None  # of the state, while its file is the same
        self._merged = merged

    def _ready(self) -> None:
        self._ready_check()

    @property
    def place(self) -> str:
        """The file that holds the state."""
        return str(self._state_path)

    @property
    def _state_path(self) -> Path:
        return self.folder / "state.safetensors"

    def _shard_path(self, number: int) -> Path:
        return self.folder / f"{number:05d}.safetensors"

    def _part_path(self, number: int) -> Path:
        return self.folder / f"{number:05d}.metrics.parquet"

    def _there(self) -> bool:
        """Whether anything was committed.

        Raises:
            InputError: It was, and is lost.
        """
        if present(self._state_path):
            return True
        noted = self._ledger.files()
        if noted is not None and self._state_path.relative_to(self._ledger.folder).as_posix() in noted:
            regular(self._state_path)  # says that it is missing, unless somebody has written it just now
        return present(self._state_path)

    def _index(self) -> Index:
        if not self._there():
            return Index()
        return self._header().index

    def _state(self) -> State | None:
        if not self._there():
            return None
        with self._reading() as file:
            sealed = self._sealed(file)
            state = tensors_of(file, _STATE)
        if sealed.state is not None and _digest(state) != sealed.state:
            raise InputError(f"{self._state_path} is corrupt: its tensors do not match their checksum")
        return state, sealed.meta

    def _meta(self) -> dict[str, Any]:
        if not self._there():
            return {}
        return copy.deepcopy(self._header().meta)

    def _header(self) -> _Sealed:
        """The header of the state; read again whenever its file is another."""
        found = regular(self._state_path)
        if self._seen is not None and self._seen[0] == stamp(found):
            return self._seen[1]
        with self._reading() as file:
            header = self._sealed(file)
        self._seen = (stamp(found), header) if settled(found) else None
        return header

    def _sealed(self, file: Any) -> _Sealed:
        metadata = file.metadata() or {}
        header = json.loads(metadata["contents"])
        known = header.get("format")
        if known not in (UNCHECKED, FORMAT):
            raise InputError(f"{self._state_path} must be of format {FORMAT} for this thalweg, found {known!r}")
        steps, epochs = file.get_tensor("contents/steps"), file.get_tensor("contents/epochs")
        identity = self._ledger.identity
        if known == FORMAT or identity is not None:
            expected = self._seal(metadata["contents"], metadata["meta"], steps, epochs, identity)
            if metadata.get(KEY) != expected:
                raise InputError(f"{self._state_path} is corrupt: it does not match its checksum")
        meta = json.loads(metadata["meta"])
        if not isinstance(meta, dict) or depth(meta) > DEEPEST:
            raise ValueError("its meta is no table")
        return _Sealed(Index.from_header(header, steps, epochs), meta, header.get("state"))

    def _seal(self, contents: str, meta: str, steps: Tensor, epochs: Tensor, identity: str | None) -> str:
        """The checksum of the header, which counts for this recording of this run only."""
        found = hashlib.sha256(canonical([self.name, identity, contents, meta, len(steps)]))
        for tensor in (steps, epochs):
            found.update(tensor.contiguous().numpy().data)
        return found.hexdigest()

    @contextmanager
    def _reading(self) -> Iterator[Any]:
        try:
            with open_tensors(self._state_path) as file:
                yield file
        except InputError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError, SafetensorError) as error:
            raise InputError(f"{self._state_path} is corrupt: it is no training state ({error})") from error

    def _write(self, index: Index, chunk: Chunk, state: Mapping[str, Tensor], meta: dict[str, Any]) -> None:
        contents = {
            "contents/steps": torch.tensor(index.steps, dtype=torch.int64),
            "contents/epochs": torch.tensor(index.epochs, dtype=torch.float64),
        }
        written: list[Path] = []
        checksums: dict[str, Checksum] = {}
        try:
            if chunk.theta is not None:
                written.append(self._shard_path(len(index.shards) - 1))
                tensors = {
                    "theta": chunk.theta,
                    **{BUFFERS + name: values for name, values in chunk.buffers.items()},
                    "steps": torch.tensor(chunk.steps, dtype=torch.int64),
                    "epochs": torch.tensor(chunk.epochs, dtype=torch.float64),
                }
                save_tensors(written[-1], tensors)
            if chunk.metrics is not None:
                written.append(self._part_path(index.parts - 1))
                write_frame(written[-1], chunk.metrics)
            checksums = {path.name: checksum_of(path) for path in written}
            index = replace(index, checksums={**index.checksums, **checksums})
            sealed = _Sealed(index, meta, _digest(state))
            texts = json.dumps({**index.header(), "state": sealed.state}), json.dumps(meta)
            steps, epochs = contents["contents/steps"], contents["contents/epochs"]
            seal = self._seal(*texts, steps, epochs, self._ledger.identity)
            save_tensors(
                self._state_path,
                {**contents, **{_STATE + name: tensor for name, tensor in state.items()}},
                {"contents": texts[0], "meta": texts[1], KEY: seal},
            )
        except Exception:  # not on an interrupt, which may come after the state was replaced
            for path in written:
                with suppress(OSError):
                    path.unlink()
            raise
        self._seen = (stamp(regular(self._state_path)), sealed)
        self._ledger.note(self._state_path)

    def _drop(self) -> None:
        remove_stale(self.folder)
        for path in self.check(content=True):
            path.unlink(missing_ok=True)

    def check(self, *, content: bool) -> list[Path]:
        """Look whether the files are what the last commit says.

        Args:
            content: Read all of them, else look at their sizes only.

        Returns:
            Files of a commit that never came about.

        Raises:
            InputError: A file is missing, another, or none of the recording's; the message names it.
        """
        index = self._index()
        if content:
            self._state()
        merged = present(self._ledger.folder / "complete.json")  # the parts were removed then, or are about to be
        parts = {self._part_path(number) for number in range(index.parts)}
        kept = {self._shard_path(number) for number in range(len(index.shards))} | (set() if merged else parts)
        for path in sorted(kept):
            verify(path, index.checksums.get(path.name), content=content)
        if content:
            unsealed.check(self._shards(index), [] if merged else self._parts(index), index)
        following = {self._shard_path(len(index.shards)), self._part_path(index.parts)}
        found = [path for path in self.folder.glob("[!.]*") if path not in (*kept, self._state_path)]
        for path in found:
            if path not in parts and (path not in following or index.finished):
                raise strange(path)
        return found

    def _shards(self, index: Index) -> tuple[FileShard, ...]:
        shape = (index.replicas or 0, index.parameters or 0)
        paths = [self._shard_path(number) for number in range(len(index.shards))]
        return tuple(
            FileShard(path, count, shape, index.torch_dtype, index.checksums.get(path.name))
            for path, count in zip(paths, index.shards, strict=True)
        )

    def _parts(self, index: Index) -> list[tuple[Path, pl.DataFrame]]:
        """The tables of metrics that have no checksum."""
        paths = [self._part_path(number) for number in range(index.parts)]
        return [(path, read_metrics(path)) for path in paths if path.name not in index.checksums]

    def check_rows(self, path: Path, rows: pl.DataFrame) -> None:
        """Look whether rows without a checksum are those of this recording.

        Raises:
            InputError: They are not; the message names the file.
        """
        unsealed.check_rows(path, rows, self._index())

    def _metrics(self, index: Index) -> pl.DataFrame:
        merged = self._merged(self.name)
        if merged is not None:
            return merged
        try:
            return joined([self._part(index, number) for number in range(index.parts)])
        except InputError:
            # Between the two looks the run may have been completed: its table then holds what the parts held.
            merged = self._merged(self.name)
            if merged is None:
                raise
            return merged

    def _part(self, index: Index, number: int) -> pl.DataFrame:
        path = self._part_path(number)
        verify(path, index.checksums.get(path.name))
        return read_metrics(path)


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of named tensors: their names, dtypes, shapes and bytes."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(canonical([name, str(tensor.dtype), list(tensor.shape)]))
        flat = tensor.reshape(-1)
        dense = flat if flat.stride(0) == 1 else torch.cat([flat])  # one number may have any stride
        found.update(dense.view(torch.uint8).numpy().data)
    return found.hexdigest()

"""A recording in a run's folder.

Files of recording NAME below ``snapshots/NAME``::

    00000.safetensors       theta (s, R, P), steps (s,), epochs (s,) and buffers/… (s, R, …) of the
                            first commit that had snapshots
    00000.metrics.parquet   the metrics rows of the first commit that had any (merged into one table at completion)
    state.safetensors       training state of the last commit, and in its header the contents that this commit sealed

The commit is the replacement of ``state.safetensors``: it happens after everything it refers to is on the disk, and
shards are never changed afterwards. Killed before it, a process leaves the previous commit and some files that nothing
refers to; killed after it, the new commit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

from thalweg.errors import InputError
from thalweg.runs.files import remove_stale
from thalweg.runs.index import FORMAT, Chunk, Index
from thalweg.runs.metrics import joined, read_frame, write_frame
from thalweg.runs.recording import Recording, State
from thalweg.runs.snapshots import BUFFERS, FileShard, Shard
from thalweg.runs.tensors import load_tensors, open_tensors, save_tensors

if TYPE_CHECKING:
    import polars as pl

__all__ = ["FolderRecording"]

_STATE = "state/"  # prefix of the caller's tensors; the contents' own begin with "contents/"


@final
class FolderRecording(Recording):
    """See :class:`Recording`; made by :meth:`thalweg.runs.Run.recording`.

    Args:
        name: Which of the run's recordings.
        folder: Its folder; made at the first commit.
        ready: Raises unless the run is open for writing.
        merged: The recording's rows of the run's completed metrics table; None while there is no such table.
    """

    def __init__(
        self, name: str, folder: Path, ready: Callable[[], object], merged: Callable[[str], pl.DataFrame | None]
    ) -> None:
        super().__init__(name)
        self.folder = folder
        self._ready_check = ready
        self._merged = merged

    def _ready(self) -> None:
        self._ready_check()

    @property
    def _state_path(self) -> Path:
        return self.folder / "state.safetensors"

    def _shard_path(self, number: int) -> Path:
        return self.folder / f"{number:05d}.safetensors"

    def _part_path(self, number: int) -> Path:
        return self.folder / f"{number:05d}.metrics.parquet"

    def _index(self) -> Index:
        if not self._state_path.exists():
            return Index()
        with self._reading() as file:
            header = json.loads(file.metadata()["contents"])
            if header.get("format") != FORMAT:
                found = header.get("format")
                raise InputError(f"{self._state_path} must be of format {FORMAT} for this thalweg, found {found!r}")
            return Index.from_header(header, file.get_tensor("contents/steps"), file.get_tensor("contents/epochs"))

    def _state(self) -> State | None:
        if not self._state_path.exists():
            return None
        return load_tensors(self._state_path, _STATE), self._meta()

    def _meta(self) -> dict[str, Any]:
        if not self._state_path.exists():
            return {}
        with self._reading() as file:
            return json.loads(file.metadata()["meta"])

    @contextmanager
    def _reading(self) -> Iterator[Any]:
        try:
            with open_tensors(self._state_path) as file:
                yield file
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise InputError(f"{self._state_path} is corrupt: it is no training state ({error})") from error

    def _write(self, index: Index, chunk: Chunk, state: Mapping[str, Tensor], meta: dict[str, Any]) -> None:
        contents = {
            "contents/steps": torch.tensor(index.steps, dtype=torch.int64),
            "contents/epochs": torch.tensor(index.epochs, dtype=torch.float64),
        }
        written: list[Path] = []
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
            save_tensors(
                self._state_path,
                {**contents, **{_STATE + name: tensor for name, tensor in state.items()}},
                {"contents": json.dumps(index.header()), "meta": json.dumps(meta)},
            )
        except Exception:  # not on an interrupt, which may come after the state was replaced
            for path in written:
                with suppress(OSError):
                    path.unlink()
            raise

    def _drop(self) -> None:
        index = self._index()
        remove_stale(self.folder)
        kept = {self._shard_path(number) for number in range(len(index.shards))}
        for path in sorted(kept):  # going on would end in a run that calls itself whole and is not
            with open_tensors(path):
                pass
        kept |= {self._part_path(number) for number in range(index.parts)}
        for path in (*self.folder.glob("[0-9]*.safetensors"), *self.folder.glob("[0-9]*.metrics.parquet")):
            if path not in kept:
                path.unlink(missing_ok=True)

    def _shards(self, index: Index) -> tuple[Shard, ...]:
        shape = (index.replicas or 0, index.parameters or 0)
        return tuple(
            FileShard(self._shard_path(number), count, shape, index.torch_dtype)
            for number, count in enumerate(index.shards)
        )

    def parts(self) -> list[Path]:
        """The files of metrics that the last commit refers to."""
        return [self._part_path(number) for number in range(self._index().parts)]

    def _metrics(self, index: Index) -> pl.DataFrame:
        merged = self._merged(self.name)
        if merged is not None:
            return merged
        try:
            return joined([read_frame(path) for path in self.parts()])
        except InputError:
            # Between the two looks the run may have been completed: its table then holds what the parts held.
            merged = self._merged(self.name)
            if merged is None:
                raise
            return merged

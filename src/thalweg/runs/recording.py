"""Recordings: snapshots of θ, metrics and the training state, written in commits and read back lazily.

A recording is one stream of training. While it runs, :meth:`Recording.append` collects in memory, and
:meth:`Recording.commit` makes everything collected permanent together with the state that training needs to go on.
Readers see commits only, and after a crash :meth:`Recording.restore` returns to the last one, so that training
continues as if nothing had happened.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from thalweg._files.tensors import separate
from thalweg._files.writing import plain
from thalweg.errors import InputError
from thalweg.results import Presented
from thalweg.runs.buffer import Buffer
from thalweg.runs.history import History, history
from thalweg.runs.index import Chunk, Index, checked_status
from thalweg.runs.metrics import Value
from thalweg.runs.snapshots import Shard, Snapshots

if TYPE_CHECKING:
    import polars as pl

    from thalweg.figures import Figure

__all__ = ["Recording"]

State = tuple[dict[str, Tensor], dict[str, Any]]


class Recording(Presented, ABC):
    """One named stream of snapshots and metrics of R replicas; in a run's folder or in memory.

    Write with :meth:`append`, :meth:`commit`, :meth:`finish`; read with the properties, which show what is committed.
    The first append fixes R, the first snapshot P and the dtype.

    Args:
        name: Which of a run's recordings this is.

    >>> from thalweg.runs import MemoryRecording
    >>> recording = MemoryRecording()
    >>> for step in range(3):
    ...     losses = torch.tensor([1.0, 2.0]) / (step + 1)
    ...     recording.append(step, step / 10, torch.full((2, 5), float(step)), {"loss": losses})
    >>> recording.commit({"momentum": torch.zeros(2, 5)}, {"next_step": 3})
    >>> recording.snapshots
    Snapshots(S=3, R=2, P=5, float32)
    >>> recording.metrics.columns, len(recording.metrics)
    (['step', 'epoch', 'replica', 'loss'], 6)
    >>> state, meta = recording.restore()
    >>> meta
    {'next_step': 3}
    """

    def __init__(self, name: str = "training") -> None:
        self.name = name
        self._buffer: Buffer | None = None  # what is not committed

    def __repr__(self) -> str:
        """What is committed: `MemoryRecording('training', S=4, R=1, P=1530, float32, finished)`."""
        try:
            s, r, p = self.snapshots.shape
            kind, ended = str(self.snapshots.dtype).removeprefix("torch."), ", finished" if self.finished else ""
        except InputError as error:
            return f"{type(self).__name__}({self.name!r}, {error})"
        return f"{type(self).__name__}({self.name!r}, S={s}, R={r}, P={p}, {kind}{ended})"

    @property
    def place(self) -> str:
        """What holds the state, for messages."""
        return f"recording '{self.name}'"

    # ---- writing

    def append(
        self,
        step: int,
        epoch: float,
        theta: Tensor | None = None,
        metrics: Mapping[str, Value] | None = None,
        buffers: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Collect one step; the tensors are copied and may change afterwards.

        Args:
            step: Updates done so far; never smaller than before, and larger than that of the previous snapshot.
            epoch: The same in passes over the data.
            theta: Parameters (R, P), floating point; None records metrics only.
            metrics: One value per replica by name, (R,); plain numbers if R = 1. Not every step needs every metric.
            buffers: What belongs to θ without being part of it, such as the running statistics of BatchNorm, name ->
                (R, …); read back by ``snapshots.buffers``.

        Raises:
            InputError: A step that goes back, or shapes and dtypes that differ from what was recorded before.
        """
        self._open().append(step, epoch, theta, metrics or {}, buffers)

    def _open(self) -> Buffer:
        if self._buffer is None:
            self._ready()
            index = self._index()
            if index.finished:
                raise InputError(f"recording '{self.name}' is finished; nothing can be added")
            self._buffer = Buffer(self.name, index)
        return self._buffer

    def commit(
        self, state: Mapping[str, Tensor], meta: Mapping[str, Any], status: Sequence[Mapping[str, Any]] | None = None
    ) -> None:
        """Make everything appended permanent, together with the state that goes with it: all of it or nothing.

        If writing fails, what was appended stays in memory and the commit can be tried again.

        Args:
            state: Tensors of any dtype and shape (optimiser, generators, counters), returned by :meth:`restore`.
            meta: The rest of the state, as JSON allows it.
            status: What has become of each replica so far, see :meth:`finish`; None leaves it as it was.

        Raises:
            InputError: State or meta that cannot be stored, or a folder that is not open for writing.
            WriteError: The disk is full or read-only.
        """
        self._commit(state, meta, status, finished=False)

    def finish(
        self,
        status: Sequence[Mapping[str, Any]] | None = None,
        state: Mapping[str, Tensor] | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        """Commit the rest and close the recording.

        Args:
            status: Per replica a dict with ``status`` ("completed" or "diverged"), ``step`` (the last one that counts;
                default the last recorded) and ``message``; None means that all completed.
            state: The final state; None keeps the one committed last.
            meta: As `state`.

        Raises:
            InputError: A status that is unknown, "running", or not one per replica.
            WriteError: The disk is full or read-only.
        """
        if any(entry.get("status") == "running" for entry in status or ()):
            raise InputError(
                "status must say completed or diverged for every replica of a finished recording, found 'running'"
            )
        if state is None or meta is None:
            kept = self._state() or ({}, {})
            state = kept[0] if state is None else state
            meta = kept[1] if meta is None else meta
        self._commit(state, meta, status, finished=True)

    def _commit(
        self,
        state: Mapping[str, Tensor],
        meta: Mapping[str, Any],
        status: Sequence[Mapping[str, Any]] | None,
        *,
        finished: bool,
    ) -> None:
        self._ready()
        buffer = self._open()
        if not buffer.committed.same_files(self._index()):  # the run was let go and somebody else wrote meanwhile
            raise InputError(f"recording '{self.name}' was changed by another writer; restore() continues from there")
        chunk = buffer.chunk()
        index = replace(buffer.committed.extended(chunk), finished=finished)
        if finished or status is not None:
            index = replace(index, status=checked_status(status, index.replicas, index.last, default="completed"))
        self._write(index, chunk, separate(state), plain(dict(meta), "meta"))
        self._buffer = None

    def restore(self) -> State | None:
        """Return to the last commit: drop everything recorded after it and give its state and meta.

        Returns:
            (state, meta) as they were committed, tensors on the CPU; None if nothing was ever committed.

        Raises:
            InputError: The files are corrupt, or the folder is not open for writing.
        """
        self._ready()
        self._buffer = None
        self._drop()
        return self._state()

    # ---- reading

    @property
    def pending(self) -> bool:
        """Whether something was appended and not committed."""
        return self._buffer is not None and self._buffer.pending

    @property
    def replicas(self) -> int | None:
        """R; None before the first commit."""
        return self._index().replicas

    @property
    def last(self) -> int:
        """Last committed step, with or without a snapshot; -1 before the first commit."""
        return self._index().last

    @property
    def meta(self) -> dict[str, Any]:
        """What the last commit said beside its tensors; empty before the first."""
        return self._meta()

    @property
    def steps(self) -> Tensor:
        """Steps of the snapshots, int64 (S,)."""
        return torch.tensor(self._index().steps, dtype=torch.int64)

    @property
    def epochs(self) -> Tensor:
        """Epochs of the snapshots, float64 (S,)."""
        return torch.tensor(self._index().epochs, dtype=torch.float64)

    @property
    def snapshots(self) -> Snapshots:
        """θ at the recorded steps, (S, R, P), read when indexed."""
        index = self._index()
        shape = (index.replicas or 0, index.parameters or 0)
        return Snapshots(self._shards(index), shape, index.torch_dtype)

    @property
    def metrics(self) -> pl.DataFrame:
        """Columns step, epoch, replica and the metrics; ordered by step and replica."""
        return self._metrics(self._index())

    @property
    def history(self) -> History:
        """The metrics of all replicas as a result: (T, R) arrays that draw, tell and save themselves."""
        return history(self.name, self.metrics, self.status)

    def plot(self) -> Figure:
        """The training curves: loss, accuracy and further metrics against the epochs.

        Raises:
            InputError: No metric was recorded.
        """
        return self.history.plot()

    def table(self) -> pl.DataFrame:
        """One row per replica: its status, its last step and the last value of every metric."""
        return self.history.table()

    def summary(self) -> str:
        """What the replicas came to, and which of them diverged."""
        return self.history.summary()

    @property
    def status(self) -> list[dict[str, Any]]:
        """Per replica {status: completed | diverged | running, step, message}."""
        index = self._index()
        status = index.status or checked_status(None, index.replicas, index.last, default="running")
        return [dict(entry) for entry in status]

    @property
    def finished(self) -> bool:
        """Whether :meth:`finish` was called."""
        return self._index().finished

    # ---- storage

    @abstractmethod
    def _ready(self) -> None:
        """Raise unless this object may write."""

    @abstractmethod
    def _index(self) -> Index:
        """What is committed now."""

    @abstractmethod
    def _state(self) -> State | None:
        """State and meta of the last commit."""

    @abstractmethod
    def _meta(self) -> dict[str, Any]:
        """Meta of the last commit, without its tensors."""

    @abstractmethod
    def _write(self, index: Index, chunk: Chunk, state: Mapping[str, Tensor], meta: dict[str, Any]) -> None:
        """Store a chunk and make `index` the committed contents, atomically."""

    @abstractmethod
    def _drop(self) -> None:
        """Remove what is stored but not committed."""

    @abstractmethod
    def _shards(self, index: Index) -> Sequence[Shard]:
        """The snapshots' pieces."""

    @abstractmethod
    def _metrics(self, index: Index) -> pl.DataFrame:
        """The metrics table."""

"""A recording that lives in memory."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, final

from torch import Tensor

from thalweg.runs.frames import joined
from thalweg.runs.index import Chunk, Index
from thalweg.runs.recording import Recording, State
from thalweg.runs.snapshots import MemoryShard, Shard

if TYPE_CHECKING:
    import polars as pl

__all__ = ["MemoryRecording"]


@final
class MemoryRecording(Recording):
    """A recording without a folder: the same interface, gone with the process.

    Args:
        name: As for any recording.

    >>> recording = MemoryRecording()
    >>> recording.append(0, 0.0, metrics={"loss": 0.5})
    >>> recording.finish()
    >>> recording.status
    [{'status': 'completed', 'step': 0, 'message': ''}]
    """

    def __init__(self, name: str = "training") -> None:
        super().__init__(name)
        self._committed = Index()
        self._kept: tuple[Shard, ...] = ()
        self._frames: tuple[pl.DataFrame, ...] = ()
        self._saved: State | None = None

    def _ready(self) -> None:
        """Memory is always writable."""

    def _index(self) -> Index:
        return self._committed

    def _state(self) -> State | None:
        if self._saved is None:
            return None
        state, meta = self._saved
        return {name: tensor.clone() for name, tensor in state.items()}, copy.deepcopy(meta)

    def _meta(self) -> dict[str, Any]:
        return {} if self._saved is None else copy.deepcopy(self._saved[1])

    def _write(self, index: Index, chunk: Chunk, state: Mapping[str, Tensor], meta: dict[str, Any]) -> None:
        self._saved = {name: tensor.clone() for name, tensor in state.items()}, meta
        self._kept += () if chunk.theta is None else (MemoryShard(chunk.theta, chunk.buffers),)
        self._frames += () if chunk.metrics is None else (chunk.metrics,)
        self._committed = index

    def _drop(self) -> None:
        """Nothing is stored that is not committed."""

    def _shards(self, index: Index) -> tuple[Shard, ...]:
        return self._kept

    def _metrics(self, index: Index) -> pl.DataFrame:
        return joined(self._frames)

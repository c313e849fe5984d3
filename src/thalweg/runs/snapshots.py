"""Recorded parameters, read lazily: an array (S, R, P) that stays on the disk until a part of it is asked for."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from thalweg._files.tensors import open_tensors
from thalweg.errors import InputError
from thalweg.runs.checksums import Checksum, verify

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Snapshots", "SnapshotIndexError", "Shard", "FileShard", "MemoryShard"]

BUFFERS = "buffers/"  # prefix of the names in a shard
_AXES = ("snapshot", "replica", "parameter")


class SnapshotIndexError(InputError, IndexError):
    """An index outside the recorded array; the message names the axis and its bounds."""


class Shard(Protocol):
    """A run of consecutive snapshots that are stored together."""

    @property
    def count(self) -> int:
        """Number of snapshots."""
        ...

    def read(self, rows: range, replicas: slice, parameters: slice, out: Tensor) -> None:
        """Copy the snapshots `rows` (ascending, any stride) of the box (step 1 on both axes) to `out` (rows, r, p)."""

    def read_buffers(self, row: int) -> dict[str, Tensor]:
        """The buffers of one snapshot, name -> (R, …); empty where none were recorded."""
        ...


@dataclass(frozen=True)
class MemoryShard:
    """Snapshots kept in memory.

    Attributes:
        theta: (s, R, P).
        buffers: name -> (s, R, …).
    """

    theta: Tensor
    buffers: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of snapshots."""
        return len(self.theta)

    def read(self, rows: range, replicas: slice, parameters: slice, out: Tensor) -> None:
        """See :class:`Shard`."""
        out.copy_(self.theta[rows.start : rows.stop : rows.step, replicas, parameters])

    def read_buffers(self, row: int) -> dict[str, Tensor]:
        """See :class:`Shard`."""
        return {name: values[row].clone() for name, values in self.buffers.items()}


@dataclass(frozen=True)
class FileShard:
    """Snapshots in one safetensors file, under the name ``theta``; their buffers under ``buffers/…``.

    Attributes:
        path: The file.
        count: Snapshots in it, as the recording has committed them.
        shape: (R, P) of each.
        dtype: Their dtype.
        checksum: Of the file, which is read through once before a part of it is believed; None if none was noted.
    """

    path: Path
    count: int
    shape: tuple[int, int]
    dtype: torch.dtype
    checksum: Checksum | None = None

    def _opened(self) -> Any:
        if self.checksum is not None:
            verify(self.path, self.checksum)
        return open_tensors(self.path)

    def read(self, rows: range, replicas: slice, parameters: slice, out: Tensor) -> None:
        """See :class:`Shard`; copies only what is asked for.

        Raises:
            InputError: The file is missing, truncated, or holds something else than was committed.
        """
        with self._opened() as file:
            if "theta" not in file.keys():  # noqa: SIM118 -- the reader is no mapping
                raise InputError(f"{self.path} is corrupt: it holds no 'theta'")
            theta = file.get_slice("theta")
            if tuple(theta.get_shape()) != (self.count, *self.shape):
                expected = (self.count, *self.shape)
                raise InputError(f"{self.path} is corrupt: theta is {tuple(theta.get_shape())}, recorded as {expected}")
            if rows.step == 1:
                out.copy_(theta[rows.start : rows.stop, replicas, parameters])
                return
            for place, row in enumerate(rows):
                out[place].copy_(theta[row : row + 1, replicas, parameters][0])

    def read_buffers(self, row: int) -> dict[str, Tensor]:
        """See :class:`Shard`."""
        with self._opened() as file:
            names = [name for name in file.keys() if name.startswith(BUFFERS)]  # noqa: SIM118 -- the reader is no mapping
            return {name.removeprefix(BUFFERS): file.get_slice(name)[row].clone() for name in names}


class Snapshots:
    """The recorded θ as a read-only array (S, R, P) that reads only what is indexed.

    Integers and slices on up to three axes work as for a tensor (negative ones too, and negative strides, which torch
    itself refuses); the result is an ordinary CPU tensor with memory of its own. ``snapshots[:]`` reads everything.

    Args:
        shards: The stored pieces, in order.
        shape: (R, P) of every snapshot.
        dtype: Their dtype.

    >>> pieces = [MemoryShard(torch.arange(12.0).reshape(2, 2, 3)), MemoryShard(torch.zeros(1, 2, 3))]
    >>> snapshots = Snapshots(pieces, (2, 3), torch.float32)
    >>> snapshots
    Snapshots(S=3, R=2, P=3, float32)
    >>> snapshots[1, -1, 1:]
    tensor([10., 11.])
    >>> snapshots[::-1, 0, 0]
    tensor([0., 6., 0.])
    """

    def __init__(self, shards: Sequence[Shard], shape: tuple[int, int], dtype: torch.dtype) -> None:
        self._shards = tuple(shards)
        self.shape: tuple[int, int, int] = (sum(shard.count for shard in self._shards), *shape)
        self.dtype = dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        s, r, p = self.shape
        return f"Snapshots(S={s}, R={r}, P={p}, {str(self.dtype).removeprefix('torch.')})"

    def __iter__(self) -> Iterator[Tensor]:
        for s in range(len(self)):
            yield self[s]  # (R, P)

    def __getitem__(self, key: int | slice | tuple[int | slice, ...]) -> Tensor:
        """Read a part.

        Raises:
            SnapshotIndexError: An index out of bounds.
            InputError: Something else than integers and slices, more than three of them, or a stride of zero.
        """
        keys = key if isinstance(key, tuple) else (key,)
        if len(keys) > 3:
            raise InputError(f"snapshots have 3 axes (snapshot, replica, parameter), found {len(keys)} indices")
        keys = (*keys, *(slice(None),) * (3 - len(keys)))
        picks = [_pick(one, size, axis) for one, size, axis in zip(keys, self.shape, _AXES, strict=True)]
        replicas, parameters = _box(picks[1]), _box(picks[2])
        out = torch.empty(len(picks[0]), len(replicas), len(parameters), dtype=self.dtype)
        if out.numel():
            box = slice(replicas.start, replicas.stop), slice(parameters.start, parameters.stop)
            self._fill(out, _ascending(picks[0]), *box)
        return self._arrange(out, keys, picks)

    def _fill(self, out: Tensor, rows: range, replicas: slice, parameters: slice) -> None:
        first = done = 0
        for shard in self._shards:
            # The members of `rows` inside this shard, as positions in it.
            skip = max(0, -(-(first - rows.start) // rows.step))
            inside = range(rows.start + skip * rows.step, min(rows.stop, first + shard.count), rows.step)
            if len(inside):
                local = range(inside.start - first, inside[-1] - first + 1, rows.step)
                shard.read(local, replicas, parameters, out[done : done + len(local)])
                done += len(local)
            first += shard.count

    @staticmethod
    def _arrange(out: Tensor, keys: Sequence[int | slice], picks: Sequence[range]) -> Tensor:
        """From the ascending box that was read to the order and the axes asked for."""
        if picks[0].step < 0:
            out = out.flip(0)
        for axis in (1, 2):
            out = out[(slice(None),) * axis + (slice(None, None, abs(picks[axis].step)),)]
            if picks[axis].step < 0:
                out = out.flip(axis)
        for axis in (2, 1, 0):
            if not isinstance(keys[axis], slice):
                out = out.squeeze(axis)
        return out.contiguous()

    def buffers(self, snapshot: int) -> dict[str, Tensor]:
        """The buffers recorded with one snapshot (running statistics of BatchNorm), name -> (R, …); often none.

        Raises:
            SnapshotIndexError: The snapshot is out of bounds.
        """
        place = _pick(snapshot, len(self), "snapshot")[0]
        for shard in self._shards:
            if place < shard.count:
                return shard.read_buffers(place)
            place -= shard.count
        return {}

    def numpy(self) -> np.ndarray:
        """Everything, as a numpy array (S, R, P)."""
        return self[:].numpy()


def _pick(key: object, size: int, axis: str) -> range:
    """The positions that an index means on an axis of `size`."""
    if isinstance(key, slice):
        try:
            return range(size)[key]
        except (TypeError, ValueError) as error:  # 0.5:2 or a stride of 0
            raise InputError(f"a {axis} slice must have integer bounds and a stride other than 0: {error}") from None
    try:
        if isinstance(key, bool):
            raise TypeError
        position = operator.index(key)  # type: ignore[arg-type]
    except TypeError:
        raise InputError(f"a {axis} index must be an integer or a slice, found {type(key).__name__}") from None
    if not -size <= position < size:
        bounds = f"{-size}..{size - 1}" if size else "none, there are no entries"
        raise SnapshotIndexError(f"{axis} index {position} is out of bounds (allowed: {bounds})")
    position %= size
    return range(position, position + 1)


def _ascending(pick: range) -> range:
    return pick if pick.step > 0 else pick[::-1]


def _box(pick: range) -> range:
    """The smallest gapless ascending range that covers a pick."""
    return range(min(pick[0], pick[-1]), max(pick[0], pick[-1]) + 1) if len(pick) else range(0)

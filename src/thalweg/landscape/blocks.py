"""Reading snapshots a block of parameters at a time, from memory or from files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.errors import InputError
from thalweg.runs.recording import Recording
from thalweg.runs.run import Run

__all__ = ["Points", "as_snapshots"]


def as_snapshots(value: Any, name: str = "snapshots") -> Any:
    """The array of snapshots that a caller means: of a run or a recording its own.

    Raises:
        InputError: Something that is no array.
    """
    value = value.snapshots if isinstance(value, Run | Recording) else value
    if not hasattr(value, "shape") or not hasattr(value, "__getitem__"):
        raise InputError(
            f"{name} must be an array of snapshots (S, R, P), a recording or a run, found {type(value).__name__}"
        )
    return value


@dataclass(frozen=True, eq=False)
class Points:
    """Snapshots (S, R, P) restricted to some of their parameters.

    Args:
        snapshots: Anything that knows `shape` and reads `[:, r:s, a:b]`.
        columns: Indices of the parameters, or None for all.
    """

    snapshots: Any
    columns: Tensor | None

    @classmethod
    def of(cls, snapshots: Any, columns: Tensor | Sequence[int] | None = None) -> Points:
        """Checks the shape and the columns.

        Raises:
            InputError: Not three axes, an empty axis, or columns that are out of range, repeated or none.
        """
        snapshots = as_snapshots(snapshots)
        shape = tuple(snapshots.shape)
        if len(shape) != 3 or 0 in shape:
            raise InputError(f"snapshots must have the axes (snapshot, replica, parameter), none empty, found {shape}")
        if columns is None:
            return cls(snapshots, None)
        index = torch.as_tensor(columns).cpu()
        if index.dim() != 1 or index.numel() == 0 or index.is_floating_point() or index.dtype == torch.bool:
            raise InputError(f"columns must be a non-empty list of parameter indices, found {_short(columns)}")
        low, high = int(index.min()), int(index.max())
        if low < 0 or high >= shape[2]:
            raise InputError(f"columns must lie in 0 … {shape[2] - 1}, found {low if low < 0 else high}")
        if index.unique().numel() != index.numel():
            raise InputError("columns must name each parameter once, found a repeated index")
        return cls(snapshots, index.long())

    @property
    def size(self) -> int:
        """Number of parameters looked at."""
        return self.snapshots.shape[2] if self.columns is None else len(self.columns)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(S, R, number of parameters looked at)."""
        return self.snapshots.shape[0], self.snapshots.shape[1], self.size

    @property
    def eps(self) -> float:
        """Relative spacing of the numbers that the snapshots are stored as."""
        return torch.finfo(_float(self.snapshots[0:1, 0:1, 0:1]).dtype).eps

    def replicas(self, chosen: Sequence[int] | None) -> tuple[int, ...]:
        """Checks a choice of replicas and returns it in ascending order; None is all."""
        count = self.snapshots.shape[1]
        if chosen is None:
            return tuple(range(count))
        out = tuple(sorted({int(r) for r in chosen}))
        if not out or out[0] < 0 or out[-1] >= count:
            raise InputError(f"replicas must be a non-empty choice out of 0 … {count - 1}, found {list(chosen)}")
        return out

    def blocks(self, replicas: Sequence[int], memory: int) -> Iterator[tuple[int, int]]:
        """Yields ranges of positions whose float64 block and working copies fit into `memory` bytes.

        Args:
            replicas: Those that will be read, ascending.
            memory: Budget in bytes.
        """
        width = max(1, int(memory) // (5 * 8 * self.shape[0] * len(_box(replicas))))
        for start in range(0, self.size, width):
            yield start, min(start + width, self.size)

    def read(self, replicas: Sequence[int], start: int, stop: int) -> Tensor:
        """Returns (S, len(replicas), stop − start) in float64; reads no replica outside their range."""
        box = _box(replicas)
        picked = [replica - box.start for replica in replicas]
        block = self._read(slice(box.start, box.stop), start, stop)
        return (block if len(picked) == len(box) else block[:, picked]).double()

    def _read(self, box: slice, start: int, stop: int) -> Tensor:
        if self.columns is None:
            return _float(self.snapshots[:, box, start:stop])
        index = self.columns[start:stop]
        if isinstance(self.snapshots, Tensor):
            return self.snapshots.detach()[:, box][:, :, index.to(self.snapshots.device)]
        # neighbouring columns are read as one range: files are read in ranges, and a layer is one
        cuts = (index.diff() != 1).nonzero().flatten() + 1
        parts = [
            _float(self.snapshots[:, box, int(run[0]) : int(run[-1]) + 1])
            for run in torch.tensor_split(index, cuts.tolist())
        ]
        return torch.cat(parts, dim=2)


def _box(replicas: Sequence[int]) -> range:
    """The gapless range that covers ascending replicas."""
    return range(replicas[0], replicas[-1] + 1)


def _float(block: Tensor | np.ndarray) -> Tensor:
    if isinstance(block, np.ndarray) and not block.flags.writeable:
        block = block.copy()  # torch has no read-only tensors: memory-mapped files come read-only
    tensor = torch.as_tensor(block)
    if not tensor.is_floating_point():
        raise InputError(f"snapshots must hold floating-point numbers, found {tensor.dtype}")
    return tensor.detach()


def _short(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)} and {value.dtype}"
    return repr(value)[:60]

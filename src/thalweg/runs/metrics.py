"""Metrics of all replicas over the steps, collected as tensors while training runs; `frames` has them as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from thalweg._lazy import polars as pl
from thalweg.errors import InputError
from thalweg.runs.frames import KEYS, empty

__all__ = ["MetricsBuffer", "Value"]

Value = Tensor | Sequence[float] | float
_Column = tuple[str, torch.dtype, torch.device]  # what must agree for values to be stacked
_RESERVED = frozenset({*KEYS, "recording"})


class MetricsBuffer:
    """Rows not yet written. Adding one costs a copy of each small tensor; the table is built once, in :meth:`frame`."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, float, list[Tensor]]] = []
        self._patterns: list[tuple[_Column, ...]] = []  # the columns of each row
        self._names: set[str] = set()

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, step: int, epoch: float, metrics: Mapping[str, Value], replicas: int) -> None:
        """Keep the metrics of one step; each has one value per replica.

        Raises:
            InputError: A reserved or empty name, or a wrong number of values.
        """
        columns, values = [], []
        for name, value in metrics.items():
            if name not in self._names and (not isinstance(name, str) or not name or name in _RESERVED):
                reserved = ", ".join(sorted(_RESERVED))
                raise InputError(f"a metric's name must be text other than {reserved}, found {name!r}")
            if not isinstance(value, Tensor):
                value = _tensor(name, value)
            if value.shape != (replicas,):
                if value.numel() != 1 or replicas != 1:
                    raise InputError(f"metric '{name}' must have shape ({replicas},), found {tuple(value.shape)}")
                value = value.reshape(1)
            if value.dtype.is_complex:
                raise InputError(f"metric '{name}' must be a tensor of numbers, found {value.dtype}")
            columns.append((name, value.dtype, value.device))
            values.append((value.detach() if value.requires_grad else value).clone())  # stays on its device
        self._names.update(metrics)
        self._patterns.append(tuple(columns))
        self._rows.append((step, epoch, values))

    def frame(self, replicas: int) -> pl.DataFrame:
        """The table of all rows so far, in the order they came."""
        blocks: dict[tuple[_Column, ...], list[int]] = {}  # rows that hold the same metrics become one dense block
        for index, pattern in enumerate(self._patterns):
            blocks.setdefault(pattern, []).append(index)
        frames = [self._block(pattern, indices, replicas) for pattern, indices in blocks.items()]
        if not frames:
            return empty()
        frame = pl.concat(frames, how="diagonal_relaxed")
        if len(frames) > 1:
            frame = frame.sort("__order", "replica", maintain_order=True)
        return frame.drop("__order")

    def _block(self, pattern: tuple[_Column, ...], indices: list[int], replicas: int) -> pl.DataFrame:
        rows = [self._rows[index] for index in indices]
        columns = {
            "__order": np.repeat(np.asarray(indices, dtype=np.int64), replicas),
            "step": np.repeat(np.asarray([step for step, _, _ in rows], dtype=np.int64), replicas),
            "epoch": np.repeat(np.asarray([epoch for _, epoch, _ in rows], dtype=np.float64), replicas),
            "replica": np.tile(np.arange(replicas, dtype=np.int64), len(rows)),
        }
        for place, (name, dtype, _) in enumerate(pattern):
            dense = torch.stack([values[place] for _, _, values in rows]).cpu().reshape(-1)  # (rows·R,)
            # Tables know no shorter floats than these; nothing is lost.
            columns[name] = (dense.float() if dtype in (torch.float16, torch.bfloat16) else dense).numpy()
        return pl.DataFrame(columns)


def _tensor(name: str, value: object) -> Tensor:
    """A number or an array as a tensor; Python's floats keep their 64 bits."""
    try:
        tensor = torch.as_tensor(value)
        # torch would round a float, or a list of them, to its default dtype.
        return (
            torch.as_tensor(value, dtype=torch.float64)
            if tensor.is_floating_point() and not hasattr(value, "dtype")
            else tensor
        )
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"metric '{name}' must be a tensor of numbers, found {type(value).__name__}") from None

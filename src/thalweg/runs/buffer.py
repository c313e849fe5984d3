"""What a recording has collected since its last commit, checked as it comes in."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from thalweg.errors import InputError
from thalweg.runs.index import Chunk, Index
from thalweg.runs.metrics import MetricsBuffer, Value

__all__ = ["Buffer"]


class Buffer:
    """Steps that are not yet written.

    Args:
        name: The recording's, for messages.
        committed: What it holds already; new steps must fit to it.
    """

    def __init__(self, name: str, committed: Index) -> None:
        self.committed = committed
        self._name = name
        self._thetas: list[Tensor] = []
        self._buffers: dict[str, list[Tensor]] = {}
        self._steps: list[int] = []
        self._epochs: list[float] = []
        self._rows = MetricsBuffer()
        self._last = committed.last
        self._last_snapshot = committed.steps[-1] if committed.steps else -1
        self._replicas = committed.replicas
        self._parameters = committed.parameters
        self._dtype = None if committed.dtype is None else committed.torch_dtype

    def append(
        self,
        step: int,
        epoch: float,
        theta: Tensor | None,
        metrics: Mapping[str, Value],
        buffers: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Check and copy one step; see :meth:`thalweg.runs.Recording.append`."""
        step, epoch = int(step), float(epoch)
        if step < max(self._last, 0):
            raise InputError(
                f"step must not go back: recording '{self._name}' stands at {self._last}, found {step} "
                "(restore() continues after the last commit)"
            )
        replicas = self._replicas
        if theta is not None:
            self._check(theta, step)
            self._check_buffers(buffers or {}, len(theta))
            replicas = theta.shape[0]
        if metrics:
            replicas = _count(next(iter(metrics.values()))) if replicas is None else replicas
            self._rows.add(step, epoch, metrics, replicas)
        if theta is not None:
            self._thetas.append(theta.detach().to("cpu", copy=True))
            for name, value in (buffers or {}).items():
                self._buffers.setdefault(name, []).append(value.detach().to("cpu", copy=True))
            self._steps.append(step)
            self._epochs.append(epoch)
            self._last_snapshot, self._parameters, self._dtype = step, theta.shape[1], theta.dtype
        self._last, self._replicas = step, replicas

    def _check(self, theta: Tensor, step: int) -> None:
        if not isinstance(theta, Tensor) or theta.ndim != 2 or not theta.is_floating_point() or 0 in theta.shape:
            found = f"{tuple(theta.shape)} {theta.dtype}" if isinstance(theta, Tensor) else type(theta).__name__
            raise InputError(f"theta must be a floating-point tensor (R, P) with R, P at least 1, found {found}")
        expected = (self._replicas or theta.shape[0], self._parameters or theta.shape[1])
        dtype = self._dtype or theta.dtype
        if theta.shape != expected or theta.dtype != dtype:
            found = f"{tuple(theta.shape)} {theta.dtype}"
            raise InputError(f"theta must stay {expected} {dtype} in recording '{self._name}', found {found}")
        if step <= self._last_snapshot:
            raise InputError(
                f"a snapshot must come after the previous one at step {self._last_snapshot}, found step {step}"
            )

    @property
    def pending(self) -> bool:
        """Whether there is anything to commit."""
        return bool(self._thetas) or len(self._rows) > 0

    def _check_buffers(self, buffers: Mapping[str, Tensor], replicas: int) -> None:
        if self._thetas and set(buffers) != set(self._buffers):
            raise InputError(f"buffers must stay {sorted(self._buffers)} in one recording, found {sorted(buffers)}")
        for name, value in buffers.items():
            kept = self._buffers.get(name)
            fits = value.shape == kept[0].shape if kept else value.ndim > 0 and len(value) == replicas
            if not fits:
                raise InputError(f"buffers['{name}'] must keep its shape ({replicas}, …), found {tuple(value.shape)}")

    def chunk(self) -> Chunk:
        """Everything collected, ready to be written; the buffer keeps it until that has succeeded."""
        return Chunk(
            replicas=self._replicas,
            theta=torch.stack(self._thetas) if self._thetas else None,  # (s, R, P)
            buffers={name: torch.stack(values) for name, values in self._buffers.items()},
            steps=tuple(self._steps),
            epochs=tuple(self._epochs),
            metrics=self._rows.frame(self._replicas or 0) if len(self._rows) else None,
            last=self._last,
        )


def _count(value: Value) -> int:
    """How many replicas a metric speaks of, where no snapshot has said so before."""
    shape = getattr(value, "shape", None)
    if shape is None:
        return 1 if isinstance(value, (int, float)) else len(value)
    return shape[0] if len(shape) else 1

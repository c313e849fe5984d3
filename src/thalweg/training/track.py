"""What one replica of a loop written by hand has done: its metrics and snapshots, until a recorder takes them."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from weakref import WeakMethod

import numpy as np
import torch
from torch import Tensor, nn

from thalweg.declared import real
from thalweg.errors import InputError
from thalweg.objective.copying import plain
from thalweg.training.coverage import Coverage, UncoveredError
from thalweg.training.measuring import Measure, Measures

__all__ = ["Silent", "Track", "Value"]

Value = Tensor | float
Taken = tuple[int, Tensor | None, dict[str, Tensor], dict[str, Tensor] | None]
log = logging.getLogger("thalweg")


class Track:
    """What one replica of a `Recorder` has done; made by `Recorder.replica`.

    Args:
        model: The model being trained; read after every `every` steps, never changed.
        every: Steps between two snapshots.
        per_epoch: Steps in an epoch.
        parameters: As for `Recorder`.
        keep: Called before `step` refuses, to write what there is.
        measure: Instruments, as for `Recorder`.

    Attributes:
        steps: Calls of `step` so far.
        rows: (step, metrics) not yet taken.
        snapshots: (step, theta (P,), buffers) not yet taken.
        diverged: The first step at which a metric or a recorded parameter was not finite; None while all are.
    """

    def __init__(
        self,
        model: nn.Module,
        every: int,
        per_epoch: int,
        parameters: str | Sequence[str] | None = None,
        keep: WeakMethod[Callable[[], None]] | None = None,
        measure: Measure | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise InputError(f"model must be a torch.nn.Module, found {type(model).__name__}")
        self.model = plain(model)
        self.coverage = Coverage.of(self.model, parameters)
        self.measures = Measures(measure, every)
        self.layout = self.coverage.layout
        self.every, self.per_epoch, self._keep = every, per_epoch, keep
        self.steps = 0
        self.rows: list[tuple[int, dict[str, Tensor]]] = []
        self.snapshots: list[tuple[int, Tensor, dict[str, Tensor]]] = []
        self.diverged: int | None = None
        self._last = -1
        self._foreign: dict[int, int] = {}  # parameters of optimizers that are not the model's: id -> numbers
        self.snapshot()
        self.measure()

    def step(self, **metrics: Value) -> None:
        """Call this after every step of the optimiser.

        Args:
            **metrics: Numbers or scalar tensors, such as the loss of this step; kept at every step.

        Raises:
            InputError: A metric that is no single number; or a model whose parameters are no longer those that are
                recorded: some began to train, came, moved or are gone. What was recorded before is kept.
        """
        self.steps += 1
        if row := self._row(metrics):
            self.rows.append((self.steps, row))
        if self.diverged is None and not all(math.isfinite(value) for value in row.values()):
            self.diverged = self.steps
        if self.steps % self.every == 0:
            self.snapshot()
        else:
            self._check(numbers=False)
        self.measure()

    def log(self, **metrics: Value) -> None:
        """Adds metrics to the step at which the loop stands, such as those of a validation after it.

        Args:
            **metrics: As for `step`.

        Raises:
            InputError: A metric that is no single number.
        """
        self._add(self._row(metrics))

    def _row(self, metrics: Mapping[str, Value]) -> dict[str, Tensor]:
        row = {}
        for name, value in metrics.items():
            if name in self.measures:
                raise InputError(f"metric '{name}' must have a name of its own, found one of measure")
            if isinstance(value, Tensor):
                number = value.detach()
            else:  # also whether something holds, as 0 or 1
                value = float(value) if isinstance(value, bool | np.bool_) else real(f"metric '{name}'", value)
                number = torch.tensor(value, dtype=torch.float64)
            if number.is_complex():
                raise InputError(f"metric '{name}' must be a real number, found a tensor of {number.dtype}")
            if number.numel() != 1:
                raise InputError(f"metric '{name}' must be a number, found a tensor of shape {tuple(number.shape)}")
            row[name] = number.reshape(()).cpu().clone()
        return row

    def measure(self, *, last: bool = False) -> None:
        """Reads the instruments that are due; at the end of the training all of them, once at each step at most."""
        self._add(self.measures.at(self.steps, self.model, last=last))

    def _add(self, found: dict[str, Tensor]) -> None:
        """To the row of this step."""
        if found and self.rows and self.rows[-1][0] == self.steps:
            self.rows[-1] = self.steps, {**self.rows[-1][1], **found}
        elif found:
            self.rows.append((self.steps, found))

    def snapshot(self) -> None:
        """Records the parameters as they are now; once at each step at most."""
        if self._last == self.steps:
            return
        self._check(numbers=True)
        theta = self.coverage.theta(self.model)
        buffers = {name: value.detach().cpu().clone() for name, value in self.model.named_buffers()}
        self.snapshots.append((self.steps, theta, buffers))
        self._last = self.steps
        if self.diverged is None and not bool(theta.isfinite().all()):
            self.diverged = self.steps

    def _check(self, *, numbers: bool) -> None:
        try:
            self.coverage.check(self.model, numbers=numbers)
        except UncoveredError as error:
            keep = None if self._keep is None else self._keep()
            if keep is not None:
                keep()
            raise UncoveredError(
                f"{error}; the recording ends with the snapshot of step {max(self._last, 0)}, found at step "
                f"{self.steps}: parameters='*' records frozen parameters too, another architecture needs another "
                "recorder"
            ) from None

    def saw(self, others: Sequence[Tensor]) -> None:
        """Notes parameters that an optimizer trains and nobody records, and says so."""
        found = {id(p): p for p in others if id(p) not in self._foreign}
        if not found:
            return
        self._foreign |= {key: p.numel() for key, p in found.items()}
        shapes = ", ".join(str(tuple(p.shape)) for p in list(found.values())[:3])
        more = ", …" if len(found) > 3 else ""
        log.warning(
            "%s (of shape %s%s): record nn.ModuleList([model, loss]), say, to have them", self.left_out, shapes, more
        )

    def taken(self) -> Iterator[Taken]:
        """What it holds, step by step: theta (1, P) or None, metrics (1,) and the buffers of theta (1, …)."""
        thetas = {step: (theta, buffers) for step, theta, buffers in self.snapshots}
        rows = dict(self.rows)
        for step in sorted({*thetas, *rows}):
            theta, buffers = thetas.get(step, (None, {}))
            metrics = {name: value[None] for name, value in rows.get(step, {}).items()}
            kept = {name: value[None] for name, value in buffers.items()}
            yield step, None if theta is None else theta[None], metrics, None if theta is None else kept

    @property
    def names(self) -> dict[str, Any]:
        """Which parameters θ holds, for readers of the recording."""
        shapes = zip(self.layout.names, self.layout.shapes, strict=True)
        measured = {"measure": self.measures.cadences} if self.measures else {}
        return {"parameters": {name: list(shape) for name, shape in shapes}, **measured}

    @property
    def left_out(self) -> str:
        """What optimizers trained that is not recorded; empty if nothing."""
        if not self._foreign:
            return ""
        count, numbers = len(self._foreign), sum(self._foreign.values())
        return f"{count} parameters ({numbers:,} numbers) that an optimizer trains are not the model's: not recorded"

    @property
    def status(self) -> dict[str, Any]:
        """What became of it, as a recording keeps it."""
        notes = [note for note in (self.left_out, self.measures.failures) if note]
        if self.diverged is None:
            return {"status": "completed", "step": self.steps, "message": "; ".join(notes)}
        notes.insert(0, f"a metric or a parameter was no longer finite at step {self.diverged}")
        return {"status": "diverged", "step": self.diverged, "message": "; ".join(notes)}


class Silent(Track):
    """Stands for a track in a process that does not write: it takes every call and does nothing."""

    def __init__(self) -> None:
        self.steps = 0

    def step(self, **metrics: Value) -> None:
        """Nothing."""

    def log(self, **metrics: Value) -> None:
        """Nothing."""

"""Records a training loop that somebody wrote by hand, into the same kind of run folder that `train` fills."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.errors import InputError
from thalweg.objective.copying import plain
from thalweg.objective.layout import ParameterLayout
from thalweg.runs import Recording, Run
from thalweg.runs.environment import RECORDED

__all__ = ["Recorder", "Track"]

COMMIT_SECONDS = 5.0
COMMIT_BYTES = 2**26

Value = Tensor | float


class Track:
    """What one replica of a `Recorder` has done; made by `Recorder.replica`.

    Args:
        model: The model being trained; read after every `every` steps, never changed.
        every: Steps between two snapshots.
        per_epoch: Steps in an epoch.

    Attributes:
        steps: Calls of `step` so far.
        rows: (step, metrics) not yet taken.
        snapshots: (step, theta (P,), buffers) not yet taken.
        diverged: The first step at which a metric or a recorded parameter was not finite; None while all are.
    """

    def __init__(self, model: nn.Module, every: int, per_epoch: int) -> None:
        self.model = plain(model)
        self.layout = ParameterLayout.of(self.model)
        self.every, self.per_epoch = every, per_epoch
        self.steps = 0
        self.rows: list[tuple[int, dict[str, Tensor]]] = []
        self.snapshots: list[tuple[int, Tensor, dict[str, Tensor]]] = []
        self.diverged: int | None = None
        self._last = -1
        self.snapshot()

    def step(self, **metrics: Value) -> None:
        """Call this after every step of the optimiser.

        Args:
            **metrics: Numbers or scalar tensors, such as the loss of this step; kept at every step.

        Raises:
            InputError: A metric that is no single number.
        """
        self.steps += 1
        row = {}
        for name, value in metrics.items():
            try:
                number = (
                    value.detach() if isinstance(value, Tensor) else torch.tensor(float(value), dtype=torch.float64)
                )
            except (TypeError, ValueError):
                raise InputError(f"metric '{name}' must be a number, found {type(value).__name__}") from None
            if number.numel() != 1:
                raise InputError(f"metric '{name}' must be a number, found a tensor of shape {tuple(number.shape)}")
            row[name] = number.reshape(()).cpu().clone()
        if row:
            self.rows.append((self.steps, row))
        if self.diverged is None and not all(math.isfinite(value) for value in row.values()):
            self.diverged = self.steps
        if self.steps % self.every == 0:
            self.snapshot()

    def snapshot(self) -> None:
        """Records the parameters as they are now; once at each step at most."""
        if self._last == self.steps:
            return
        parameters = {name: value.detach() for name, value in self.model.named_parameters()}
        theta = self.layout.ravel(parameters).cpu().clone()
        buffers = {name: value.detach().cpu().clone() for name, value in self.model.named_buffers()}
        self.snapshots.append((self.steps, theta, buffers))
        self._last = self.steps
        if self.diverged is None and not bool(theta.isfinite().all()):
            self.diverged = self.steps

    @property
    def status(self) -> dict[str, Any]:
        """What became of it, as a recording keeps it."""
        if self.diverged is None:
            return {"status": "completed", "step": self.steps, "message": ""}
        message = f"a metric or a parameter was no longer finite at step {self.diverged}"
        return {"status": "diverged", "step": self.diverged, "message": message}


class Recorder:
    """Adds a run folder to a plain PyTorch loop, in three lines.

    The folder holds what `train` would have recorded: snapshots of the parameters (and of buffers such as running
    statistics) and the metrics, readable by `Run.open` and by every analysis. A loop that ends in an error, or is
    interrupted, keeps what it has recorded (several replicas do not: they are written together).

    Args:
        path: The folder without its hash: "runs/mine" makes runs/mine-<hash of config>.
        model: The model being trained. None if `replicas` is given.
        every: Steps between two snapshots; the first and the last are always taken.
        config: What the numbers depend on, for the record; another config is another folder.
        per_epoch: Steps in an epoch, for the epoch axis; default: a step is an epoch.
        replicas: Number of trainings, for a script that runs several one after another: see `replica`.
        seed: The loop's seed, for the record.
        data_checksum: SHA-256 of the data, for the record.
        overwrite: Remove an earlier training of the same path and config; default: refuse.

    Raises:
        InputError: The folder holds a training already, or the arguments contradict each other.

    Example:
        >>> import tempfile
        >>> model = nn.Linear(2, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> x, y = torch.randn(8, 2), torch.randn(8, 1)
        >>> with Recorder(f"{tempfile.mkdtemp()}/mine", model, every=5, config={"lr": 0.1}) as recorder:
        ...     for _ in range(20):
        ...         optimizer.zero_grad()
        ...         loss = nn.functional.mse_loss(model(x), y)
        ...         loss.backward()
        ...         optimizer.step()
        ...         recorder.step(loss=loss)
        >>> recorder.run.snapshots
        Snapshots(S=5, R=1, P=3, float32)
    """

    def __init__(
        self,
        path: str | Path,
        model: nn.Module | None = None,
        *,
        every: int = 1,
        config: Mapping[str, Any] | None = None,
        per_epoch: int = 1,
        replicas: int | None = None,
        seed: int = 0,
        data_checksum: str | None = None,
        overwrite: bool = False,
    ) -> None:
        if (model is None) == (replicas is None):
            raise InputError("exactly one of model and replicas must be given (replicas: then `replica(r, model)`)")
        for name, value in (("every", every), ("per_epoch", per_epoch), ("replicas", replicas)):
            if value is not None and value < 1:
                raise InputError(f"{name} must be at least 1, found {value}")
        if model is not None and not isinstance(model, nn.Module):
            raise InputError(f"model must be a torch.nn.Module, found {type(model).__name__}")
        self._every, self._per_epoch, self._replicas = every, per_epoch, replicas
        self._tracks: dict[int, Track] = {}
        self._open: ExitStack | None = ExitStack()
        if model is not None:
            self._tracks[0] = Track(model, every, per_epoch)
        first = next(iter(model.parameters())) if model is not None else torch.empty(0)
        origin = {"seed": seed, "device": str(first.device), "data_checksum": data_checksum, "command": RECORDED}
        self.run = _fresh(Path(path), dict(config or {}), origin, overwrite)
        self._open.enter_context(self.run.writing())
        self._recording: Recording = self.run.recording()
        self._committed = time.monotonic()
        self._pending = 0

    def step(self, **metrics: Value) -> None:
        """Call this after every step of the optimiser; see `Track.step`."""
        if self._replicas is not None:
            raise InputError("step belongs to one training: use recorder.replica(r, model).step(…) with replicas given")
        track = self._tracks[0]
        track.step(**metrics)
        self._take(track)
        if self._pending > COMMIT_BYTES or time.monotonic() - self._committed > COMMIT_SECONDS:
            self._commit()

    def replica(self, r: int, model: nn.Module) -> Track:
        """Begins the training of replica r; its `step` is called as that of a recorder would be.

        All replicas must take the same number of steps. They are written when the recorder closes.

        Raises:
            InputError: `replicas` was not given, r is out of range or was used before.
        """
        if self._replicas is None or not 0 <= r < self._replicas:
            allowed = "given with replicas=… only" if self._replicas is None else f"in 0..{self._replicas - 1}"
            raise InputError(f"r must be {allowed}, found {r}")
        if r in self._tracks:
            raise InputError(f"r must not be used twice, found {r} again")
        self._tracks[r] = Track(model, self._every, self._per_epoch)
        return self._tracks[r]

    def close(self) -> None:
        """Records the last step and completes the run; closing twice does nothing.

        Raises:
            InputError: Replicas are missing, or their steps differ.
        """
        if self._open is None:
            return
        for track in self._tracks.values():
            track.snapshot()
        if self._replicas is None:
            self._take(self._tracks[0])
        else:
            self._merge()
        self._recording.finish([self._tracks[r].status for r in sorted(self._tracks)])
        self.run.complete()
        held, self._open = self._open, None
        held.close()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        elif self._open is not None:
            held, self._open = self._open, None
            if self._replicas is None and self._tracks[0].steps:
                with suppress(OSError, InputError):  # the error on its way out is the one to be seen
                    self._commit()
            held.__exit__(kind, error, trace)  # the run notes why it ended

    def _commit(self) -> None:
        """Writes what was recorded so far."""
        self._take(self._tracks[0])
        self._recording.commit({}, {"step": self._tracks[0].steps})
        self._committed, self._pending = time.monotonic(), 0

    def _take(self, track: Track) -> None:
        """Moves what a single track holds to the recording, in the order of steps."""
        thetas = {step: (theta, buffers) for step, theta, buffers in track.snapshots}
        rows = dict(track.rows)
        track.snapshots, track.rows = [], []
        for step in sorted({*thetas, *rows}):
            theta, buffers = thetas.get(step, (None, {}))
            stacked = {name: value[None] for name, value in buffers.items()}
            metrics = {name: value[None] for name, value in rows.get(step, {}).items()}
            self._append(step, None if theta is None else theta[None], metrics, stacked)

    def _merge(self) -> None:
        missing = [r for r in range(self._replicas or 0) if r not in self._tracks]
        if missing:
            raise InputError(f"every replica must be trained before the recorder is closed, {missing} were not")
        tracks = [self._tracks[r] for r in sorted(self._tracks)]
        lengths = sorted({track.steps for track in tracks})
        if len(lengths) > 1 or any(track.layout != tracks[0].layout for track in tracks):
            raise InputError(f"replicas must have the same model and number of steps, found steps {lengths}")
        rows = [dict(track.rows) for track in tracks]
        places = {step: place for place, (step, _, _) in enumerate(tracks[0].snapshots)}
        for step in range(tracks[0].steps + 1):
            here = [row.get(step, {}) for row in rows]
            names = list(dict.fromkeys(name for row in here for name in row))
            nan = torch.tensor(math.nan, dtype=torch.float64)
            metrics = {name: torch.stack([row.get(name, nan).double() for row in here]) for name in names}
            theta, buffers = None, {}
            if step in places:
                taken = [track.snapshots[places[step]] for track in tracks]
                theta = torch.stack([one for _, one, _ in taken])
                buffers = {name: torch.stack([own[name] for _, _, own in taken]) for name in taken[0][2]}
            if metrics or theta is not None:
                self._append(step, theta, metrics, buffers)

    def _append(
        self, step: int, theta: Tensor | None, metrics: Mapping[str, Tensor], buffers: Mapping[str, Tensor]
    ) -> None:
        self._recording.append(step, step / self._per_epoch, theta, metrics, buffers if theta is not None else None)
        self._pending += 0 if theta is None else theta.nbytes


def _fresh(path: Path, config: dict[str, Any], origin: dict[str, Any], overwrite: bool) -> Run:
    """A run folder without a training in it."""
    run = Run.create(path.parent, path.name, config, **origin)
    if run.state == "running":
        return run  # its lock will say who writes
    if run.recordings or run.state == "complete":
        if not overwrite:
            raise InputError(
                f"{run.path} holds a recorded training already: pass overwrite=True, another path or another config"
            )
        shutil.rmtree(run.path)
        run = Run.create(path.parent, path.name, config, **origin)
    return run

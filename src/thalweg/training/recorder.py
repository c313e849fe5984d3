"""Records a training loop that somebody wrote by hand, into the same kind of run folder that `train` fills."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any
from weakref import WeakMethod, finalize

import torch
from torch import Tensor, nn

from thalweg.declared import declared, whole
from thalweg.errors import InputError
from thalweg.runs import Recording, Run
from thalweg.runs.environment import RECORDED
from thalweg.training.measuring import Measure
from thalweg.training.track import Silent, Track, Value
from thalweg.training.watching import watch

__all__ = ["Recorder", "Track"]

COMMIT_SECONDS = 5.0
COMMIT_BYTES = 2**26


class Recorder:
    """Adds a run folder to a plain PyTorch loop, in three lines.

    The folder holds what `train` would have recorded: snapshots of the parameters (and of buffers such as running
    statistics) and the metrics, readable by `Run.open` and by every analysis. A loop that ends in an error, or is
    interrupted, keeps what it has recorded (of several replicas each then is a recording of its own, "replica-3").

    What θ holds is decided once: the parameters that require gradients when the recording begins, in the order of
    `model.named_parameters()`, followed by name. Freezing them, tying them, or putting others of the same shape in
    their place changes nothing. If anything else begins to train, or moves, `step` refuses to go on, by name and
    number, and keeps what it has: thaw layers before, or take `parameters="*"`. An optimizer of the model that trains
    other parameters too (those of a loss) is said once, by a warning and in the recording's status.

    Args:
        path: The folder without its hash: "runs/mine" makes runs/mine-<hash of config>.
        model: The model being trained. None if `replicas` is given.
        every: Steps between two snapshots; the first and the last are always taken.
        measure: Instruments along the loop, recorded as metrics: name -> a function of the model, or (function, steps
            between two measurements), default `every`; the first and the last step are always measured. It returns a
            number; (number, its error), kept as `name` and `name_error`; or a dict of these, kept as `name_key`. Ready
            ones are in `thalweg.training.instruments`. Each is given a copy of the model, and the loop's numbers are
            the same bit by bit with and without; one that fails is reported once, and the loop goes on.
        config: What the numbers depend on, for the record; another config is another folder.
        per_epoch: Steps in an epoch, for the epoch axis; default: a step is an epoch.
        replicas: Number of trainings, for a script that runs several one after another: see `replica`.
        seed: The loop's seed, for the record.
        parameters: Glob or globs over parameter names: θ holds those that match, frozen or not, "*" all of them;
            default those that require gradients now.
        data_checksum: SHA-256 of the data, for the record.
        overwrite: Remove an earlier training of the same path and config; default: refuse.
        writes: Whether this process records: of several that train one model together, one should
            (`writes=accelerator.is_main_process`, `writes=rank == 0`). In the others every call does nothing.

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

    @declared
    def __init__(
        self,
        path: str | Path,
        model: nn.Module | None = None,
        *,
        every: int = 1,
        measure: Measure | None = None,
        config: Mapping[str, Any] | None = None,
        per_epoch: int = 1,
        replicas: int | None = None,
        seed: int = 0,
        data_checksum: str | None = None,
        parameters: str | Sequence[str] | None = None,
        overwrite: bool = False,
        writes: bool = True,
    ) -> None:
        if (model is None) == (replicas is None):
            raise InputError("exactly one of model and replicas must be given (replicas: then `replica(r, model)`)")
        for name, value in (("every", every), ("per_epoch", per_epoch), ("replicas", replicas)):
            if value is not None and value < 1:
                raise InputError(f"{name} must be at least 1, found {value}")
        self._every, self._per_epoch, self._replicas = every, per_epoch, replicas
        self._parameters, self._measure = parameters, measure
        self._tracks: dict[int, Track] = {}
        self._open: ExitStack | None = None
        self._run: Run | None = None
        self._silent = not writes
        if self._silent:
            return
        self._open = ExitStack()
        if model is not None:
            self._tracks[0] = Track(model, every, per_epoch, parameters, measure=measure)
        first = next(iter(model.parameters())) if model is not None else torch.empty(0)
        origin = {"seed": seed, "device": str(first.device), "data_checksum": data_checksum, "command": RECORDED}
        self._run = _fresh(Path(path), dict(config or {}), origin, overwrite)
        self._open.enter_context(self.run.writing())
        self._open.callback(finalize(self, watch(self._tracks)))  # also if it is dropped without being closed
        self._recording: Recording = self.run.recording()
        self._committed = time.monotonic()
        self._pending = 0

    @property
    def run(self) -> Run:
        """What is recorded.

        Raises:
            InputError: This process does not write.
        """
        if self._run is None:
            raise InputError("run is known to the process that writes, found a recorder with writes=False")
        return self._run

    def log(self, **metrics: Value) -> None:
        """Adds metrics to the step at which the loop stands, such as those of a validation; see `Track.log`."""
        if not self._silent:
            self._single("log").log(**metrics)

    def _single(self, call: str) -> Track:
        if self._replicas is not None:
            raise InputError(
                f"{call} belongs to one training: use recorder.replica(r, model).{call}(…) with replicas given"
            )
        return self._tracks[0]

    def step(self, **metrics: Value) -> None:
        """Call this after every step of the optimiser; see `Track.step`."""
        if self._silent:
            return
        track = self._single("step")
        try:
            track.step(**metrics)
            self._take(track, before=track.steps)
        except InputError:  # whether or not it ends the loop, what came before is kept
            self._keep()
            raise
        if self._pending > COMMIT_BYTES or time.monotonic() - self._committed > COMMIT_SECONDS:
            self._commit(track.steps)

    def replica(self, r: int, model: nn.Module, *, measure: Measure | None = None) -> Track:
        """Begins the training of replica r; its `step` is called as that of a recorder would be.

        All replicas must take the same number of steps. They are written when the recorder closes.

        Args:
            r: Which, from 0 on.
            model: The model being trained.
            measure: Instruments of this replica; default those of the recorder.

        Raises:
            InputError: `replicas` was not given, r is out of range or was used before.
        """
        if self._replicas is None or not 0 <= whole("r", r) < self._replicas:
            allowed = "given with replicas=… only" if self._replicas is None else f"in 0..{self._replicas - 1}"
            raise InputError(f"r must be {allowed}, found {r}")
        if self._silent:
            return Silent()
        if r in self._tracks:
            raise InputError(f"r must not be used twice, found {r} again")
        measure = self._measure if measure is None else measure
        keep = WeakMethod(self._keep)
        self._tracks[r] = Track(model, self._every, self._per_epoch, self._parameters, keep, measure)
        return self._tracks[r]

    def close(self) -> None:
        """Records the last step and completes the run; closing twice does nothing.

        Raises:
            InputError: The last step cannot be recorded (see `Track.step`), replicas are missing, or their steps
                differ. What was recorded is kept; replicas can be completed and closed again.
        """
        if self._open is None:
            return
        try:
            for track in self._tracks.values():
                track.snapshot()
                track.measure(last=True)
            self._compare()
        except InputError as error:
            self._keep()
            if self._replicas is None:
                self._leave(error)
            raise
        if self._replicas is None:
            self._take(self._tracks[0])
        else:
            self._merge()
        self._recording.finish([self._tracks[r].status for r in sorted(self._tracks)], meta=self._meta())
        self.run.complete()
        self._leave(None)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open is None:
            return
        if error is not None:
            self._keep()
            self._leave(error)
            return
        try:
            self.close()
        except BaseException as refusal:
            self._leave(refusal)
            raise

    def _leave(self, error: BaseException | None) -> None:
        """Lets the run go; it notes why."""
        held, self._open = self._open, None
        if held is not None:
            held.__exit__(None if error is None else type(error), error, None if error is None else error.__traceback__)

    def _keep(self) -> None:
        """Writes what there is before an error that is on its way out, which is the one to be seen."""
        with suppress(OSError, InputError):
            if self._replicas is None:
                if self._tracks[0].steps:
                    self._commit()
                return
            for r, track in self._tracks.items():
                if track.steps:
                    self._keep_replica(self.run.recording(f"replica-{r}"), track)

    def _keep_replica(self, recording: Recording, track: Track) -> None:
        """Appends what a recording does not hold yet; the track keeps it."""
        done = recording.last
        for step, theta, metrics, buffers in track.taken():
            if step > done:
                recording.append(step, step / self._per_epoch, theta, metrics, buffers)
        if recording.pending:
            recording.commit({}, {"step": track.steps, **track.names})

    def _commit(self, before: int | None = None) -> None:
        """Writes what was recorded so far."""
        self._take(self._tracks[0], before)
        self._recording.commit({}, self._meta())
        self._committed, self._pending = time.monotonic(), 0

    def _meta(self) -> dict[str, Any]:
        first = self._tracks[min(self._tracks)]
        return {"step": first.steps, **first.names}

    def _take(self, track: Track, before: int | None = None) -> None:
        """Moves what a single track holds to the recording, in the order of steps.

        Args:
            track: Which.
            before: Leave what belongs to this step, to which more may be added: a row is written once.
        """
        held = [one for one in track.taken() if before is None or one[0] < before]
        track.snapshots = [one for one in track.snapshots if before is not None and one[0] >= before]
        track.rows = [one for one in track.rows if before is not None and one[0] >= before]
        for step, theta, metrics, buffers in held:
            self._append(step, theta, metrics, buffers or {})

    def _compare(self) -> None:
        """Checks that all replicas are there and went the same way."""
        missing = [r for r in range(self._replicas or 0) if r not in self._tracks]
        if missing:
            raise InputError(f"every replica must be trained before the recorder is closed, {missing} were not")
        tracks = [self._tracks[r] for r in sorted(self._tracks)]
        lengths = sorted({track.steps for track in tracks})
        if len(lengths) > 1 or any(track.layout != tracks[0].layout for track in tracks):
            raise InputError(f"replicas must have the same model and number of steps, found steps {lengths}")

    def _merge(self) -> None:
        tracks = [self._tracks[r] for r in sorted(self._tracks)]
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

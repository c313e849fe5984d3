"""What the callbacks of all libraries share: a recorder that begins with the training and ends with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import Tensor, nn

from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.runs import Run
from thalweg.training import Recorder
from thalweg.training.measuring import Measure

__all__ = ["Hooked", "numbers"]


class Hooked:
    """A recorder that somebody else's trainer drives.

    Args:
        path: The folder without its hash: "runs/mine" makes runs/mine-<hash of config>.
        every: Steps of the optimizer between two snapshots; the first and the last are always taken.
        measure: Instruments along the training; see `Recorder`.
        config: What the numbers depend on, for the record, beside what the trainer knows of itself.
        model: Name of the submodule to record, such as "net"; default the whole model.
        parameters: Glob or globs over parameter names; default those that require gradients when training begins.
        seed: The training's seed, for the record.
        overwrite: Remove an earlier training of the same path and config; default: refuse.

    As a context (``with callback: trainer.fit(…)``) it also closes the recording of a training that fails.
    """

    @declared
    def __init__(
        self,
        path: str | Path,
        *,
        every: int = 1,
        measure: Measure | None = None,
        config: Mapping[str, Any] | None = None,
        model: str = "",
        parameters: str | Sequence[str] | None = None,
        seed: int = 0,
        overwrite: bool = False,
    ) -> None:
        super().__init__()
        self.path, self.model_name, self.config = Path(path), model, dict(config or {})
        self.options = {"every": every, "measure": measure, "parameters": parameters, "seed": seed}
        self.options["overwrite"] = overwrite
        self.recorder: Recorder | None = None

    @property
    def run(self) -> Run:
        """The run that was recorded last.

        Raises:
            InputError: Training has not begun, or this process does not write.
        """
        if self.recorder is None:
            raise InputError("run is known once training has begun, found a callback that no trainer has called")
        return self.recorder.run

    def begin(self, model: nn.Module, *, config: Mapping[str, Any], per_epoch: int, writes: bool) -> None:
        """Starts the recording of a training.

        Args:
            model: Unwrapped.
            config: What the trainer knows of itself; what the user gave wins.
            per_epoch: Steps of the optimizer in an epoch.
            writes: Whether this is the main process.
        """
        try:
            model = model.get_submodule(self.model_name)
        except AttributeError:
            raise InputError(
                f"model must name a submodule of {type(model).__name__}, found '{self.model_name}'"
            ) from None
        config = {**config, **self.config}
        self.recorder = Recorder(
            self.path, model, config=config, per_epoch=max(1, per_epoch), writes=writes, **self.options
        )

    def end(self, error: BaseException | None = None) -> None:
        """Completes the recording, or keeps what there is of one that failed; twice does nothing."""
        if self.recorder is not None:
            trace = None if error is None else error.__traceback__
            self.recorder.__exit__(None if error is None else type(error), error, trace)

    def __enter__(self) -> Hooked:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(error)


def numbers(found: Mapping[str, Any]) -> dict[str, float | Tensor]:
    """What is a single number among the things that a trainer logs."""
    return {
        name: value
        for name, value in found.items()
        if (isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex())
        or (isinstance(value, float | int) and not isinstance(value, bool))
    }

"""Experiments that measure weights which another program has saved, in place of training networks of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import field_validator, model_validator

from thalweg import checkpoints
from thalweg.errors import InputError
from thalweg.experiments.framework.stages import Stage, Training
from thalweg.experiments.shared.subjects import task
from thalweg.experiments.shared.training import TrainingConfig, build
from thalweg.results.words import counted, listed
from thalweg.training.recipe import Recipe

if TYPE_CHECKING:
    from thalweg.experiments.shared.training import Setup
    from thalweg.runs import Recording

__all__ = ["RESETS", "MeasuredConfig", "recorded", "weights_words"]

RESETS: Mapping[str, object] = {"replicas": 1, "training": {}}
"""What speaks of trainings, and its values where there are none."""


class MeasuredConfig(TrainingConfig):
    """A training, or in its place checkpoints."""

    checkpoint: tuple[str, ...] = ()
    """Weights that another program has saved, in place of a training: files, globs, folders; last.pt:model_ema says
    which of several in a file. Nothing is trained then."""

    RESETS: ClassVar[Mapping[str, Mapping[str, object]]] = {"checkpoint": RESETS}
    COUNT: ClassVar[tuple[int, int | None]] = (1, None)
    """Least and greatest number of checkpoints."""

    @field_validator("checkpoint")
    @classmethod
    def _marked(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        found = checkpoints.marked(given) if given else ()
        least, most = cls.COUNT
        if found and not least <= len(found) <= (most or len(found)):
            number = f"{least}" if most == least else f"at least {least}"
            raise InputError(f"checkpoint must be {number} of them, found {len(found)}")
        return found

    @model_validator(mode="after")
    def _untrained(self) -> MeasuredConfig:
        if self.checkpoint and self.replicas != 1:
            raise InputError(f"replicas must be 1 with checkpoints, found {self.replicas}")
        if self.checkpoint and self.training != self.untrained():
            raise InputError("training must be left alone with checkpoints, whose weights are measured as they are")
        return self

    def untrained(self) -> Recipe:
        """The recipe of a configuration with checkpoints."""
        return Recipe()

    @property
    def saved(self) -> tuple[str, ...]:
        """The checkpoints."""
        return self.checkpoint

    def measured(self, found: list[Stage]) -> list[Stage]:
        """Those of some stages that are left where nothing is trained."""
        return [one for one in found if not (self.checkpoint and isinstance(one, Training))]

    def check_data(self) -> None:
        """Refuse also checkpoints of another network."""
        super().check_data()
        if self.checkpoint:
            made = build(self, task(self.data, self.dtype))
            checkpoints.load(made.objective, checkpoints.checked(self.checkpoint))


def recorded(config: TrainingConfig, setup: Setup, recording: Recording) -> Recording:
    """The checkpoints in a run's own recording, read once: later the run needs their files no more.

    Raises:
        InputError: A checkpoint that has changed, is not there any more, or is of another network.
    """
    if not recording.finished:
        found = checkpoints.load(setup.objective, checkpoints.checked(config.saved))
        checkpoints.record(found, recording, setup.evaluate)
    return recording


def weights_words(config: TrainingConfig, setup: Setup) -> str:
    """Which weights were measured, as a sentence."""
    names = [checkpoints.label(entry) for entry in config.saved]
    shown = listed(names) if len(names) <= 3 else f"{names[0]} to {names[-1]}"
    which = f"{counted(len(names), 'checkpoint')} ({shown})"
    network = f"the network {setup.network} on {setup.task.label}"
    return f"Nothing was trained: the weights are those of {which} of {network}."

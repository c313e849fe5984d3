"""What experiments that train replicas of one network on one task share: the configuration and what it names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator, model_serializer, model_validator

from thalweg import checkpoints
from thalweg._lazy import torch
from thalweg.errors import InputError
from thalweg.experiments.framework.config import ExperimentConfig
from thalweg.experiments.framework.stages import Stage, Training
from thalweg.experiments.shared.sizes import (
    check_data,
    check_numbers,
    check_precision,
    check_training,
    is_classification,
    named_in,
    trained,
)
from thalweg.experiments.shared.subjects import described, subject, task
from thalweg.models.config import ModelConfig
from thalweg.results.words import counted
from thalweg.sources import stamped, without_unset
from thalweg.subjects.names import loss_text
from thalweg.tasks.config import TaskConfig
from thalweg.training.recipe import Recipe

if TYPE_CHECKING:
    from thalweg.objective import Objective
    from thalweg.runs import Run
    from thalweg.subjects import Subject
    from thalweg.tasks import Task

MEMORY = 2**30  # bytes for pieces and for graphs that are kept: what an experiment takes is the same everywhere

__all__ = ["Setup", "TrainingConfig", "build", "recipe_words", "set_up", "stop_words"]


class TrainingConfig(ExperimentConfig):
    """Which network is trained on what, how, and how often."""

    replicas: int = Field(default=8, ge=1)
    """Number of independent trainings; replica r is the same whatever runs beside it."""

    data: TaskConfig = TaskConfig()
    """The task."""

    model: ModelConfig = ModelConfig()
    """The network."""

    training: Recipe = Recipe()
    """How it is trained, and when its weights are recorded."""

    loss: str = "auto"
    """Loss: auto (cross-entropy for classes, mean squared error for values), cross-entropy, nll, mse, l1, huber, bce,
    or FILE.py:NAME of one of your own. With mse, l1, huber and bce, classes are targets 0 and 1."""

    metrics: str | None = None
    """Measures beside loss and accuracy: FILE.py:NAME of a function with the loss's arguments, or of a dict of some."""

    l2: float = Field(default=0.0, ge=0)
    """Weight of the penalty ½·l2·‖θ‖², part of the objective."""

    @field_validator("loss")
    @classmethod
    def _known_loss(cls, loss: str) -> str:
        return loss_text(loss)

    @field_validator("metrics")
    @classmethod
    def _stamped(cls, metrics: str | None) -> str | None:
        return None if metrics is None else stamped(metrics, "metrics")

    @model_serializer(mode="wrap")
    def _without_unset(self, plain: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return without_unset(plain(self), ("metrics", "checkpoint"))

    @model_validator(mode="after")
    def _representable(self) -> TrainingConfig:
        check_precision(self.dtype, {"l2": self.l2})
        check_precision(self.dtype, dict(self.training), "training.")
        return self

    @model_validator(mode="after")
    def _stop_of_classes(self) -> TrainingConfig:
        if self.data.source is None and self.training.stop == "fitted" and not is_classification(self.data):
            raise InputError("training.stop must be 'loss' or None for a task whose targets are values, found 'fitted'")
        return self

    @model_validator(mode="after")
    def _loss_of_classes(self) -> TrainingConfig:
        if self.data.source is None and self.loss in ("cross-entropy", "nll") and not is_classification(self.data):
            raise InputError(f"loss must be mse or auto for a task whose targets are values, found {self.loss}")
        return self

    @property
    def saved(self) -> tuple[str, ...]:
        """Checkpoints that are measured in place of a training; none where the experiment takes none."""
        return ()

    def trainings(self) -> list[TrainingConfig]:
        """The trainings of a run, one configuration each."""
        return [self]

    def stages(self) -> list[Stage]:
        """The training of all replicas."""
        return [Training("training", self)]

    def numbers(self, parameters: int) -> dict[str, float]:
        """Field -> numbers in float64 that are held at once for its sake, with a network of so many parameters."""
        return {}

    def check_sizes(self, root: str | Path) -> None:
        """Refuse networks, replicas, data and recordings that cannot fit."""
        for one in self.trainings():
            check_training(one.replicas, one.data, one.model, one.training, dtype=one.dtype, root=root)
            check_numbers(self, self.numbers(trained(one.data, one.model)[0]))

    def check_data(self) -> None:
        """Refuse data that are not there, and what is of the user's own and does not fit together."""
        given = self.trainings()
        check_data(one.data for one in given)
        alike = {(one.data, one.model, one.loss, one.metrics): one for one in given if one.sources}
        for one in alike.values():
            made = build(one, task(one.data, one.dtype))
            if not made.objective.batches.indexable and one.training.batch_size is not None:
                found = f"batches that were made before, found {one.training.batch_size}"
                raise InputError(f"training.batch_size must be None for {found}")


@dataclass(frozen=True, eq=False)
class Setup:
    """The objects that a configuration names.

    Args:
        task: The data.
        objective: The training loss.
        evaluate: "train" and, if there is a test set, "test".
        network: The network in words, with its number of parameters.
    """

    task: Task
    objective: Objective
    evaluate: dict[str, Objective]
    network: str

    @cached_property
    def normalized(self) -> bool:
        """Whether the network keeps running statistics of its batches."""
        from thalweg.objective.normalization import layers

        return bool(layers(self.objective.module(self.objective.theta)))


def set_up(config: TrainingConfig, run: Run) -> Setup:
    """Loads the task, builds the network and notes the checksum of the data in the run.

    Raises:
        InputError: Data that cannot be found, or a network or loss that does not fit them.
    """
    with named_in("data", TaskConfig):
        data = task(config.data, config.dtype)
    run.set_environment(data_checksum=data.checksum)
    return build(config, data)


def build(config: TrainingConfig, data: Task) -> Setup:
    """Builds the network and the loss of a configuration on a task that is already loaded, in the same precision.

    Raises:
        InputError: A network or loss that does not fit the task.
    """
    options = {"l2": config.l2, "dtype": getattr(torch, config.dtype), "device": config.device, "memory": MEMORY}
    with named_in("model", ModelConfig):
        made = subject(data, config.model, config.loss, config.metrics, config.data.source or "")
        if config.saved:
            made = _restored(made, config.saved[-1])
    evaluate = made.objectives(**options)
    return Setup(data, evaluate["train"], evaluate, described(config.model, data))


def _restored(made: Subject, saved: str) -> Subject:
    """The subject with the frozen parameters of a checkpoint, which θ does not hold."""
    module = made.module()
    if all(parameter.requires_grad for parameter in module.parameters()):
        return made
    checkpoints.restore(module, checkpoints.checked([saved])[0])
    return replace(made, model=module, model_args={}, name=made.label)


def stop_words(recipe: Recipe) -> str:
    """When a run stops by itself, in words that follow "until"; empty if it does not.

    >>> stop_words(Recipe(stop="loss", stop_loss=0.01)), stop_words(Recipe())
    ('the training loss is at most 0.01', '')
    """
    if recipe.stop is None:
        return ""
    rule = (
        "every training label is right"
        if recipe.stop == "fitted"
        else f"the training loss is at most {recipe.stop_loss:g}"
    )
    return rule + (f" at {recipe.stop_patience} looks in a row" if (recipe.stop_patience or 1) > 1 else "")


def recipe_words(recipe: Recipe, samples: int) -> str:
    """The training in words, as a sentence has them.

    >>> recipe_words(Recipe(optimizer="adam", lr=1e-3, batch_size=200, epochs=30), samples=60_000)
    'Adam, learning rate 0.001, batches of 200, 30 epochs (9,000 steps)'
    """
    names = {"sgd": "SGD", "momentum": "SGD with momentum", "nesterov": "SGD with Nesterov momentum"}
    names |= {"adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop"}
    size = samples if recipe.batch_size is None else recipe.batch_size
    per_epoch = -(-samples // size) if isinstance(size, int) else 1
    steps = recipe.total_steps(per_epoch)
    batches = "full batch" if recipe.batch_size is None else f"batches of {size:,}"
    length = counted(steps, "step")
    if recipe.steps is None:
        length = f"{counted(steps // per_epoch, 'epoch')} ({length})"
    if recipe.stop is not None:
        length = f"at most {length}, until {stop_words(recipe)}"
    schedule = "" if recipe.schedule == "constant" else f" ({recipe.schedule} schedule)"
    return f"{names[recipe.optimizer]}, learning rate {recipe.lr:g}{schedule}, {batches}, {length}"

"""Settings of `random-labels`, and its presets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from thalweg.errors import InputError
from thalweg.experiments.shared.members import Member, Varied, members
from thalweg.experiments.shared.sizes import is_classification
from thalweg.models.config import ModelConfig
from thalweg.tasks.config import TaskConfig
from thalweg.training.recipe import Cadence, Recipe

if TYPE_CHECKING:
    from thalweg.experiments.shared.training import TrainingConfig

__all__ = ["CORRUPTIONS", "PRESETS", "Config", "corrupted"]

CORRUPTIONS: dict[str, dict[str, Any]] = {
    "as given": {},
    "true labels": {"shuffle_labels": False, "label_noise": 0.0},
    "random labels": {"shuffle_labels": True, "label_noise": 0.0},
    "shuffled pixels": {"pixels": "shuffled"},
    "random pixels": {"pixels": "shuffled-per-image"},
    "gaussian": {"pixels": "gaussian"},
}
ALL = tuple(CORRUPTIONS)[1:]


class Config(Varied):
    """Settings of `random-labels`."""

    replicas: int = Field(default=2, ge=1)
    """Number of independent trainings of each case; replica r is the same whatever runs beside it."""

    model: ModelConfig = ModelConfig(depth=3, width=256)
    """The network; 3×256 is the course's."""

    vary: str = "corruption"
    """The field that takes the `values`: corruption, data.label_noise, or any other, dotted from the top."""

    values: tuple[bool | int | float | str, ...] = ALL
    """Its values, one training each; none: the configuration as it stands."""

    corruption: Literal["as given", "true labels", "random labels", "shuffled pixels", "random pixels", "gaussian"] = (
        "as given"
    )
    """What is done to the training data (pixels: also to the test images); as given: what `data` says."""

    fitted: float = Field(default=0.999, gt=0, le=1)
    """Training accuracy from which a training set counts as fitted."""

    @model_validator(mode="after")
    def _classes_only(self) -> Config:
        if self.data.source is None and (self.data.name == "function" or self.data.target != "labels"):
            raise InputError("data must have labels that can be random, found a task of values")
        changed = self.data.label_noise or self.data.shuffle_labels or self.data.pixels != "true"
        if changed and (self.vary == "corruption" or self.corruption != "as given"):
            raise InputError("corruption says what is done to the data, leave data.label_noise, shuffle_labels, pixels")
        return self

    def check_sizes(self, root: str | Path) -> None:
        """Refuse also data of the user's whose targets are no classes."""
        if not is_classification(self.data):
            raise InputError(f"data must have classes, which can be random labels, found others in {self.data.called}")
        super().check_sizes(root)

    def trainings(self) -> list[TrainingConfig]:
        """One for every kind of data."""
        return [corrupted(member).config for member in members(self)]


def corrupted(member: Member) -> Member:
    """The member with its corruption done to its data."""
    config = member.config
    if not isinstance(config, Config) or config.corruption == "as given":
        return member
    data = TaskConfig(**config.data.model_dump() | CORRUPTIONS[config.corruption])
    label = member.label.removeprefix("corruption ")
    return Member(member.name, label, member.value, config.model_copy(update={"data": data, "corruption": "as given"}))


def _log(points: int, **recipe: Any) -> Recipe:
    """Weights at points evenly spaced in the logarithm of the step: fitting begins early and ends late."""
    return Recipe(record=Cadence(every=points, unit="log"), **recipe)


def _every(distance: int, **recipe: Any) -> Recipe:
    return Recipe(record=Cadence(every=distance, unit="epoch"), **recipe)


_3X128 = ModelConfig(depth=3, width=128)

PRESETS = {
    "tiny": Config(
        data=TaskConfig(samples=60, test_samples=40),
        model=ModelConfig(hidden=(32,)),
        values=("true labels", "random labels", "gaussian"),
        training=_log(8, lr=1e-2, epochs=20, batch_size=20),
    ),
    "quick": Config(
        data=TaskConfig(samples=1000), model=_3X128, training=_every(5, lr=2e-3, epochs=120, batch_size=100)
    ),
    "noise": Config(
        data=TaskConfig(samples=1000),
        model=_3X128,
        vary="data.label_noise",
        values=(0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
        training=_every(8, lr=2e-3, epochs=200, batch_size=100),
    ),
    # 3×256, true and shuffled labels, until they are fitted: half of MNIST
    "course": Config(
        data=TaskConfig(name="mnist", samples=30_000, test_samples=2000),
        values=("true labels", "random labels"),
        training=_log(24, lr=1e-3, epochs=600, batch_size=500, stop="fitted", stop_every=5),
    ),
    # the letter: all 60,000 images, 4,000 epochs, which random labels may need
    "classic": Config(
        data=TaskConfig(name="mnist"),
        values=("true labels", "random labels"),
        training=_log(40, lr=1e-3, epochs=4000, batch_size=500, stop="fitted", stop_every=5),
    ),
    # 1,000 samples, 16,750 parameters, 5,000 epochs
    "course-1000": Config(
        data=TaskConfig(name="mnist", samples=1000),
        model=ModelConfig(hidden=(20, 20, 20)),
        values=("true labels", "random labels"),
        training=_log(40, lr=1e-3, epochs=5000, batch_size=100, stop="fitted"),
    ),
    # 1024-625 with dropout 0.5
    "dropout": Config(
        data=TaskConfig(name="mnist", samples=2000),
        model=ModelConfig(hidden=(1024, 625), dropout=0.5),
        values=("true labels", "random labels"),
        training=_log(30, lr=1e-3, epochs=300, batch_size=100),
    ),
    # Zhang et al. 2017, figure 1a: CIFAR-10, stochastic gradient descent with momentum, a small convolutional network
    "paper": Config(
        replicas=1,
        data=TaskConfig(name="cifar10", standardize="zscore"),
        model=ModelConfig(kind="cnn", channels=(64, 64), hidden=(384, 192)),
        training=_log(
            40,
            optimizer="momentum",
            lr=0.01,
            epochs=200,
            batch_size=128,
            schedule="exponential",
            gamma=0.95,
            decay_epochs=1,
        ),
    ),
}

"""Settings of `function-fit`, its presets, and the networks and targets that they name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from thalweg.errors import InputError
from thalweg.experiments.framework.stages import Stage, Training
from thalweg.experiments.shared.members import Member, named
from thalweg.experiments.shared.networks import Compared, alone, counted_labels
from thalweg.experiments.shared.sizes import check_data
from thalweg.experiments.shared.training import TrainingConfig
from thalweg.models.config import ModelConfig
from thalweg.tasks.config import TaskConfig
from thalweg.tasks.functions import target
from thalweg.training.recipe import Cadence, Recipe

__all__ = ["PRESETS", "Config", "members", "pairs"]

OWN = "data"
"""What data of the user's are called among the functions."""


class Config(Compared):
    """Settings of `function-fit`."""

    replicas: int = Field(default=5, ge=1)
    """Number of independent trainings of each network on each target; replica r is the same whatever runs beside it."""

    data: TaskConfig = TaskConfig(name="function", points=256, test_points=1000)
    """Points, interval and noise; which functions is said by `functions`."""

    RESETS: ClassVar[Mapping[str, Mapping[str, object]]] = {**Compared.RESETS, "data": {"functions": (OWN,)}}

    functions: tuple[str, ...] = ("sinc", "sign-sin")
    """The targets: names such as sinc, sign-sin, sines, step, chirp, or expressions of x. Data of your own are one
    target, called "data"; their fit is drawn where they have one input and one output."""

    biases: Literal["drawn", "zero"] = "drawn"
    """How biases start: drawn like the weights (PyTorch's default), or 0 (Keras's): then all kinks begin at x = 0."""

    @field_validator("functions", mode="before")
    @classmethod
    def _whole(cls, given: object) -> object:
        """Expressions such as max(x, 0) that a list on the command line has cut at their commas."""
        texts = list(given) if isinstance(given, list | tuple) else given
        return _rejoined(texts) if isinstance(texts, list) and all(isinstance(text, str) for text in texts) else given

    @model_validator(mode="after")
    def _functions_only(self) -> Config:
        if self.data.source is not None:
            if self.functions != (OWN,):
                raise InputError(f"functions must be left out for data of your own, found {self.functions}")
            return self
        if self.data.name != "function":
            raise InputError(f"data.name must be function (images are for image-fit), found {self.data.name}")
        if self.data.expression != TaskConfig().expression:
            raise InputError(f"functions names the targets, not data.expression, found {self.data.expression!r}")
        if not self.functions:
            raise InputError("functions must name at least one target, found none")
        if len({target(text).label for text in self.functions}) < len(self.functions):
            raise InputError(f"functions must differ from each other, found {self.functions}")
        return self

    def stages(self) -> list[Stage]:
        """The training of every network on every target."""
        return [Training(member.name, member.config) for member in members(self)]

    def check_data(self) -> None:
        """Refuse functions that cannot be evaluated on the interval."""
        super().check_data()
        if self.data.source is None:
            check_data(self.data.model_copy(update={"expression": text}) for text in self.functions)


def _rejoined(texts: list[str]) -> list[str]:
    """Joins neighbours until the parentheses of each text are closed.

    >>> _rejoined(["sinc", "max(x", "0)"])
    ['sinc', 'max(x, 0)']
    """
    whole: list[str] = []
    for text in texts:
        if whole and whole[-1].count("(") > whole[-1].count(")"):
            whole[-1] += f", {text}"
        else:
            whole.append(text)
    return whole


def _adam(steps: int, every: int, lr: float = 1e-3) -> Recipe:
    return Recipe(lr=lr, epochs=steps, record=Cadence(every=every, unit="epoch"))


PRESETS = {
    "tiny": Config(
        replicas=2,
        data=TaskConfig(name="function", points=32, test_points=40),
        networks=("4-3", "8"),
        tolerance=0.2,
        functions=("sinc", "step"),
        training=_adam(60, 10, lr=1e-2),
    ),
    "quick": Config(training=_adam(2000, 20)),
    # 1-5-10-10-10-10-10-5-1 (571 parameters), 1-10-18-15-4-1 (572), 1-190-1 (571), 20,000 epochs
    "course": Config(training=_adam(20_000, 100)),
    # the same from biases 0, as the scripts in Keras start
    "course-zero": Config(biases="zero", training=_adam(20_000, 100)),
    # sim_func.py: two functions, four networks
    "simulations": Config(
        networks=("depth 1", "depth 2", "depth 4", "depth 8"),
        budget=571,
        functions=("sines", "exp-sin"),
        training=_adam(20_000, 100),
    ),
    "depths": Config(networks=("depth 2", "depth 4", "depth 8"), budget=1000, training=_adam(10_000, 100)),
    "targets": Config(
        functions=("step", "chirp", "sign-cos", "damped", "stair", "sinc4", "weierstrass", "sin-tan", "polynomial"),
        training=_adam(20_000, 100),
    ),
}


def pairs(config: Config) -> list[tuple[str, str, ModelConfig]]:
    """Every target with every network and its label."""
    networks = counted_labels(config, config.data)
    return [(text, label, model) for text in config.functions for label, model in networks.items()]


def members(config: Config) -> tuple[Member, ...]:
    """A training for each of the pairs."""
    return named((f"{text}: {label}", None, _one(config, text, model)) for text, label, model in pairs(config))


def _one(config: Config, text: str, model: ModelConfig) -> TrainingConfig:
    data = config.data if text == OWN else config.data.model_copy(update={"expression": text})
    return alone(config, data=data, model=model)

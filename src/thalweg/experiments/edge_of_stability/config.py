"""Settings of `edge-of-stability`, its presets, and the limits of the optimisers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field, model_validator

from thalweg.errors import InputError
from thalweg.experiments.framework.stages import Passes, Stage, Training
from thalweg.experiments.shared.sizes import check_precision, snapshots, trained
from thalweg.experiments.shared.weights import MeasuredConfig
from thalweg.models.config import ModelConfig
from thalweg.tasks.config import TaskConfig
from thalweg.training.recipe import Cadence, Recipe

__all__ = ["PRESETS", "Config", "limit", "rate_name"]

PRODUCTS = 20
"""Products of the Hessian with a vector that one sharpness takes, about."""


def rate_name(lr: float) -> str:
    """A learning rate as names of files have it, without the plus of 1e+09."""
    return f"{lr:g}".replace("+", "")


class Config(MeasuredConfig):
    """Settings of `edge-of-stability`."""

    RESETS: ClassVar[Mapping[str, Mapping[str, object]]] = {"checkpoint": {"replicas": 1, "learning_rates": ()}}

    learning_rates: tuple[float, ...] = (0.5, 1.0, 2.0)
    """The learning rates η (`training.lr` is refused); every replica starts from the same weights for each."""

    tolerance: float = Field(default=1e-3, gt=0, lt=1)
    """Relative residual to which each sharpness is computed."""

    @model_validator(mode="after")
    def _fits(self) -> Config:
        if self.checkpoint and len(self.learning_rates) != 1:
            words = "the one with which the checkpoints were trained"
            raise InputError(f"learning_rates must be {words}, found {self.learning_rates}")
        if not self.learning_rates or not all(0 < lr < math.inf for lr in self.learning_rates):
            raise InputError(f"learning_rates must be positive, at least one, found {self.learning_rates}")
        if len(set(self.learning_rates)) < len(self.learning_rates):
            raise InputError(f"learning_rates must differ from each other, found {self.learning_rates}")
        check_precision(self.dtype, {"learning_rates": max(self.learning_rates)})
        if len({rate_name(lr) for lr in self.learning_rates}) < len(self.learning_rates):
            raise InputError(f"learning_rates must differ in their first six digits, found {self.learning_rates}")
        if self.training.optimizer not in ("sgd", "momentum", "nesterov"):
            raise InputError(
                f"training.optimizer must be sgd, momentum or nesterov, whose limits are known, found "
                f"{self.training.optimizer}"
            )
        if self.training.lr != Recipe().lr:
            raise InputError(f"training.lr must be left alone: learning_rates says it, found {self.training.lr:g}")
        if self.training.batch_size is not None or self.training.schedule != "constant":
            raise InputError("training must be full-batch (batch_size None) with a constant schedule for a fixed limit")
        if self.training.stop is not None:
            raise InputError(f"training.stop must be None for paths of one length, found '{self.training.stop}'")
        return self

    def untrained(self) -> Recipe:
        """Of the recipe only the optimizer counts, for its limit."""
        return self.training

    def stages(self) -> list[Stage]:
        """The path of every learning rate, and the sharpness along it."""
        found: list[Stage] = []
        places = len(self.checkpoint) or snapshots(self.training, trained(self.data, self.model)[1])
        for lr in self.learning_rates:
            found.append(Training(f"lr-{rate_name(lr)}", self.model_copy(update={"training": self.recipe(lr)})))
            products = PRODUCTS * places * self.replicas
            found.append(Passes(f"sharpness-{rate_name(lr)}", self, products=products))
        return self.measured(found)

    def recipe(self, lr: float) -> Recipe:
        """How it is trained with one learning rate."""
        return self.training.model_copy(update={"lr": lr})


def _descent(steps: int, every: int) -> Recipe:
    return Recipe(optimizer="sgd", steps=steps, record=Cadence(every=every, unit="step"))


_TANH = ModelConfig(hidden=(32, 32), activation="tanh")

PRESETS = {
    "tiny": Config(
        replicas=2,
        data=TaskConfig(samples=60, test_samples=20),
        model=ModelConfig(hidden=(6,), activation="tanh"),
        loss="mse",
        training=_descent(60, 15),
        learning_rates=(0.5, 2.0),
    ),
    "quick": Config(replicas=2, data=TaskConfig(samples=300), model=_TANH, loss="mse", training=_descent(3000, 100)),
    # three learning rates on 1,000 images of MNIST
    "course": Config(
        replicas=1,
        data=TaskConfig(name="mnist", samples=1000, test_samples=500),
        model=ModelConfig(hidden=(100, 100), activation="tanh"),
        loss="mse",
        training=_descent(3000, 150),
        learning_rates=(0.2, 0.5, 1.0),  # with 2 it diverges: the sharpness at the start is 2.5 times the limit
    ),
    # Cohen et al. 2021: 5,000 images of CIFAR-10, two hidden layers of 200 units, mean squared error
    "paper": Config(
        replicas=1,
        data=TaskConfig(name="cifar10", samples=5000, standardize="zscore"),
        model=ModelConfig(hidden=(200, 200), activation="tanh"),
        loss="mse",
        training=_descent(6000, 200),
        learning_rates=(0.1, 0.2, 0.4),
    ),
}


def limit(recipe: Recipe) -> float:
    """The largest curvature at which gradient descent is stable on a quadratic (Cohen et al. 2021, appendix B).

    >>> limit(Recipe(optimizer="sgd", lr=0.5)), limit(Recipe(optimizer="momentum", lr=0.5, momentum=0.5))
    (4.0, 6.0)
    """
    beta = 0.0 if recipe.optimizer == "sgd" else (0.9 if recipe.momentum is None else recipe.momentum)
    if recipe.optimizer == "nesterov":
        return (2 + 2 * beta) / (recipe.lr * (1 + 2 * beta))
    return (2 + 2 * beta) / recipe.lr

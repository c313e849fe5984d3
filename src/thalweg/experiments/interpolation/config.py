"""Settings of `interpolation`, its presets, and the comparisons that it asks for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from thalweg.checkpoints import label
from thalweg.errors import InputError
from thalweg.experiments.framework.stages import Passes, Stage, Training
from thalweg.experiments.shared.sizes import built, check_precision, check_recipe, test_samples, trained
from thalweg.experiments.shared.training import TrainingConfig
from thalweg.experiments.shared.weights import RESETS, MeasuredConfig
from thalweg.figures.scales import number
from thalweg.models.config import ModelConfig
from thalweg.tasks.config import TaskConfig
from thalweg.training.recipe import Cadence, Recipe

__all__ = ["PRESETS", "Comparison", "Config", "comparisons"]


@dataclass(frozen=True)
class Comparison:
    """Two recipes that differ in one field.

    Args:
        name: Of its recordings and results.
        title: The field in words.
        labels: What tells the two solutions apart.
        recipes: Theirs.
    """

    name: str
    title: str
    labels: tuple[str, str]
    recipes: tuple[Recipe, Recipe]


class Config(MeasuredConfig):
    """Settings of `interpolation`."""

    batch_sizes: tuple[int, ...] = (64, 1024)
    """Batch sizes of the two solutions of the first comparison, at the learning rate of `training`; none leaves it
    out, twice the same compares two trainings by one recipe."""

    learning_rates: tuple[float, ...] = (1e-3, 1e-2)
    """Learning rates of the two solutions of the second comparison, at the batch size of `training`; as above."""

    start: Literal["own", "shared"] = "own"
    """Initial weights of the two networks of a pair: each its own, or the same for both."""

    low: float = Field(default=-1.0, le=0)
    """The least α."""

    high: float = Field(default=2.0, ge=1)
    """The greatest α."""

    points: int = Field(default=61, ge=7, le=100_001)
    """Number of α; the places nearest to 0 and 1 are exactly 0 and 1."""

    batchnorm: Literal["recomputed", "interpolated", "first", "last"] = "recomputed"
    """Statistics of batch normalisation at every α: recomputed on the training data, interpolated between those of the
    two networks, or those of the first or the last network (curves and their ends are always recomputed)."""

    rise: float = Field(default=0.1, gt=0)
    """Rise of the training loss over its end by which the width of a valley is measured."""

    subsets: int = Field(default=10, ge=2, le=10_000)
    """Disjoint parts of the data from which the standard errors of the barriers come."""

    align: bool = True
    """Whether the second network is also compared with its hidden units in the order of the first. With
    a network of your own only where it is asked for: in many no units can change places."""

    matching: Literal["weights", "activations"] = "weights"
    """What the alignment compares."""

    curve: Literal["bezier", "polygon"] = "bezier"
    """The curve that is trained between the two: a Bézier curve or a chain of straight stretches."""

    bends: int = Field(default=1, ge=0, le=1000)
    """Trained points of the curve between its ends; 0 trains none."""

    curve_training: Recipe = Recipe(lr=1e-2, steps=1000, batch_size=128, schedule="linear", final=0.01)
    """How the bends are trained."""

    COUNT: ClassVar[tuple[int, int | None]] = (2, 2)
    RESETS: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "model": {"align": False},
        "checkpoint": {**RESETS, "batch_sizes": (), "learning_rates": ()},
    }

    @model_validator(mode="after")
    def _two_solutions(self) -> Config:
        for name in ("batch_sizes", "learning_rates"):
            values = getattr(self, name)
            if len(values) not in (0, 2):
                raise InputError(f"{name} must be none or two, found {values}")
            if not all(0 < value < math.inf for value in values):
                raise InputError(f"{name} must be positive, found {values}")
        check_precision(self.dtype, {"learning_rates": max(self.learning_rates, default=0.0)})
        check_precision(self.dtype, dict(self.curve_training), "curve_training.")
        if self.curve_training.stop is not None:
            raise InputError(f"curve_training.stop must be None for a curve, found '{self.curve_training.stop}'")
        if self.checkpoint and (self.batch_sizes or self.learning_rates):
            words = "checkpoints, which are the two solutions"
            raise InputError(f"batch_sizes and learning_rates must be none with {words}")
        if not self.checkpoint and not self.batch_sizes and not self.learning_rates:
            raise InputError("batch_sizes or learning_rates must be two values, found none of both")
        return self

    def trainings(self) -> list[TrainingConfig]:
        """One for each solution."""
        recipes = [recipe for one in comparisons(self) for recipe in one.recipes]
        return [self.model_copy(update={"training": recipe}) for recipe in recipes]

    def stages(self) -> list[Stage]:
        """Both solutions of every comparison, and the ways between them."""
        found: list[Stage] = []
        known: set[tuple[int, Recipe]] = set()
        share = test_samples(self.data) / trained(self.data, self.model)[1]
        line = self.points * self.replicas * (1 + share)
        for one in comparisons(self):
            for side, recipe in enumerate(one.recipes):
                if (side, recipe) not in known:
                    known.add((side, recipe))
                    config = self.model_copy(update={"training": recipe})
                    found.append(Training(f"{one.name}-{side + 1}", config))
            found.append(Passes(f"{one.name}-line", self, values=line, precise=False))
            if self.align:
                found.append(Passes(f"{one.name}-aligned", self, values=line, precise=False))
            if self.bends:
                bend = self.model_copy(update={"training": self.curve_training})
                found.append(Training(f"{one.name}-bends", bend, evaluated=False))
                found.append(Passes(f"{one.name}-curve", self, values=line, precise=False))
        return self.measured(found)

    def check_sizes(self, root: str | Path) -> None:
        """Refuse also places that do not tell the two solutions apart, and networks that cannot be aligned."""
        from thalweg.landscape import with_ends
        from thalweg.landscape.permutations import unit_groups

        super().check_sizes(root)
        with_ends(self.low, self.high, self.points)
        if self.bends:
            check_recipe(self.curve_training, trained(self.data, self.model)[1], "curve_training.")
        if self.align:
            try:
                unit_groups(built(self.data, self.model))
            except InputError as error:
                raise InputError(f"align must be false for this network: {error}") from error


def comparisons(config: Config) -> list[Comparison]:
    """The comparisons that a configuration asks for."""
    if config.checkpoint:
        first, second = map(label, config.checkpoint)
        names = (first, second) if first != second else (f"{first} (first)", f"{second} (second)")
        return [Comparison("checkpoints", "checkpoint", names, (config.training, config.training))]
    out = []
    for name, field, title, word in (
        ("batch-size", "batch_size", "batch size", "batch"),
        ("learning-rate", "lr", "learning rate", "learning rate"),
    ):
        values = config.batch_sizes if field == "batch_size" else config.learning_rates
        if values:
            labels = [f"{word} {number(value)}" for value in values]
            if values[0] == values[1]:
                labels = [f"{label} ({side})" for label, side in zip(labels, ("first", "second"), strict=True)]
            recipes = [config.training.model_copy(update={field: value}) for value in values]
            out.append(Comparison(name, title, (labels[0], labels[1]), (recipes[0], recipes[1])))
    return out


def _recipe(**fields: object) -> Recipe:
    """Weights are needed at the end only; a few on the way show the training."""
    return Recipe.model_validate({"lr": 1e-3, "batch_size": 64, "record": Cadence(every=12, unit="log"), **fields})


_CNN = ModelConfig(kind="cnn", channels=(16, 32), head="average", batchnorm=True)

PRESETS = {
    "tiny": Config(
        replicas=2,
        data=TaskConfig(samples=200, test_samples=100),
        model=ModelConfig(hidden=(12,)),
        training=_recipe(epochs=10, batch_size=20),
        batch_sizes=(20, 100),
        learning_rates=(),
        points=13,
        subsets=4,
        curve_training=Recipe(lr=1e-2, steps=40, batch_size=50),
    ),
    "quick": Config(replicas=4, model=ModelConfig(hidden=(64, 64)), training=_recipe(lr=3e-3, epochs=100)),
    # the exercise: batch size 64 against 1,024 and learning rate 1e-3 against 1e-2, on MNIST
    "course": Config(
        replicas=3,
        data=TaskConfig(name="mnist"),
        model=ModelConfig(hidden=(64, 32)),
        training=_recipe(epochs=20),
        curve_training=Recipe(lr=5e-3, steps=3000, batch_size=128, schedule="linear", final=0.01),
    ),
    # batch normalisation, whose statistics must be recomputed on the way
    "cnn": Config(replicas=2, model=_CNN, training=_recipe(lr=5e-3, epochs=30), learning_rates=()),
    # Ainsworth et al. 2023, section 5: MNIST, three hidden layers of 512 units, two trainings by one recipe
    "paper": Config(
        replicas=1,
        data=TaskConfig(name="mnist"),
        model=ModelConfig(hidden=(512, 512, 512)),
        training=_recipe(batch_size=500, epochs=100),
        batch_sizes=(500, 500),
        learning_rates=(),
        curve_training=Recipe(lr=1e-3, steps=3000, batch_size=128, schedule="linear", final=0.01),
    ),
}

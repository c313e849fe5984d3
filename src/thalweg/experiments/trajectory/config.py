"""Settings of `trajectory`, and its presets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from thalweg.errors import InputError
from thalweg.experiments.shared.sizes import built, has_test, snapshots, trained
from thalweg.experiments.shared.weights import MeasuredConfig
from thalweg.models.config import ModelConfig
from thalweg.models.course import COURSE
from thalweg.progress import storage
from thalweg.tasks.config import TaskConfig
from thalweg.training.recipe import Cadence, Recipe

if TYPE_CHECKING:
    from torch import Tensor

    from thalweg.objective import ParameterLayout

__all__ = ["PRESETS", "Config", "matching"]


class Config(MeasuredConfig):
    """Settings of `trajectory`."""

    COUNT: ClassVar[tuple[int, int | None]] = (2, None)

    layer: str | None = Field(default=None, min_length=1)
    """Glob of the parameters drawn beside the whole model, such as "3.*"; default the first layer."""

    start: Literal["own", "shared"] = "own"
    """Initial weights: every run its own, or all those of run 1 (then only the order of the data separates them)."""

    labels: Literal["train", "test"] | None = None
    """Data set whose accuracy (or loss) labels the points; default test if there is one."""

    perplexity: float | None = Field(default=None, ge=1)
    """Neighbours that t-SNE weighs; default a quarter of the snapshots of a run, at least 5 and at most 30."""

    control_walks: int = Field(default=20, ge=1, le=10_000)
    """Random walks behind the band in the figure of the explained variance."""

    @model_validator(mode="after")
    def _goes_somewhere(self) -> Config:
        for name in ("epochs", "steps"):
            if getattr(self.training, name) == 0:
                raise InputError(f"training.{name} must be at least 1, for a path has two ends, found 0")
        if self.data.source is None:
            self._check_labels()
        return self

    def _check_labels(self) -> None:
        if self.labels == "test" and not has_test(self.data):
            raise InputError("labels must be 'train' for a task without a test set, found 'test'")

    def check_sizes(self, root: str | Path) -> None:
        """Refuse also a layer that there is not, and more points than principal components have memory for."""
        from thalweg.objective import ParameterLayout

        super().check_sizes(root)
        self._check_labels()
        if self.layer is not None:
            matching(self.layer, ParameterLayout.of(built(self.data, self.model)))
        parameters, samples = trained(self.data, self.model)
        each = snapshots(self.training, samples)
        points = each * self.replicas
        shorter = min(points, parameters)  # the side of the matrix of inner products
        needed = 8 * (4 * shorter**2 + (3 * points * parameters if points >= parameters else 0))
        if needed > BUDGET:
            many = self.replicas >= each
            name, found = ("replicas", self.replicas) if many else ("training.record.every", self.training.record.every)
            raise InputError(
                f"{name} must leave few enough points for principal components in {storage(BUDGET)}, found {found:,}: "
                f"{each:,} snapshots of {self.replicas:,} replicas of {parameters:,} parameters take {storage(needed)}"
            )


BUDGET = 2**30
"""Bytes of working memory, as that of an objective and of the principal components."""


def _every(distance: int, **recipe: Any) -> Recipe:
    """Weights every `distance` epochs."""
    return Recipe(record=Cadence(every=distance, unit="epoch"), **recipe)


_MLP = ModelConfig(kind="mlp", hidden=(20, 20, 20))

PRESETS = {
    "tiny": Config(
        replicas=3,
        data=TaskConfig(samples=200, test_samples=100),
        model=ModelConfig(hidden=(8, 8)),
        training=_every(1, lr=0.01, batch_size=50, epochs=8),
        control_walks=3,
    ),
    "quick": Config(model=_MLP, training=_every(3, lr=2e-3, batch_size=64, epochs=60)),
    # 784-20-20-20-10: 16,750 parameters, weights every 3 epochs, 8 trainings
    "course": Config(data=TaskConfig(name="mnist"), model=_MLP, training=_every(3, lr=1e-3, batch_size=200, epochs=30)),
    "course-1000": Config(
        data=TaskConfig(name="mnist", samples=1000), model=_MLP, training=_every(3, lr=1e-3, batch_size=200, epochs=30)
    ),
    # train_AT.py visualized_cifar10_NN 100 10 128: 100 epochs, weights every 10, batch 128
    "cifar10": Config(
        data=TaskConfig(name="cifar10"), model=_MLP, training=_every(10, lr=1e-3, batch_size=128, epochs=100)
    ),
    # the same for a stack of four convolutions, as `image-fit --networks conv-4x27` has it
    "cifar10-cnn": Config(
        data=TaskConfig(name="cifar10"),
        model=COURSE["conv-4x27"],
        training=_every(10, lr=1e-3, batch_size=128, epochs=100),
    ),
    # train_FT.py visualized_func_fit_NN 100000 10000: 100,000 samples seen, weights every 10,000
    "function": Config(
        data=TaskConfig(name="function", expression="sinc", points=1000, test_points=500),
        model=ModelConfig(hidden=(5, 10, 10, 10, 10, 10, 5)),
        training=_every(10, lr=1e-3, batch_size=20, epochs=100),
    ),
}


def matching(glob: str, layout: ParameterLayout) -> Tensor:
    """The parameters of a layer, by their numbers."""
    try:
        return layout.select(glob)
    except InputError:
        known = ", ".join(layout.names)
        raise InputError(f"layer must match a parameter of the network ({known}), found '{glob}'") from None

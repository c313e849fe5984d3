"""Settings of `capacity`, and its presets."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from thalweg.experiments.shared.members import Varied
from thalweg.models.config import ModelConfig
from thalweg.tasks.config import TaskConfig
from thalweg.training.recipe import Cadence, Recipe

__all__ = ["PRESETS", "Config"]


class Config(Varied):
    """Settings of `capacity`."""

    replicas: int = Field(default=3, ge=1)
    """Number of independent trainings of each size; replica r is the same whatever runs beside it."""

    model: ModelConfig = ModelConfig(depth=1, width=16)
    """The family; its field named by `vary` takes the `values`."""

    vary: str = "model.width"
    """The field that sets the size, dotted from the top."""

    values: tuple[bool | int | float | str, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
    """Its values, one network each."""

    fitted: float = Field(default=0.999, gt=0, le=1)
    """Median training accuracy from which a size counts as large enough to fit everything."""


def _ends(**recipe: Any) -> Recipe:
    """Weights and metrics at the start and the end only: what is compared is where training ends."""
    return Recipe(record=Cadence(every=2, unit="log"), **recipe)


def _log_spaced(low: int, high: int, count: int) -> tuple[int, ...]:
    """At most `count` different whole numbers, evenly spaced in the logarithm."""
    return tuple(sorted({round(value) for value in np.geomspace(low, high, count).tolist()}))


_LONG = _ends(lr=3e-3, epochs=1000, batch_size=100, schedule="cosine")
_MNIST = TaskConfig(name="mnist")

PRESETS = {
    "tiny": Config(
        replicas=2,
        data=TaskConfig(samples=60, test_samples=40),
        values=(1, 3, 8, 20, 50),
        training=_ends(lr=2e-2, epochs=20, batch_size=20),
    ),
    "quick": Config(
        data=TaskConfig(samples=500),
        values=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
        training=_ends(lr=3e-3, epochs=80, batch_size=50),
    ),
    "course": Config(data=_MNIST, values=_log_spaced(1, 1024, 16), training=_ends(lr=1e-3, epochs=50, batch_size=500)),
    "hundred": Config(
        replicas=1, data=_MNIST, values=_log_spaced(1, 1024, 142), training=_ends(lr=1e-3, epochs=50, batch_size=500)
    ),
    # Double descent: a fifth of the labels redrawn, trained until the loss stands still
    "paper": Config(
        data=TaskConfig(samples=500, label_noise=0.2),
        values=(2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512),
        training=_LONG,
    ),
    # with squared loss, as Belkin et al. 2019
    "paper-squared": Config(
        replicas=5,
        data=TaskConfig(samples=500, label_noise=0.2),
        loss="mse",
        values=(4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024, 2048),
        training=_LONG,
    ),
    "convolutions": Config(
        data=_MNIST,
        model=ModelConfig(kind="cnn", depth=1, width=8),
        values=_log_spaced(1, 128, 12),
        training=_ends(lr=1e-3, epochs=20, batch_size=300),
    ),
    "cifar10": Config(
        data=TaskConfig(name="cifar10"),
        model=ModelConfig(kind="cnn", depth=3, width=8),
        values=_log_spaced(4, 496, 10),  # to 4.5 million parameters
        training=_ends(lr=1e-3, epochs=50, batch_size=128),
    ),
    "three-layers": Config(
        data=_MNIST,
        model=ModelConfig(depth=3, width=5),
        values=(*range(5, 95, 5),),
        training=_ends(lr=1e-3, epochs=50, batch_size=500),
    ),
}

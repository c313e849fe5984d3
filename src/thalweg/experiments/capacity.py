"""Capacity: does a network with more parameters generalise worse?

**Question.** How do training and test error depend on the number of parameters, and what happens where the network
becomes just large enough to fit every training sample?

**Method.** One family of networks is trained at many sizes (``--vary model.width``, values spaced evenly in the
logarithm), each several times from independent initial weights; the replicas of one size train as one batch. The
*interpolation threshold* is the smallest size whose median training accuracy reaches ``fitted``.

**Figures and how to read them.** Training and test loss against the number of parameters (logarithmic); the
accuracies; the test error alone, where a peak is seen best. Points: medians; bands: range over
the runs; dashed: the threshold. Classical statistics expects the test error to rise beyond it; usually it goes on
falling. With noisy labels it may rise before the threshold, have its peak there and fall again: double descent (Belkin
et al. 2019; Nakkiran et al. 2020). Whether such a peak is larger than the range over the runs is said in words.

**Measured.** 500 digits with true labels (``quick``): no peak, the test error falls to 4.7 % at the largest size. With
a fifth of the labels redrawn and 1,000 epochs (``paper``): 19.7 % at 610 parameters, a peak of 26.4 % at 2,410, just
below the threshold at 3,610, and 21.7 % at 38,410. With squared loss (``paper-squared``):
13.6 % at 1,810, a peak of 22.8 % at 9,610, just above the threshold at 7,210, and 16.4 % at 153,610. Both peaks exceed
the range over the runs; neither second descent comes below the first minimum.

**Traps.** A sweep that stops short of the threshold shows only the classical half. Fewer than ten sizes, or one run
for each, show noise. Cross-entropy on the test set rises with size because larger networks are more certain where they
are wrong; the accuracy may improve meanwhile: look at both. Training must be long enough for the training error to
become 0: a peak that moves with the number of epochs is one of training time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from thalweg.experiments._capacity_story import merge
from thalweg.experiments._members import Members, Varied, members, table
from thalweg.experiments.framework.findings import Findings
from thalweg.models.config import ModelConfig
from thalweg.tasks.config import TaskConfig
from thalweg.training.recipe import Cadence, Recipe

if TYPE_CHECKING:
    import polars as pl

    from thalweg.runs import Run

__all__ = ["PRESETS", "Config", "measure", "run", "merge"]


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


def run(config: Config, run: Run) -> Findings:
    """Trains every size and tells how the errors depend on it."""
    return merge(config, run.cached("table", lambda: measure(config, run)))  # a sweep reads it


def measure(config: Config, run: Run) -> pl.DataFrame:
    """Trains every size.

    Returns:
        One row for each size and replica: the columns of `_members.table`, and samples and outputs of the task.
    """
    import polars as pl

    trained = Members(members(config), run)
    task = trained.task(trained.members[0].config)
    return table(trained).with_columns(samples=pl.lit(task.samples), outputs=pl.lit(task.outputs))

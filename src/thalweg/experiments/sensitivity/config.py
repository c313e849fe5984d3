"""Settings of `sensitivity`, and its presets."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from thalweg.errors import InputError
from thalweg.experiments.framework.stages import Passes, Stage, Training
from thalweg.experiments.shared.members import Varied, members
from thalweg.experiments.shared.sizes import has_test, test_samples, trained
from thalweg.experiments.shared.subjects import task
from thalweg.experiments.shared.training import build
from thalweg.models.config import ModelConfig
from thalweg.sources import Source
from thalweg.tasks.config import TaskConfig
from thalweg.training.recipe import Cadence, Recipe

__all__ = ["PRESETS", "Config"]

DERIVATIVES = 15
"""Gradients that take as long as the derivatives by all definitions, about."""


class Config(Varied):
    """Settings of `sensitivity`."""

    definition: Literal["loss", "probabilities", "outputs"] = "loss"
    """What is drawn beside loss and accuracy: the gradient of the loss with respect to the input (course), or the
    Jacobian of the class probabilities or of the outputs (logits). All three are measured."""

    norm: float = Field(default=2.0, ge=1)
    """Entrywise p-norm of every sample's derivative; 2 is the Frobenius norm."""

    measured_on: Literal["train", "test"] | None = None
    """On which samples; default test if there are some."""

    @model_validator(mode="after")
    def _there(self) -> Config:
        if self.data.source is None:
            self._check_samples()
        return self

    def _check_samples(self) -> None:
        if self.measured_on == "test" and not all(has_test(one.data) for one in self.trainings()):
            raise InputError("measured_on must be 'train' for a task without a test set, found 'test'")

    def check_data(self) -> None:
        """Refuse also data of the user's without what is measured."""
        super().check_data()
        self._check_samples()
        for one in self.trainings()[:1] if self.sources else []:
            if build(one, task(one.data, one.dtype)).objective.loss_on == "batch":
                raise InputError(
                    "loss must be one of (outputs, targets) for the sensitivity to inputs, which a loss of "
                    f"(model, batch) does not tell from targets, found {Source.of(one.loss).label}"
                )

    def stages(self) -> list[Stage]:
        """Every training, and the derivatives of its networks."""
        found: list[Stage] = []
        for member in members(self):
            on = trained(member.config.data, member.config.model)[1]
            if self.measured_on != "train" and has_test(member.config.data):
                on = test_samples(member.config.data)
            counts = {"gradients": DERIVATIVES * self.replicas, "samples": on, "precise": False}
            found += [Training(member.name, member.config), Passes(f"measured-{member.name}", member.config, **counts)]
        return found


_RECORD = Cadence(every=1_000_000, unit="epoch")  # the first and the last weights
_SIZES = (8, 16, 32, 64, 128, 256, 512, 1024)
_QUICK = {"replicas": 3, "model": ModelConfig(hidden=(64,)), "values": _SIZES}

PRESETS = {
    "tiny": Config(
        replicas=2,
        data=TaskConfig(samples=60, test_samples=40),
        model=ModelConfig(hidden=(8,)),
        training=Recipe(lr=0.01, epochs=10, record=_RECORD),
        values=(6, 10, 20, 30, 60),
    ),
    "quick": Config(**_QUICK, training=Recipe(lr=1e-3, epochs=60, record=_RECORD)),
    # the same, but every batch size takes as many steps as 60 epochs of batches of 64 have
    "equal-steps": Config(**_QUICK, training=Recipe(lr=1e-3, steps=1380, record=_RECORD)),
    # 50 batch sizes from 64 to 1024, 784-20-20-20-10
    "course": Config(
        replicas=1,
        data=TaskConfig(name="mnist"),
        model=ModelConfig(hidden=(20, 20, 20)),
        training=Recipe(lr=1e-3, epochs=30, record=_RECORD),
        values=tuple(int(size) for size in np.linspace(64, 1024, 50).round()),
    ),
}

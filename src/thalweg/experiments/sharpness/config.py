"""Settings of `sharpness`, and its presets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from thalweg.experiments.framework.stages import Passes, Stage, Training
from thalweg.experiments.shared.members import Varied, members
from thalweg.experiments.shared.weights import RESETS, MeasuredConfig
from thalweg.models.config import ModelConfig
from thalweg.tasks.config import TaskConfig
from thalweg.training.recipe import Cadence, Recipe

__all__ = ["PRESETS", "Config"]

GRADIENTS, PRODUCTS = 150, 60
"""Gradients, and products of the Hessian with a vector, that the measures of one network take, about."""


class Config(MeasuredConfig, Varied):
    """Settings of `sharpness`."""

    RESETS: ClassVar[Mapping[str, Mapping[str, object]]] = {"checkpoint": {**RESETS, "values": ()}}

    samples: int | None = Field(default=None, ge=1)
    """Training samples on which everything is measured, drawn once for all networks; default all."""

    epsilon: float = Field(default=1e-4, gt=0, le=1e6)
    """ε of the ε-sharpness."""

    box_epsilon: float = Field(default=1e-3, gt=0, le=1e6)
    """ε of Keskar's box."""

    box_dimension: int = Field(default=100, ge=1)
    """Dimension of the random subspace of Keskar's second measure."""

    sam_radius: float = Field(default=0.05, gt=0)
    """Radius of the ball of SAM."""

    asam_radius: float = Field(default=0.5, gt=0)
    """Radius of the ellipsoid of ASAM, in units of the weights."""

    sigma: float = Field(default=0.01, gt=0)
    """Standard deviation of the steps of the average sharpness."""

    relative_sigma: float = Field(default=0.05, gt=0)
    """The same for steps relative to each weight."""

    pairs: int = Field(default=50, ge=2, le=1_000_000)
    """Pairs of opposite steps of the average sharpness."""

    tolerance: float = Field(default=1e-3, gt=0, lt=1)
    """Residual of the extreme eigenvalues relative to the spectral norm."""

    trace_products: int = Field(default=30, ge=6, le=1_000_000)
    """Hessian-vector products for the trace."""

    def stages(self) -> list[Stage]:
        """Every training, and all measures of its networks."""
        found: list[Stage] = []
        for member in members(self):
            counts = {
                "values": 4 * self.pairs * self.replicas,
                "gradients": GRADIENTS * self.replicas,
                "products": (PRODUCTS + self.trace_products) * self.replicas,
                "samples": self.samples,
            }
            found += [Training(member.name, member.config), Passes(f"measured-{member.name}", member.config, **counts)]
        return self.measured(found)

    def numbers(self, parameters: int) -> dict[str, float]:
        """The basis of the random subspace."""
        return {"box_dimension": min(self.box_dimension, parameters) * parameters}


_RECORD = Cadence(every=1_000_000, unit="epoch")  # the first and the last weights

# conv 3×3×22 – pool 2 – conv 2×2×22 – pool 3 – dropout – 352 – 80 – dropout – 10: 31,228 parameters
_CNN = ModelConfig(
    kind="cnn", channels=(22, 22), kernel=(3, 2), padding="valid", pool_size=(2, 3), hidden=(80,), dropout=0.25
)

_QUICK = {"replicas": 2, "model": ModelConfig(hidden=(32,)), "values": (16, 32, 64, 128, 256, 512, 1024)}


def _course(samples: int, data: TaskConfig) -> Config:
    return Config(
        replicas=1,
        data=data,
        model=_CNN,
        training=Recipe(lr=1e-3, epochs=12, record=_RECORD),
        values=(8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192),
        samples=samples,
    )


PRESETS = {
    "tiny": Config(
        replicas=2,
        data=TaskConfig(samples=60, test_samples=40),
        model=ModelConfig(hidden=(8,)),
        training=Recipe(lr=0.01, epochs=10, record=_RECORD),
        values=(6, 10, 20, 30, 60),
        box_dimension=5,
        pairs=4,
        trace_products=6,
    ),
    "quick": Config(**_QUICK, training=Recipe(lr=1e-3, epochs=60, record=_RECORD)),
    # the same, but every batch size takes as many steps as 60 epochs of batches of 64 have
    "equal-steps": Config(**_QUICK, training=Recipe(lr=1e-3, steps=1380, record=_RECORD)),
    # a third of MNIST, 12 epochs; measured on 250 of its images
    "course": _course(250, TaskConfig(name="mnist", samples=20_000)),
    # all of it, measured on 1,000 images
    "classic": _course(1000, TaskConfig(name="mnist")),
}

"""Settings of `spectrum` and its presets."""

from __future__ import annotations

from pydantic import Field

from thalweg.experiments.framework.stages import Passes, Stage
from thalweg.experiments.shared.sizes import built, trained
from thalweg.experiments.shared.weights import MeasuredConfig
from thalweg.models.config import ModelConfig
from thalweg.tasks.config import TaskConfig
from thalweg.training.recipe import Cadence, Recipe

__all__ = ["PLACES", "PRESETS", "Config"]

PLACES = ("start", "end")
"""Of the training, where the curvature is measured."""

FIRST_LAST = ("first checkpoint", "last checkpoint")
"""The same of checkpoints."""

COUNTED = 16_750
"""Parameters up to which signs are counted in whole Hessians; a Hessian and its eigenvalues take as long as a product
for every ten parameters, about."""

LARGEST = 150
"""Products with a vector that the largest eigenvalues of both matrices take, about."""


class Config(MeasuredConfig):
    """Settings of `spectrum`."""

    probes: int = Field(default=10, ge=2, le=10_000)
    """Random vectors of the density's estimate."""

    steps: int = Field(default=80, ge=1, le=10_000)
    """Lanczos steps for each of them."""

    largest: int = Field(default=15, ge=1, le=10_000)
    """How many of the largest eigenvalues are computed, each with its residual."""

    exact_up_to: int = Field(default=3000, ge=0)
    """All eigenvalues are computed for at most so many parameters; signs are estimated beyond 16,750."""

    @property
    def places(self) -> dict[str, str]:
        """Where the curvature is measured -> the same in words."""
        if not self.checkpoint:
            return {place: f"{place} of training" for place in PLACES}
        return {"end": "checkpoint"} if len(self.checkpoint) == 1 else dict(zip(PLACES, FIRST_LAST, strict=True))

    def stages(self) -> list[Stage]:
        """The training, densities at its two ends and of every layer, the largest eigenvalues, and the signs."""
        from thalweg.objective import ParameterLayout  # torch

        parameters = trained(self.data, self.model)[0]
        steps = self.probes * min(self.steps, parameters)
        names = ParameterLayout.of(built(self.data, self.model)).names
        layers = dict.fromkeys(name.rpartition(".")[0] or "all" for name in names)
        densities = [f"density-{kind}-{place}" for place in self.places for kind in ("hessian", "ggn")]
        densities += [f"density-layer-{name}" for name in layers]
        found = [*super().stages(), *(Passes(name, self, products=steps) for name in densities)]
        found += [Passes(f"largest-{kind}", self, products=LARGEST / 2) for kind in ("hessian", "ggn")]
        counted = parameters <= COUNTED
        signs = max(2.0, parameters / 5) if counted else 2 * steps
        keys = [f"signs-{place}-{r + 1}" for place in self.places for r in range(self.replicas)]
        return self.measured([*found, *(Passes(key, self, products=signs) for key in keys)])

    def numbers(self, parameters: int) -> dict[str, float]:
        """The whole Hessian and the workspace of its eigenvalues."""
        return {"exact_up_to": 3 * parameters**2 if parameters <= self.exact_up_to else 0}


_RECORD = Cadence(every=1_000_000, unit="epoch")  # the first and the last weights

PRESETS = {
    "tiny": Config(
        replicas=2,
        data=TaskConfig(samples=100, test_samples=50),
        model=ModelConfig(hidden=(4,)),
        training=Recipe(lr=0.02, epochs=20, record=_RECORD),
        probes=3,
        steps=20,
        largest=4,
    ),
    "quick": Config(
        replicas=3,
        model=ModelConfig(hidden=(24,), activation="tanh"),
        training=Recipe(lr=2e-3, batch_size=64, epochs=60, record=_RECORD),
    ),
    # 784-10-10-10: 8,070 parameters
    "course": Config(
        replicas=3,
        data=TaskConfig(name="mnist", samples=5000),
        model=ModelConfig(hidden=(10, 10), activation="tanh"),
        training=Recipe(lr=1e-3, batch_size=200, epochs=30, record=_RECORD),
    ),
    # the network of the course, 784-20-20-20-10: 16,750 parameters, whose whole Hessian takes 2 GB
    "classic": Config(
        replicas=3,
        data=TaskConfig(name="mnist", samples=10_000),
        model=ModelConfig(hidden=(20, 20, 20), activation="tanh"),
        training=Recipe(lr=1e-3, batch_size=200, epochs=30, record=_RECORD),
    ),
}

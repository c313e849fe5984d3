"""Settings of `error-surface`, and its presets."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from thalweg.errors import InputError
from thalweg.experiments.framework.stages import Passes, Stage
from thalweg.experiments.shared.sizes import recorded, snapshots, test_samples, trained
from thalweg.experiments.shared.weights import MeasuredConfig
from thalweg.limits import check_memory
from thalweg.models.config import ModelConfig
from thalweg.tasks.config import TaskConfig
from thalweg.training.recipe import Cadence, Recipe

__all__ = ["PRESETS", "Config", "PlaneName"]

Part = Literal["visited", "parameters", "line", "planes"]
EIGENVECTORS = 40
"""Products of the Hessian with a vector that a plane takes, about."""

PlaneName = Literal["random", "trajectory", "curvature", "saddle", "solutions"]


class Config(MeasuredConfig):
    """Settings of `error-surface`."""

    replicas: int = Field(default=3, ge=1)
    """Number of independent trainings; the first that completes is looked at, three make the plane of solutions."""

    parts: tuple[Part, ...] = ("visited", "parameters", "line", "planes")
    """What to draw: weights visited, each parameter alone, the line from first to last weights, planes."""

    planes: tuple[PlaneName, ...] = ("random", "trajectory", "curvature", "saddle", "solutions")
    """Which planes; curvature: two leading eigenvectors of the Hessian; saddle: the leading and the lowest one."""

    last: int = Field(default=10, ge=1)
    """visited: number of last snapshots near which samples are drawn."""

    neighbours: int = Field(default=25, ge=4, le=10_000)
    """visited: samples near each of them."""

    spread: float = Field(default=0.05, gt=0)
    """visited: standard deviation of a sample in each parameter, as a share of the root mean square weight."""

    perplexity: float | None = Field(default=None, ge=1)
    """visited: neighbours that t-SNE weighs; default 30, or fewer for few points."""

    curves: int = Field(default=300, ge=1)
    """parameters: most curves; a larger network has a seeded sample of its parameters drawn."""

    reach: float = Field(default=1.0, gt=0)
    """parameters: greatest offset of a parameter, in its own units."""

    offsets: int = Field(default=81, ge=5, le=10_001)
    """parameters: offsets of each, an odd number; half of them within a tenth of `reach`."""

    line_points: int = Field(default=401, ge=4, le=1_000_000)
    """line: places between α = −0.5 and 1.5."""

    points: int = Field(default=41, ge=2, le=2001)
    """planes: cells along each axis."""

    span: float = Field(default=1.0, gt=0, le=1e6)
    """planes: half-width of the random one, in lengths of its directions."""

    rise: float | None = Field(default=None, gt=0)
    """planes: how far the loss rises along the axes of those of the Hessian; default: what training lowered it by."""

    normalize: Literal["filter", "layer", "whole", "none"] = "filter"
    """planes: norms of the random directions: those of the filters (Li et al. 2018), of layers, of all, or none."""

    biases: Literal["zero", "keep"] = "zero"
    """planes: whether biases stay (zero, as in the paper) or move in the random directions."""

    normalization: Literal["zero", "keep"] = "zero"
    """planes: the same for the parameters of normalisation layers."""

    exports: tuple[Literal["vtk", "npz", "parquet"], ...] = ("vtk",)
    """planes: formats in which the surfaces are written into the run's folder."""

    film: Literal["gif", "mp4", "none"] = "gif"
    """planes: training moving over the plane of its trajectory; mp4 needs ffmpeg."""

    @model_validator(mode="after")
    def _fits(self) -> Config:
        if not self.parts:
            raise InputError("parts must name at least one of visited, parameters, line, planes, found none")
        for name in ("epochs", "steps"):
            if getattr(self.training, name) == 0:
                raise InputError(f"training.{name} must be at least 1, so that there is a path, found 0")
        if "planes" in self.parts and not self.planes:
            raise InputError("planes must name at least one plane, or parts must leave planes out, found none")
        for name in ("parts", "planes", "exports"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise InputError(f"{name} must name each once, found {', '.join(values)}")
        if self.offsets % 2 == 0:
            raise InputError(f"offsets must be odd, so that zero is among them, found {self.offsets}")
        return self

    def stages(self) -> list[Stage]:
        """The training, and every part that is drawn."""
        parameters, samples = trained(self.data, self.model)
        alphas = self.line_points * self.replicas * (1 + test_samples(self.data) / samples)
        cells = len(self.planes) * self.points**2
        passes = {
            "visited": Passes("visited", self, values=self.last * self.neighbours, precise=False),
            "parameters": Passes("parameters", self, values=min(self.curves, parameters) * self.offsets, precise=False),
            "line": Passes("line", self, values=alphas, precise=False),
            "planes": Passes("planes", self, values=cells, products=EIGENVECTORS * len(self.planes), precise=False),
        }
        return [*super().stages(), *(passes[part] for part in self.parts)]

    def check_sizes(self, root: str | Path) -> None:
        """Refuse also more weights than can be embedded, and fewer than the perplexity needs."""
        super().check_sizes(root)
        if "visited" not in self.parts:
            return
        most = snapshots(self.training, trained(self.data, self.model)[1])
        points = most + min(self.last, most) * self.neighbours
        check_memory("neighbours", f"{self.neighbours:,}: {points:,} weights to embed", 2 * 8 * points**2)
        length = len(recorded(self.training, trained(self.data, self.model)[1]))
        points = length + min(self.last, length) * self.neighbours
        if self.perplexity is not None and self.perplexity > (points - 1) / 3:
            raise InputError(
                f"perplexity must be at most {(points - 1) / 3:.4g}, a third of the {points:,} weights to embed, found "
                f"{self.perplexity:g}"
            )


def _every(distance: int, **recipe: Any) -> Recipe:
    """Weights every `distance` epochs."""
    return Recipe(record=Cadence(every=distance, unit="epoch"), **recipe)


_SMALL = ModelConfig(hidden=(6, 4), activation="tanh")  # 45 parameters with one input and one output
_SINC = TaskConfig(name="function", expression="sinc", points=128)

PRESETS = {
    "tiny": Config(
        data=TaskConfig(name="function", points=32),
        model=ModelConfig(hidden=(3,), activation="tanh"),
        training=_every(5, lr=0.02, epochs=30),
        last=2,
        neighbours=10,
        offsets=9,
        line_points=21,
        points=7,
    ),
    "quick": Config(data=_SINC, model=_SMALL, training=_every(50, lr=0.02, epochs=3000), spread=0.02, perplexity=15),
    "digits": Config(model=ModelConfig(hidden=(32,)), training=_every(1, lr=2e-3, batch_size=64, epochs=40), points=31),
    "course": Config(
        data=TaskConfig(name="mnist", samples=10_000),
        model=ModelConfig(hidden=(20, 20, 20)),
        training=_every(1, lr=1e-3, batch_size=200, epochs=30),
        curves=60,
        offsets=41,
        line_points=201,
    ),
    "course-function": Config(
        data=TaskConfig(name="function", expression="sinc", points=1000),
        model=_SMALL,
        training=_every(200, lr=0.01, epochs=20_000),
        neighbours=60,
        line_points=1601,
        points=61,
    ),
}

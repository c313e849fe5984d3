"""Settings of `zero-gradient` and its presets."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from thalweg.errors import InputError
from thalweg.experiments.framework.stages import Other, Stage, Training
from thalweg.experiments.shared.sizes import trained
from thalweg.experiments.shared.training import TrainingConfig
from thalweg.models.config import ModelConfig
from thalweg.tasks.config import TaskConfig
from thalweg.training.recipe import Cadence, Recipe

__all__ = ["PRESETS", "Config"]

_LR, _AFTER = 1e-3, 500

HESSIANS = {"minima": 900, "followed": 1100, "downhill": 1800}
"""Exact Hessians of all points together that a search takes, about: it ends with the last of its points."""

STEPS = 20
"""Steps on the norm of the gradient that are timed."""

Radius = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Config(TrainingConfig):
    """Settings of `zero-gradient`."""

    replicas: int = Field(default=100, ge=1)
    """Number of independent trainings; each leads to one end point of the course's method."""

    method: Literal["adam", "lbfgs", "levenberg"] = "adam"
    """How the norm of the gradient is minimised: Adam or L-BFGS on ½‖∇L‖², or Levenberg–Marquardt on ∇L = 0."""

    norm_steps: int = Field(default=2000, ge=1, le=10_000_000)
    """Steps of that second phase."""

    norm_lr: float = Field(default=_LR, gt=0, allow_inf_nan=False)
    """Learning rate in the second phase, of method adam only."""

    decay: float = Field(default=1e-4, ge=0, allow_inf_nan=False)
    """Weight decay (the objective's l2) of the certified points; with 0 there are none within reach."""

    minima: int = Field(default=100, ge=1)
    """Number of trainings from whose ends minima are searched, at most all."""

    indices: tuple[Annotated[int, Field(ge=1)], ...] = (1, 2)
    """Indices of the saddles that are searched by eigenvector following."""

    saddles: int = Field(default=100, ge=0)
    """Number of trainings from which saddles of each index are searched, at most all."""

    saddle_after: int = Field(default=_AFTER, ge=0)
    """Step of the training at which these searches start (the snapshot nearest to it); late ones lie in minima."""

    embedded: int = Field(default=10, ge=1, le=100_000)
    """Number of starts in each narrower network."""

    narrower: int = Field(default=6, ge=0)
    """Number of narrower networks whose minima are embedded as saddles."""

    downhill: int = Field(default=2, ge=0, le=1000)
    """At most so many of the lowest modes of every saddle along which walks lead down to minima; with 0 none."""

    neighbours: int = Field(default=100, ge=1, le=1_000_000)
    """Random neighbours of every point at every radius."""

    radii: tuple[Radius, ...] = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    """Radii at which neighbours are drawn."""

    radius: Radius = 1e-3
    """The radius of the figure of the sampled ratio against loss."""

    scale: Literal["norm", "coordinate", "relative", "relative-uniform"] = "norm"
    """What a radius is: ‖δ‖ itself; the deviation of each δᵢ; that as a share of θᵢ, normal or uniform."""

    chunk: int = Field(default=50, ge=1)
    """Points that are searched together; a killed run loses at most these."""

    @model_validator(mode="after")
    def _lists(self) -> Config:
        if not self.radii:
            raise InputError("radii must hold at least one radius, found none")
        if self.method != "adam" and self.norm_lr != _LR:
            raise InputError(
                f"norm_lr applies to method 'adam' only, found method '{self.method}' with {self.norm_lr:g}"
            )
        if not self.saddles and self.saddle_after != _AFTER:
            raise InputError(
                f"saddle_after applies to searches of saddles only, found saddles 0 with {self.saddle_after}"
            )
        if len(set(self.indices)) < len(self.indices):
            raise InputError(f"indices must be different, found {list(self.indices)}")
        return self

    def stages(self) -> list[Stage]:
        """The training and all searches."""
        return [Training("training", self, evaluated=False), *_searches(self)]

    def check_sizes(self, root: str | Path) -> None:
        """Refuse also saddles of an index that no point of the network has."""
        super().check_sizes(root)
        parameters = trained(self.data, self.model)[0]
        if self.saddles and self.indices and max(self.indices) > parameters:
            raise InputError(
                f"indices must be at most the number of parameters ({parameters:,}), found {max(self.indices):,}"
            )


def _searches(config: Config) -> list[Stage]:
    """The searches of a configuration, by the names under which each chunk of them is kept."""
    timed: dict[tuple[str, int], float] = {}

    def price(what: str, points: int, count: float) -> Callable[[], float]:
        def seconds() -> float:
            if (what, points) not in timed:
                timed[what, points] = _step(config, points) if what == "step" else _hessian(config, points)
            return count * timed[what, points]

        return seconds

    def chunks(name: str, total: int, what: str, count: float) -> list[Stage]:
        starts = range(0, total, config.chunk)
        sizes = [min(config.chunk, total - start) for start in starts]
        pairs = zip(starts, sizes, strict=True)
        return [Other(f"{name}-{start:05d}", price(what, size, count)) for start, size in pairs]

    found = chunks("end-points", config.replicas, "step", config.norm_steps)
    found += chunks("minima", min(config.minima, config.replicas), "hessian", HESSIANS["minima"])
    saddles = min(config.saddles, config.replicas)
    for index in config.indices if saddles else ():
        found += chunks(f"index-{index}", saddles, "hessian", HESSIANS["followed"])
    if config.downhill and saddles:
        found += chunks("downhill", saddles, "hessian", HESSIANS["downhill"])
    return found


def _hessian(config: Config, points: int) -> float:
    """Seconds of the Hessians of so many points together."""
    from thalweg.curvature import exact_curvature
    from thalweg.experiments.framework.costs import shortest, throwaway

    objective = throwaway(config).objective.double()
    theta = objective.initial(points, 0)
    return shortest(lambda: exact_curvature(objective, theta))


def _step(config: Config, points: int) -> float:
    """Seconds of a step of so many points together on the norm of the gradient."""
    from thalweg import critical
    from thalweg.experiments.framework.costs import throwaway

    objective = throwaway(config).objective.double()
    problem, theta = critical.as_problem(objective), objective.initial(points, 0)
    found = []
    for steps in (2, 2 + STEPS):  # the first call pays for what is made once
        began = time.perf_counter()
        critical.gradient_norm_adam(problem, theta, steps=steps, lr=config.norm_lr)
        found.append(time.perf_counter() - began)
    return found[1] / (2 + STEPS)


_SINC = TaskConfig(name="function", expression="sinc", interval=(-1.0, 1.0), points=128)


def _tanh(*hidden: int) -> ModelConfig:
    return ModelConfig(hidden=hidden, activation="tanh")


def _adam(steps: int, lr: float = 1e-2) -> Recipe:
    """Full-batch Adam; about 40 snapshots and at most 1,000 rows."""
    record = Cadence(every=max(1, steps // 40), unit="step")
    return Recipe(lr=lr, steps=steps, record=record, metrics=Cadence(every=max(1, steps // 1000), unit="step"))


_COURSE = Config(data=_SINC, model=_tanh(4, 4), training=_adam(10_000), threads=1)

PRESETS = {
    "tiny": Config(
        replicas=4,
        data=TaskConfig(name="function", expression="sinc", interval=(-1.0, 1.0), points=24),
        model=_tanh(2, 2),
        training=_adam(60),
        norm_steps=40,
        saddles=2,
        indices=(1,),
        embedded=2,
        narrower=2,
        neighbours=20,
        radii=(1e-3, 1e-1),
        decay=1e-3,
        chunk=2,
    ),
    # 1-4-4-1: 33 parameters
    "quick": _COURSE.model_copy(
        update={"replicas": 40, "training": _adam(3000), "saddles": 20, "embedded": 5, "narrower": 5}
    ),
    # train_NZ.py NAME 10000 2000 …, min_ratio.py: 100 trainings, 10,000 epochs and 2,000 of the gradient norm
    "course": _COURSE,
    "22-parameters": _COURSE.model_copy(update={"model": _tanh(3, 3)}),
    "49-parameters": _COURSE.model_copy(update={"model": _tanh(16)}),
    # 1-10-10-1
    "141-parameters": _COURSE.model_copy(update={"model": _tanh(10, 10), "saddles": 20, "embedded": 5, "downhill": 1}),
    # 1-5-10-10-10-10-10-5-1 with ReLU, as in the classic exercise: most eigenvalues are noise
    "571-parameters": _COURSE.model_copy(
        update={
            "model": ModelConfig(hidden=(5, 10, 10, 10, 10, 10, 5)),
            "training": _adam(10_000, 1e-3),
            "replicas": 20,
            "minima": 4,
            "saddles": 0,
            "narrower": 0,
            "chunk": 10,
        }
    ),
}

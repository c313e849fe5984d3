"""What a run will cost: a few steps of each of its networks are timed, and multiplied by how many there are.

The data are random numbers of the right shapes, the networks are built for the purpose and thrown away, and random
number generators are put back: the run itself notices nothing. Of many similar networks a few are timed and the others
lie in between.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from thalweg.experiments.framework.stages import Other, Passes, Stage, Training
from thalweg.experiments.shared.sizes import is_classification, recorded, shapes, test_samples, trained
from thalweg.experiments.shared.subjects import task
from thalweg.experiments.shared.training import Setup, TrainingConfig, build
from thalweg.progress import hidden
from thalweg.runs import MemoryRecording
from thalweg.tasks import Task
from thalweg.training.recipe import Cadence, Recipe

if TYPE_CHECKING:
    from thalweg.objective import Objective

__all__ = ["Cost", "costs", "shortest", "throwaway"]

TIMED = 4
"""Networks of one kind that are timed."""

ENOUGH = 0.15
"""Seconds after which no further step is timed; three are always."""

TOGETHER_SAMPLES = 512
"""Samples of all replicas in a timed step; a larger one takes longer in proportion."""

THROWAWAY = 2048
"""Samples of the throwaway data, or all if these are fewer."""

MOST_STEPS = 40
"""Steps that are timed at most."""

PASS_SAMPLES = 256
"""Samples of a timed pass."""

SHORT = 0.02
"""Seconds below which the time of a pass says more of its overhead than of its samples."""

TOGETHER = 8
"""θ whose loss is timed together."""


@dataclass(frozen=True)
class Cost:
    """A stage and its price.

    Attributes:
        name: Of the recording or the result.
        seconds: Estimated.
        evaluating: How many of these go into the evaluation of training and test data while training.
        at_most: Whether training may stop before its last step.
    """

    name: str
    seconds: float
    evaluating: float = 0.0
    at_most: bool = False


class _EnoughError(Exception):
    """Ends a training whose steps have been timed."""


def costs(stages: Sequence[Stage]) -> list[Cost]:
    """The price of every stage on this machine, as it is now.

    Args:
        stages: As a configuration lists them.
    """
    with torch.random.fork_rng(), hidden():
        prices = _Prices([stage.config for stage in stages if isinstance(stage, Training)])
        found = []
        for stage in stages:
            match stage:
                case Training():
                    found.append(_training(stage, prices))
                case Passes():
                    found.append(Cost(stage.name, prices.passes(stage)))
                case Other():
                    found.append(Cost(stage.name, stage.seconds()))
        return found


def _training(stage: Training[TrainingConfig], prices: _Prices) -> Cost:
    config, recipe = stage.config, stage.config.training
    _, samples = trained(config.data, config.model)
    per_epoch = -(-samples // _batch(config, samples))
    total = recipe.total_steps(per_epoch)
    step, sample = prices.step(config)
    evaluating = 0.0
    if stage.evaluated:
        looks = total // (per_epoch * (recipe.stop_every or 1)) if recipe.stop is not None else 0
        every = len(recorded(recipe, samples)) * (samples + _test_samples(config))
        evaluating = sample * config.replicas * (every + looks * samples)
    return Cost(stage.name, step * total + evaluating, evaluating, recipe.stop is not None)


def _batch(config: TrainingConfig, samples: int) -> int:
    size = config.training.batch_size
    return min(size, samples) if isinstance(size, int) else samples


def _test_samples(config: TrainingConfig) -> int:
    return test_samples(config.data)


class _Prices:
    """Seconds of a step and of a pass of each network; what is equal is timed once, what is similar in part.

    Args:
        configs: All trainings of the run.
    """

    def __init__(self, configs: Sequence[TrainingConfig]) -> None:
        self._kinds: dict[Any, dict[Any, TrainingConfig]] = {}
        self._steps: dict[Any, tuple[float, float]] = {}
        self._passes: dict[Any, float] = {}
        self._curves: dict[Any, tuple[list[float], list[tuple[float, float]]]] = {}
        for config in configs:
            self._kinds.setdefault(_kind(config), {}).setdefault(_same(config), config)

    def step(self, config: TrainingConfig) -> tuple[float, float]:
        """Seconds of a step of all replicas, and of the evaluation of one sample of one replica."""
        kind = _kind(config)
        alike = self._kinds.get(kind, {})
        if len(alike) <= TIMED:
            return self._timed(config)
        if kind not in self._curves:
            ranked = sorted(alike.values(), key=_work)
            chosen = [ranked[place] for place in np.linspace(0, len(ranked) - 1, TIMED).round().astype(int)]
            self._curves[kind] = [_work(one) for one in chosen], [self._timed(one) for one in chosen]
        works, prices = self._curves[kind]
        step, sample = (float(np.interp(_work(config), works, column)) for column in zip(*prices, strict=True))
        return step, sample

    def _timed(self, config: TrainingConfig) -> tuple[float, float]:
        key = _same(config)
        if key not in self._steps:
            setup = throwaway(config)
            self._steps[key] = _step(setup, config), _sample(setup.objective, config)
        return self._steps[key]

    def passes(self, stage: Passes[TrainingConfig]) -> float:
        """Seconds of measurements."""
        config = stage.config
        _, samples = trained(config.data, config.model)
        samples = samples if stage.samples is None else stage.samples
        counts = {"value": stage.values, "gradient": stage.gradients, "hvp": stage.products}
        used = {name: count for name, count in counts.items() if count}
        model = _same(config)[:2]
        if missing := [name for name in used if (*model, stage.precise, name) not in self._passes]:
            objective = throwaway(config).objective
            objective = objective.double() if stage.precise else objective
            for name in missing:
                self._passes[*model, stage.precise, name] = _pass(objective, name, samples)
        return sum(count * samples * self._passes[*model, stage.precise, name] for name, count in used.items())


def _kind(config: TrainingConfig) -> tuple[Any, ...]:
    """Networks that differ in sizes only."""
    names = ("device", "dtype", "loss", "replicas")
    model = config.model.kind, config.model.batchnorm, config.model.dropout, config.model.source
    return *(getattr(config, name) for name in names), config.data.called, config.training.optimizer, model


def _same(config: TrainingConfig) -> tuple[Any, ...]:
    """What decides the time of a step."""
    samples = trained(config.data, config.model)[1]
    return config.model, config.data.called, _kind(config), _batch(config, samples), config.training.compile


def _work(config: TrainingConfig) -> float:
    parameters, samples = trained(config.data, config.model)
    return float(parameters * _batch(config, samples))


def throwaway(config: TrainingConfig) -> Setup:
    """Network and loss on random data of the right shapes; on data of the user's as they are."""
    if config.data.source is not None:
        return build(config, task(config.data, config.dtype))
    shape, outputs, samples = shapes(config.data)
    count = min(samples, THROWAWAY)
    random, dtype = torch.Generator().manual_seed(0), getattr(torch, config.dtype)
    x = torch.randn(count, *shape, generator=random, dtype=dtype)
    classes = is_classification(config.data)
    y = (
        torch.randint(outputs, (count,), generator=random)
        if classes
        else torch.randn(count, outputs, generator=random, dtype=dtype)
    )
    data = Task(config.data.name, "", "classification" if classes else "regression", (x, y), None, outputs, "")
    return build(config, data)


def _step(setup: Setup, config: TrainingConfig) -> float:
    """Median seconds of a step of all replicas; of a large batch a part is timed."""
    from thalweg.training import train

    stamps: list[float] = []

    def stamp(*_: torch.Tensor) -> Mapping[str, torch.Tensor]:
        stamps.append(time.perf_counter())
        if len(stamps) > 3 and stamps[-1] - stamps[0] > ENOUGH:
            raise _EnoughError
        return {}

    batch = _batch(config, trained(config.data, config.model)[1])
    part = min(batch, setup.objective.samples, max(64, TOGETHER_SAMPLES // config.replicas))
    whole = config.training.batch_size is None
    objective = setup.objective.subset(torch.arange(part)) if whole else setup.objective
    recipe = Recipe(
        **{name: getattr(config.training, name) for name in ("optimizer", "momentum", "betas", "compile")},
        lr=1e-9,  # steps of no length: nothing diverges on data that are noise
        batch_size=None if whole else part,
        steps=MOST_STEPS,
        record=Cadence(every=2, unit="log"),
        metrics=Cadence(every=1, unit="step"),
    )
    with suppress(_EnoughError):
        train(objective, None, recipe, replicas=config.replicas, recording=MemoryRecording(), observe=stamp)
    return float(np.median(np.diff(stamps)[1:])) * batch / part


def _sample(objective: Objective, config: TrainingConfig) -> float:
    """Seconds of the loss and accuracy of one replica on one sample, of all replicas together."""
    some = objective.subset(torch.arange(min(objective.samples, 2 * PASS_SAMPLES)))
    theta = some.initial(config.replicas, 0)
    return shortest(lambda: some.metrics(theta)) / some.samples / config.replicas


def _pass(objective: Objective, name: str, samples: int) -> float:
    """Seconds for a sample of one pass of one θ over so many samples: timed on few if they take long, else on more."""
    seconds = 0.0
    for most in (PASS_SAMPLES, THROWAWAY):
        count = min(most, samples, objective.samples)
        some = objective.subset(torch.arange(count))
        theta = some.initial(TOGETHER, 0)
        work: dict[str, Callable[[], object]] = {
            "value": lambda some=some, theta=theta: some.value(theta),
            "gradient": lambda some=some, theta=theta: some.gradient(theta[0]),
            "hvp": lambda some=some, theta=theta: some.hvp(theta[0], theta[1]),
        }
        seconds = shortest(work[name]) / count / (TOGETHER if name == "value" else 1)
        if seconds * count > SHORT or count == min(samples, objective.samples):
            break
    return seconds


def shortest(work: Callable[[], object]) -> float:
    """The shorter of two times: the first one pays for what is made once."""
    found = []
    for _ in range(2):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found)

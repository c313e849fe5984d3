"""The parts of a run that take time, as a configuration knows them before anything is computed. Data only.

A configuration's ``stages()`` lists them under the names by which the run keeps them: of a recording, or of a result.
:mod:`~thalweg.experiments.framework.costs` measures what one step or one pass of each costs here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

__all__ = ["Other", "Passes", "Stage", "Training"]

Config = TypeVar("Config", bound=BaseModel)
"""A configuration of one training, `shared.training.TrainingConfig`, which stands above this module."""


@dataclass(frozen=True)
class Training(Generic[Config]):
    """The training of all replicas of one network, with what is evaluated at the recorded steps.

    Args:
        name: Of its recording.
        config: How it is trained.
        evaluated: Whether training and test data are evaluated at the recorded steps.
    """

    name: str
    config: Config
    evaluated: bool = True


@dataclass(frozen=True)
class Passes(Generic[Config]):
    """Measurements in float64: how many passes of one θ over the data they are, all replicas together.

    Args:
        name: Of the result.
        config: The network and the data.
        values: Passes that need the loss only; many θ at once.
        gradients: Passes that need its gradient too, one θ at a time.
        products: Products of the Hessian with a vector, one at a time.
        samples: Samples of a pass; None is all training samples.
        precise: Whether the numbers are float64; else they are those of training.
    """

    name: str
    config: Config
    values: float = 0
    gradients: float = 0
    products: float = 0
    samples: int | None = None
    precise: bool = True


@dataclass(frozen=True)
class Other:
    """Anything else, timed or known.

    Args:
        name: Of the result.
        seconds: Measures it on a throwaway copy.
    """

    name: str
    seconds: Callable[[], float]


Stage = Training[Any] | Passes[Any] | Other

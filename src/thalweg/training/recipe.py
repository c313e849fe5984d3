"""How to train: optimiser, schedule, batches, length, and what is recorded when. Data only, read without torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from thalweg.configured import Configured
from thalweg.errors import InputError

__all__ = ["Cadence", "Recipe"]

DEFAULT_EPOCHS = 100

MOST_POINTS = 10_000_000
"""Recorded steps that are listed beforehand."""

LONGEST = 1_000_000_000
"""Steps or epochs: at a millisecond each, such a training takes twelve days."""

_USED_BY = {  # fields that only some optimisers or schedules know, and these
    "momentum": ("optimizer", ("momentum", "nesterov", "rmsprop")),
    "betas": ("optimizer", ("adam", "adamw")),
    "eps": ("optimizer", ("adam", "adamw", "rmsprop")),
    "smoothing": ("optimizer", ("rmsprop",)),
    "final": ("schedule", ("cosine", "linear")),
    "gamma": ("schedule", ("step", "exponential")),
    "decay_epochs": ("schedule", ("step", "exponential")),
    "stop_loss": ("stop", ("loss",)),
    "stop_patience": ("stop", ("fitted", "loss")),
    "stop_every": ("stop", ("fitted", "loss")),
}
_CONFIG = ConfigDict(
    frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True, validate_default=True
)


class Cadence(Configured):
    """At which steps something is recorded; the first step (0) and the last always are.

    >>> Cadence(every=4, unit="step").steps(total=10, per_epoch=5)
    [0, 4, 8, 10]
    >>> Cadence(every=6, unit="log").steps(total=1000, per_epoch=1)
    [0, 1, 6, 32, 178, 1000]
    """

    model_config = _CONFIG

    every: int = Field(default=1, ge=1)
    """Distance in steps or epochs; for unit log: the number of points, spaced evenly in the logarithm of the step."""

    unit: Literal["step", "epoch", "log"] = "epoch"
    """What `every` counts."""

    @model_validator(mode="after")
    def _few(self) -> Cadence:
        if self.unit == "log" and self.every > MOST_POINTS:
            raise InputError(f"every must be at most {MOST_POINTS:,} points with unit log, found {self.every:,}")
        return self

    def steps(self, total: int, per_epoch: int) -> list[int]:
        """All recorded steps of a training of `total` steps, ascending."""
        if self.unit == "log":
            gaps = max(1, self.every - 2)
            if gaps > 2 * total * (1 + math.log(total + 1)):  # points closer than steps: every step is one
                return list(range(total + 1))
            points = [round(total ** (i / gaps)) for i in range(gaps + 1)] if total else []
            return sorted({0, total, *points})
        return sorted({*range(0, total + 1, self._distance(per_epoch)), total})

    def count(self, total: int, per_epoch: int) -> int:
        """How many steps are recorded at most, without listing them."""
        if self.unit == "log":
            return min(total, max(self.every, 2)) + 1
        return min(total, total // self._distance(per_epoch) + 1) + 1

    def test(self, total: int, per_epoch: int) -> Callable[[int], bool]:
        """Returns a function that tells whether a step is recorded."""
        if self.unit == "log":
            return set(self.steps(total, per_epoch)).__contains__
        distance = self._distance(per_epoch)
        return lambda step: step % distance == 0 or step == total

    def _distance(self, per_epoch: int) -> int:
        return self.every * (per_epoch if self.unit == "epoch" else 1)


class Recipe(Configured):
    """How replicas are trained.

    Every offered optimiser works element by element, so that a hundred stacked replicas are trained exactly as each
    would be alone.

    Raises:
        InputError: A value that is not allowed, an unknown field, two fields that contradict each other.

    >>> Recipe(optimizer="sgd", lr=0.1, steps=500).total_steps(per_epoch=10)
    500
    >>> Recipe(epochs=3).total_steps(per_epoch=10)
    30
    >>> Recipe(optimizer="sgd", momentum=0.9)
    Traceback (most recent call last):
        ...
    thalweg.errors.InputError: momentum applies to optimizer momentum, nesterov or rmsprop only, found optimizer 'sgd'
    """

    model_config = _CONFIG

    optimizer: Literal["sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop"] = "adam"
    """Optimiser, as in torch.optim: plain SGD, SGD with (Nesterov) momentum, Adam, AdamW, RMSprop."""

    lr: float = Field(default=1e-3, gt=0)
    """Learning rate before the schedule."""

    momentum: float | None = Field(default=None, ge=0, lt=1)
    """Momentum of momentum, nesterov (default 0.9) and rmsprop (default 0)."""

    betas: tuple[float, float] | None = None
    """Decay rates of Adam's and AdamW's averages; default 0.9 0.999."""

    eps: float | None = Field(default=None, gt=0)
    """Added to the denominator of Adam, AdamW and RMSprop; default 1e-8."""

    smoothing: float | None = Field(default=None, ge=0, lt=1)
    """RMSprop's decay rate of the mean square (alpha); default 0.99."""

    weight_decay: float = Field(default=0.0, ge=0)
    """As in torch.optim: added to the gradient, for AdamW decoupled from it. The objective's l2 comes on top."""

    batch_size: int | Literal["given"] | None = None
    """Samples per step; None is the full batch; "given" takes the batches of a list or DataLoader as they are."""

    epochs: int | None = Field(default=None, ge=0, le=LONGEST)
    """Passes over the data; give this or `steps`; default 100."""

    steps: int | None = Field(default=None, ge=0, le=LONGEST)
    """Updates; give this or `epochs`."""

    schedule: Literal["constant", "cosine", "step", "linear", "exponential"] = "constant"
    """Learning rate over time. Cosine and linear fall to `final` at the last step; the others decay by `gamma`."""

    warmup: int = Field(default=0, ge=0)
    """Steps over which the learning rate first rises linearly."""

    final: float | None = Field(default=None, ge=0)
    """Cosine, linear: the last learning rate as a share of `lr`; default 0."""

    gamma: float | None = Field(default=None, gt=0)
    """Step, exponential: factor after every `decay_epochs`; default 0.1."""

    decay_epochs: int | None = Field(default=None, ge=1)
    """Step, exponential: epochs per factor `gamma`; exponential decays smoothly in between; default 30."""

    clip: float | None = Field(default=None, gt=0)
    """Greatest gradient norm of each replica; longer gradients are scaled down to it."""

    stop: Literal["fitted", "loss"] | None = None
    """When a replica stops before the last step: fitted, once every training sample is classified right; loss, once the
    training loss (without any penalty) is at most `stop_loss`; None: never. The others go on, itself it stays as it is.
    The schedule is that of the full length."""

    stop_loss: float | None = Field(default=None, ge=0)
    """Stop loss: the bound, such as the 0.01 at which networks are compared by Jiang et al. 2020."""

    stop_patience: int | None = Field(default=None, ge=1)
    """Stop: looks in a row that must find it; default 1."""

    stop_every: int | None = Field(default=None, ge=1)
    """Stop: epochs between two looks, each a pass over the training data in evaluation mode; default 1."""

    record: Cadence = Cadence()
    """When the weights, and the metrics of the evaluated data, are recorded."""

    metrics: Cadence | None = None
    """When loss and gradient norm of the training step itself are recorded; default: with the weights."""

    compile: bool = False
    """Compile the loss with torch.compile: costs half a minute at the start, pays off for long trainings only."""

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        for field, (chooser, users) in _USED_BY.items():
            if getattr(self, field) is not None and getattr(self, chooser) not in users:
                listed = f"{', '.join(users[:-1])} or {users[-1]}" if len(users) > 1 else users[0]
                raise InputError(
                    f"{field} applies to {chooser} {listed} only, found {chooser} {getattr(self, chooser)!r}"
                )
        if self.stop == "loss" and self.stop_loss is None:
            raise InputError("stop_loss must be a number for stop 'loss', found None")
        if self.epochs is not None and self.steps is not None:
            raise InputError(
                f"epochs and steps exclude each other, found {self.epochs} and {self.steps}; None unsets one"
            )
        if isinstance(self.batch_size, int) and self.batch_size < 1:
            raise InputError(f"batch_size must be at least 1, found {self.batch_size}")
        if self.betas is not None and not all(0 <= beta < 1 for beta in self.betas):
            raise InputError(f"betas must be in [0, 1), found {self.betas}")
        if self.optimizer == "nesterov" and self.momentum == 0:
            raise InputError("momentum must be greater than 0 for optimizer nesterov, found 0.0")
        if self.steps is not None and self.warmup > self.steps:
            raise InputError(f"warmup must be at most steps ({self.steps}), found {self.warmup}")
        return self

    def total_steps(self, per_epoch: int) -> int:
        """Number of updates.

        Args:
            per_epoch: Updates in one pass over the data.
        """
        if self.steps is not None:
            return self.steps
        return (DEFAULT_EPOCHS if self.epochs is None else self.epochs) * per_epoch

    def lr_at(self, step: int, per_epoch: int) -> float:
        """The learning rate of update `step` (0-based): a function of the step alone, so that resuming is exact.

        Cosine: Loshchilov & Hutter 2017, eq. 5, without restarts.

        Args:
            step: The update.
            per_epoch: Updates in one pass over the data.

        >>> recipe = Recipe(lr=1.0, steps=10, schedule="linear")
        >>> [round(recipe.lr_at(step, 1), 2) for step in (0, 5, 10)]
        [1.0, 0.5, 0.0]
        """
        if step < self.warmup:
            return self.lr * (step + 1) / (self.warmup + 1)
        if self.schedule == "constant":
            return self.lr
        if self.schedule in ("cosine", "linear"):
            length = max(1, self.total_steps(per_epoch) - self.warmup)
            done = min(1.0, (step - self.warmup) / length)
            left = (1 + math.cos(math.pi * done)) / 2 if self.schedule == "cosine" else 1 - done
            final = self.final or 0.0
            return self.lr * (final + (1 - final) * left)
        gamma = 0.1 if self.gamma is None else self.gamma
        periods = step / (per_epoch * (30 if self.decay_epochs is None else self.decay_epochs))
        return self.lr * gamma ** (periods if self.schedule == "exponential" else math.floor(periods))

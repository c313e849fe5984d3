"""When a replica has learnt enough, and what is evaluated of it then: the same whatever runs beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.training.recipe import Recipe

__all__ = ["Look", "Stopping"]

Buffers = Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Look:
    """What a look at the training data has found.

    Args:
        metrics: Of the replicas that still train, name -> (A,).
        positions: Which of these have learnt enough.
        reason: The rule, for their status.
    """

    metrics: Mapping[str, Tensor]
    positions: tuple[int, ...]
    reason: str


class Stopping:
    """Which replicas have learnt enough, and what is evaluated of all while they train and once they have stopped.

    Args:
        recipe: Its rule; None stops nobody.
        objective: The training data.
        evaluate: What is recorded with the weights. What a look finds is recorded too, in the columns of the entries
            that are the objective itself.
        replicas: R.
        per_epoch: Steps of an epoch.

    Raises:
        InputError: The rule needs an accuracy, and the objective has none.

    Attributes:
        ends: Whether training ends once no replica is left.
    """

    def __init__(
        self, recipe: Recipe, objective: Objective, evaluate: Mapping[str, Objective], replicas: int, per_epoch: int
    ) -> None:
        if recipe.stop == "fitted" and "accuracy" not in objective.metric_functions:
            raise InputError("stop must be 'loss' or None for an objective without the metric accuracy, found 'fitted'")
        self.ends = recipe.stop is not None
        self._recipe, self._objective, self._evaluate = recipe, objective, evaluate
        self._distance = (recipe.stop_every or 1) * per_epoch
        self._streak = torch.zeros(replicas, dtype=torch.int64)  # looks in a row that found enough
        self._kept: dict[str, Tensor] = {}  # name -> (R,): metrics at the weights at which a replica stopped

    def look(self, step: int, theta: Tensor, buffers: Buffers, alive: Tensor) -> Look | None:
        """Evaluates the training data at θ (A, P) of the replicas `alive` (A,), at the steps that have a look."""
        if not self.ends or step % self._distance:
            return None
        found, rows = _metrics(self._objective, theta, buffers), alive.cpu()
        if self._recipe.stop == "fitted":
            accuracy = found["accuracy"]
            # One wrong sample of N costs 1/N; a mean over chunks of samples may miss 1 by rounding.
            enough = accuracy >= 1 - max(0.5 / self._objective.samples, 4 * torch.finfo(accuracy.dtype).eps)
            reason = "stopped: every training sample is classified right"
        else:
            enough = found["loss"] <= float(self._recipe.stop_loss or 0.0)
            reason = f"stopped: the training loss is at most {self._recipe.stop_loss:g}"
        streak = torch.where(enough.cpu(), self._streak[rows] + 1, 0)
        self._streak[rows] = streak
        positions = (streak >= (self._recipe.stop_patience or 1)).nonzero().flatten()
        return Look(found, tuple(positions.tolist()), reason)

    def scores(
        self, theta: Tensor, buffers: Buffers, alive: Tensor, look: Look | None, *, every: bool
    ) -> dict[str, Tensor]:
        """What is recorded of the evaluated data, name_metric -> (A,): `every` objective, or what the look has found.

        Where a replica stops all are evaluated, and its metrics are kept.
        """
        known = {} if look is None else {name: one for name, one in self._evaluate.items() if one is self._objective}
        stops = [] if look is None else list(look.positions)
        out: dict[str, Tensor] = {}
        for name, objective in (self._evaluate if every or stops else known).items():
            found = look.metrics if look is not None and name in known else _metrics(objective, theta, buffers)
            out |= {f"{name}_{metric}": values for metric, values in found.items()}
        for name, values in out.items() if stops else ():
            if name not in self._kept:
                self._kept[name] = torch.full((len(self._streak),), float("nan"), dtype=values.dtype)
            self._kept[name][alive[stops].cpu()] = values[stops].cpu()
        return out

    def spread(self, name: str, values: Tensor | None, alive: Tensor, like: Tensor) -> Tensor:
        """Values of the replicas `alive` as those of all (R,): what was kept of those that stopped, NaN for others."""
        kept = self._kept.get(name)
        if kept is None:
            out = torch.full((len(self._streak),), float("nan"), dtype=like.dtype, device=like.device)
        else:
            out = kept.to(like.device, like.dtype, copy=True)
        if values is not None:
            out[alive] = values.to(out.dtype)
        return out

    def state(self) -> dict[str, Tensor]:
        """All that a resumed training needs."""
        if not self.ends:
            return {}
        return {"stop/streak": self._streak, **{f"stop/kept/{name}": values for name, values in self._kept.items()}}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from what `state` returned."""
        if self.ends:
            self._streak = state["stop/streak"].clone()
            kept = {name: values for name, values in state.items() if name.startswith("stop/kept/")}
            self._kept = {name.removeprefix("stop/kept/"): values.clone() for name, values in kept.items()}


def _metrics(objective: Objective, theta: Tensor, buffers: Buffers) -> dict[str, Tensor]:
    own = buffers if objective.batchnorm == "frozen" else {}
    return objective.metrics(theta.to(objective.device, objective.dtype), own)

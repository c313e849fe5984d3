"""Losses and metrics of outputs that are already there, for many parameter sets at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from thalweg.objective import Objective
from thalweg.objective.stacking import pytree_rows
from thalweg.objective.targets import accuracy, right

__all__ = ["scores"]


def scores(
    objective: Objective, names: Sequence[str], output: Any, target: Any, *, samples_last: bool = False
) -> dict[str, Tensor]:
    """The data loss ("loss") and metrics on one batch.

    Args:
        objective: Whose loss and metrics.
        names: "loss" or names of the objective's metrics.
        output: Leaves (B, N, …); with `samples_last` one tensor (B, C, N).
        target: The batch's.
        samples_last: Spares the common losses a transposed copy.

    Returns:
        name -> (B,).
    """
    out: dict[str, Tensor] = {}
    plain = isinstance(target, Tensor) and not target.is_floating_point() and samples_last and target.dim() == 1
    rows: list[Any] | None = None
    for name in names:
        function = objective.program.loss if name == "loss" else objective.metric_functions[name]
        if plain and name == "loss" and objective.loss_kind == "cross_entropy":
            each = F.cross_entropy(output, target.expand(len(output), -1), reduction="none")
            out[name] = each.sum(1) / (target != -100).sum()  # torch's ignore_index
        elif plain and function is accuracy:
            out[name] = right(output, target).mean(1)
        elif samples_last and name == "loss" and objective.loss_kind == "mse":
            out[name] = (output - target.mT).square().flatten(1).mean(1)
        else:
            rows = rows or list(pytree_rows(output.mT if samples_last else output))
            out[name] = torch.stack([function(one, target) for one in rows])
    return out

"""What a training asks of memory and of its precision, compared before its first step."""

from __future__ import annotations

import torch
from torch import Tensor

from thalweg.errors import InputError
from thalweg.limits import check_memory
from thalweg.runs import MemoryRecording, Recording
from thalweg.training.recipe import Recipe

__all__ = ["check_sizes"]

COPIES = 6
"""θ of all replicas, its gradient, two averages of the optimiser, and what waits to be written."""


def check_sizes(recipe: Recipe, l2: float, theta: Tensor, recording: Recording, *, total: int, per_epoch: int) -> None:
    """Refuse numbers that the precision does not have, and sizes that memory does not hold.

    Args:
        recipe: How it is trained and recorded.
        l2: Of the objective.
        theta: The start (R, P).
        recording: Where to; what is recorded in memory must fit there.
        total: Number of steps.
        per_epoch: Steps of an epoch.

    Raises:
        InputError: One does.
    """
    largest = torch.finfo(theta.dtype).max
    for name, value in (("l2", l2), *recipe):
        if isinstance(value, float) and value > largest:
            dtype = str(theta.dtype).removeprefix("torch.")
            raise InputError(f"{name} must be at most {largest:.4g} in {dtype}, found {value:g}")
    replicas, count = theta.shape
    words = f"{replicas:,} of {count:,} parameters in training"
    check_memory("replicas", words, COPIES * theta.nbytes)
    if isinstance(recording, MemoryRecording):
        often = recipe.record.count(total, per_epoch)
        words = f"{recipe.record.every:,}: {often:,} snapshots of {theta.numel():,} numbers"
        check_memory("record.every of a recording without a folder", words, often * theta.nbytes)

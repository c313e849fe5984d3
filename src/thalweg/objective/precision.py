"""In which precision numbers were computed, in words: an estimate in half precision is not one in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from thalweg.objective.objective import Objective

__all__ = ["computed_in", "precision"]

_LOWER = {torch.finfo(dtype).eps: name for name, dtype in (
    ("float32", torch.float32), ("float16", torch.float16), ("bfloat16", torch.bfloat16))}  # fmt: skip


def precision(objective: Objective, dtype: torch.dtype | None = None) -> str:
    """The dtype of an objective, and the lower precision to which something inside casts (autocast, ``.half()``).

    Args:
        objective: The loss.
        dtype: In which it is evaluated; default its own.

    >>> from torch import nn
    >>> from thalweg.objective import Objective
    >>> objective = Objective(nn.Linear(1, 1), nn.MSELoss(), (torch.ones(2, 1), torch.ones(2, 1)))
    >>> precision(objective), precision(objective.double())
    ('float32', 'float64')
    """
    dtype = dtype or objective.dtype
    name, own = str(dtype).removeprefix("torch."), torch.finfo(dtype).eps
    found = objective.epsilon(dtype)
    return name if found <= own else f"{name}, in part {_LOWER.get(found, 'less')}"


def computed_in(precision: str) -> str:
    """A sentence to append where the precision is not float64 throughout.

    >>> computed_in("float64"), computed_in("bfloat16")
    ('', ' It was computed in bfloat16.')
    """
    return "" if precision == "float64" else f" It was computed in {precision}."

"""What a loss and a metric return: one number."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from thalweg.errors import InputError

__all__ = ["check_scalar", "number"]


def number(name: str, value: Any, like: Tensor) -> Tensor:
    """A metric's value as a tensor without axes."""
    found = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
    if isinstance(value, Tensor) and value.numel() == 1:
        return value.to(like).reshape(())
    try:
        return torch.tensor(float(value), dtype=like.dtype, device=like.device)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"metric '{name}' must return a number (the mean over the batch), found {found}") from None


def check_scalar(loss: Tensor) -> None:
    """Raises InputError unless a loss is one number."""
    if not isinstance(loss, Tensor) or loss.numel() != 1 or loss.dim() > 0:
        found = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        raise InputError(f"loss must return a scalar tensor (the mean over the batch), found shape {found}")

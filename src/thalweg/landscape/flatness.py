"""Why a picture is flat: a constant is as often a fault of the picture as a property of the loss."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from thalweg.errors import InputError
from thalweg.landscape.measures import AT_THETA
from thalweg.objective import Objective

__all__ = ["flat_value", "why_flat"]


def flat_value(values: np.ndarray, eps: float) -> float | None:
    """The value of numbers that are equal within rounding; None if they are not, or if fewer than two are finite.

    >>> flat_value(np.array([2.0, 2.0, np.nan]), 1e-7), flat_value(np.array([2.0, 2.1]), 1e-7)
    (2.0, None)
    """
    finite = values[np.isfinite(values)]
    if finite.size < 2:
        return None
    size = float(np.abs(finite).max())
    return float(finite.flat[0]) if float(finite.max()) - float(finite.min()) <= 4 * eps * size else None


def why_flat(objective: Objective, theta: Tensor, far: Tensor, name: str, label: str, values: np.ndarray) -> str:
    """A sentence on a picture without relief; empty if it has one.

    Args:
        objective: What is drawn.
        theta: (P,), a point of the picture.
        far: (B, P), the points farthest from it.
        name: The quantity, as :func:`thalweg.landscape.surface` knows it.
        label: What it is called here.
        values: All its values.
    """
    eps = torch.finfo(objective.dtype).eps
    value = flat_value(values, eps)
    if value is None:
        return ""
    finite = values[np.isfinite(values)]
    within = "" if float(finite.min()) == float(finite.max()) else " within rounding"
    said = f"{finite.size} of {values.size} values of {label} are the same number{within}, {value:.6g}"
    dtype = str(objective.dtype).removeprefix("torch.")
    moving = (far != theta).any(0)
    if not bool(moving.any()):
        return f"{said}: the steps are below the rounding of {dtype} at these weights, every place is the same θ."
    gradient = _gradient(objective, theta)
    if gradient is not None and not bool(gradient[moving].any()):
        return (
            f"{said}: the loss has no gradient with respect to any weight that moves "
            "(dead units, weights that the output does not use, or a loss that is constant)."
        )
    if name != "loss" and name not in AT_THETA:
        return f"{said}: it does not change within this range, although the loss has a gradient."
    return f"{said}: it changes by less than the rounding of {dtype} within this range; a wider one shows more."


def _gradient(objective: Objective, theta: Tensor) -> Tensor | None:
    """∇L without the penalty, None where there is none."""
    try:
        found = objective.gradient(theta) - objective.l2 * theta
    except (InputError, RuntimeError):
        return None
    return found if bool(found.isfinite().all()) else None

"""What instruments take from a caller: an objective, θ in any form, several objectives by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from thalweg.errors import InputError
from thalweg.objective.objective import Objective

__all__ = ["as_objective", "as_objectives", "as_theta", "as_vector", "floating", "same_shape"]


def as_objective(value: Any, name: str = "objective") -> Objective:
    """The objective that was given.

    Raises:
        InputError: Something else.
    """
    if isinstance(value, Objective):
        return value
    hint = ": make thalweg.Objective(model, loss, data) of it" if isinstance(value, nn.Module) else ""
    raise InputError(f"{name} must be a thalweg.Objective, found {type(value).__name__}{hint}")


def as_objectives(value: Any, alone: str, name: str = "objective") -> dict[str, Objective]:
    """Objectives of one network by name; a single one is called `alone`.

    Raises:
        InputError: Something else, none at all, or networks with different parameters.
    """
    if not isinstance(value, Mapping):
        return {alone: as_objective(value, name)}
    named = {key: as_objective(one, f"{name}['{key}']") for key, one in value.items()}
    if not named:
        raise InputError(f"{name} must be an objective or several by name, found none")
    first = next(iter(named.values()))
    for key, one in named.items():
        if one.layout != first.layout:
            raise InputError(f"{name}['{key}'] must be on the same parameters as the first one, found another layout")
    return named


def as_theta(objective: Any, value: Any, name: str = "theta") -> Tensor:
    """θ (…, P) of an objective: a tensor as it is, anything else as `Objective.as_theta` reads it.

    Raises:
        InputError: No objective, or no θ of it.
    """
    return as_objective(objective).as_theta(value, name)


def as_vector(objective: Any, value: Any, name: str = "theta") -> Tensor:
    """One θ (P,); as `as_theta`.

    Raises:
        InputError: No objective, no θ of it, or several.
    """
    theta = as_theta(objective, value, name)
    if theta.dim() != 1:
        raise InputError(f"{name} must be one vector of shape ({objective.size},), found {tuple(theta.shape)}")
    return theta


def same_shape(theta_a: Tensor, theta_b: Tensor) -> None:
    """Checks the two ends of a line.

    Raises:
        InputError: Other leading axes.
    """
    if theta_a.shape != theta_b.shape:
        raise InputError(
            f"theta_a and theta_b must have the same shape, found {tuple(theta_a.shape)} and {tuple(theta_b.shape)}"
        )


def floating(value: Any, name: str) -> Tensor:
    """A floating-point tensor where no objective is there to read names: arrays and lists of numbers as well.

    Raises:
        InputError: Something that is no array of numbers.
    """
    if isinstance(value, nn.Module | Mapping | Objective | str | bytes) or value is None or callable(value):
        raise InputError(f"{name} must be a tensor or an array, found {type(value).__name__}")
    try:  # numbers of Python have the precision of float64, which torch.as_tensor would not keep
        tensor = value if isinstance(value, Tensor) else torch.from_numpy(np.array(value))
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name} must be a tensor or an array, found {type(value).__name__}") from error
    if not tensor.is_floating_point():
        raise InputError(f"{name} must hold real floating-point numbers, found {tensor.dtype}")
    return tensor

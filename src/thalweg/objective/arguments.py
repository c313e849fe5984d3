"""What instruments take from a caller: an objective, θ in any form, several objectives by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from thalweg.errors import InputError
from thalweg.objective.copying import plain
from thalweg.objective.layout import ParameterLayout
from thalweg.objective.naming import Names, theta_of
from thalweg.objective.objective import Objective

__all__ = ["as_objective", "as_objectives", "as_theta", "as_thetas", "as_vector", "floating", "same_shape"]


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
    """Objectives by name; a single one is called `alone`.

    Raises:
        InputError: Something else, or none at all.
    """
    if not isinstance(value, Mapping):
        return {alone: as_objective(value, name)}
    named = {str(key): as_objective(one, f"{name}['{key}']") for key, one in value.items()}
    if not named:
        raise InputError(f"{name} must hold at least one objective, found none")
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


def as_thetas(values: Mapping[str, Any], objective: Objective | None = None) -> dict[str, Tensor]:
    """Several θ (…, P) of one network, where no objective need be there to say which.

    Args:
        values: By the names of the arguments: tensors or arrays; models, whose trainable parameters are taken by the
            names of the first one; with an objective whatever it takes.
        objective: Says which names are θ; a state_dict, in which buffers look like parameters, needs it or a model.

    Raises:
        InputError: Something else, or models of different architectures.
    """
    if objective is not None:
        return {name: as_theta(objective, value, name) for name, value in values.items()}
    model = next((value for value in values.values() if isinstance(value, nn.Module)), None)
    if model is None:
        lone = next((name for name, value in values.items() if isinstance(value, Mapping)), None)
        if lone is not None:
            raise InputError(f"{lone} must be a tensor or a model where no objective is given, found a state_dict")
        return {name: floating(value, name) for name, value in values.items()}
    model = plain(model)
    layout = ParameterLayout.of(model)
    names, first = Names.of(model, layout), model.get_parameter(layout.names[0])
    out = {name: theta_of(names, value, name, first.device, first.dtype) for name, value in values.items()}
    for name, value in out.items():
        layout.check(value, name)
    return out


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
    if not isinstance(value, Tensor | np.ndarray | np.generic | list | tuple | float | int):
        raise InputError(f"{name} must be a tensor or an array, found {type(value).__name__}")
    try:  # numbers of Python have the precision of float64, which torch.as_tensor would not keep
        tensor = value if isinstance(value, Tensor) else torch.from_numpy(np.array(value))
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name} must be a tensor or an array, found {type(value).__name__}") from error
    if not tensor.is_floating_point():
        raise InputError(f"{name} must hold real floating-point numbers, found {tensor.dtype}")
    return tensor

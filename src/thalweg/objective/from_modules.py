"""Instruments straight from modules: ``minimal_ratio(model, loss, data)`` makes the objective itself."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from torch import nn

from thalweg.errors import InputError, brief
from thalweg.objective.objective import Objective

__all__ = ["from_modules"]

Function = TypeVar("Function", bound=Callable[..., Any])


def from_modules(models: int = 1) -> Callable[[Function], Function]:
    """A decorator: a function of (objective, theta, …) then takes (model, loss, data, …) as well.

    The objective is made of the first model as it is, in its own precision; theta is the weights of each.

    Args:
        models: How many models stand in place of the objective and its thetas; with two, both keep their buffers.

    Raises:
        InputError: A model without loss and data.
    """

    def decorate(function: Function) -> Function:
        takes_buffers = "buffers" in inspect.signature(function).parameters

        @functools.wraps(function)
        def either(*args: Any, **kwargs: Any) -> Any:
            if not args or not isinstance(args[0], nn.Module):
                return function(*args, **kwargs)
            networks, (loss, data), rest = _parts(args, kwargs, models)
            objective = Objective(networks[0], loss, data)
            if models > 1 and takes_buffers:
                own = tuple(dict(network.named_buffers()) or None for network in networks)
                kwargs.setdefault("buffers", own)
            thetas = [objective.ravel(dict(network.named_parameters())) for network in networks]
            return function(objective, *thetas, *rest, **kwargs)

        return cast("Function", either)

    return decorate


def _parts(args: tuple[Any, ...], kwargs: dict[str, Any], models: int) -> tuple[list[Any], list[Any], list[Any]]:
    """Models, loss and data, and what is left; loss and data may have been given by name."""
    networks, rest = list(args[:models]), list(args[models:])
    for place, network in enumerate(networks, 1):
        if not isinstance(network, nn.Module):
            raise InputError(f"argument {place} must be a model like the first, found {brief(network)}")
    needed = []
    for name in ("loss", "data"):
        if name not in kwargs and not rest:
            raise InputError(f"after {_count(models)} must come loss and data, found no {name}")
        needed.append(kwargs.pop(name) if name in kwargs else rest.pop(0))
    return networks, needed, rest


def _count(models: int) -> str:
    return "the model" if models == 1 else f"{models} models"

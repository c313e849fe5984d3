"""Other tensors in the place of a module's parameters and buffers, for a while."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

__all__ = ["Place", "places", "state", "swapped", "uncounted"]

Place = tuple[dict[str, Any], str, str]  # where a tensor is registered, under which key, and its name


def places(model: nn.Module) -> list[Place]:
    """Every place in which a parameter or buffer is registered; tied ones have one name in all of their places.

    `torch.func.functional_call` leaves the new tensors behind in a module that has two parents; this does not.
    """
    names = {id(one): name for name, one in (*model.named_parameters(), *model.named_buffers())}
    return [
        (registry, key, names[id(one)])
        for module in model.modules()
        for registry in (module._parameters, module._buffers)
        for key, one in registry.items()
        if one is not None
    ]


@contextmanager
def swapped(where: list[Place], values: Mapping[str, Tensor]) -> Iterator[None]:
    """Puts values in, by name, and what was there back afterwards."""
    kept = [(registry, key, registry.get(key)) for registry, key, _ in where]
    try:
        for registry, key, name in where:
            if name in values:
                registry[key] = values[name]
        yield
    finally:
        for registry, key, one in kept:
            registry[key] = one


def state(thing: object) -> dict[str, object]:
    """The numbers that an object keeps as plain attributes: a counter, say."""
    own = getattr(thing, "__dict__", {})
    return {name: value for name, value in own.items() if isinstance(value, int | float)}


@contextmanager
def uncounted(model: nn.Module) -> Iterator[None]:
    """Puts the numbers back that a forward pass counts in plain attributes, so that L stays one function."""
    kept = [(module, state(module)) for module in model.modules()]
    try:
        yield
    finally:
        for module, numbers in kept:
            vars(module).update(numbers)

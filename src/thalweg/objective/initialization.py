"""Draws initial parameters of replicas by the modules' own rules, each replica from its own seed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from thalweg.errors import InputError
from thalweg.limits import check_memory
from thalweg.objective.copying import plain
from thalweg.objective.layout import ParameterLayout
from thalweg.objective.seeds import replica_seed
from thalweg.objective.surroundings import own_numbers


def initial_theta(
    maker: nn.Module | Callable[[], nn.Module], layout: ParameterLayout, replicas: int, seed: int, first: int
) -> Tensor:
    """Returns θ (R, P) on the CPU.

    Args:
        maker: A model to re-initialise (it is changed), or a function that makes a fresh one.
        layout: Places the parameters in θ.
        replicas: R.
        seed: The experiment's seed.
        first: Number of the first replica.

    Raises:
        InputError: A parameter belongs to a module that cannot be re-initialised, or θ cannot fit in the memory.
    """
    _check_size(replicas, layout)
    reset = _resetter(maker, layout) if isinstance(maker, nn.Module) else maker
    rows = []
    with own_numbers():
        for replica in range(first, first + replicas):
            torch.manual_seed(replica_seed(seed, replica, "init"))
            model = reset()
            if not isinstance(model, nn.Module):
                raise InputError(f"init must return a torch.nn.Module, found {type(model).__name__}")
            rows.append(layout.ravel({name: p.detach().cpu() for name, p in plain(model).named_parameters()}).clone())
    return torch.stack(rows)


def _check_size(replicas: int, layout: ParameterLayout) -> None:
    """Refuses a count that is a slip of the keyboard before hours go into drawing it."""
    needed = 2 * replicas * layout.size * torch.get_default_dtype().itemsize  # the rows, and all of them in one tensor
    check_memory("replicas", f"{replicas:,} of {layout.size:,} parameters", needed)


def _resetter(model: nn.Module, layout: ParameterLayout) -> Callable[[], nn.Module]:
    rules = []
    for module in reversed(list(model.modules())):  # children before parents, as constructors run
        rule = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
        if callable(rule):
            rules.append(rule)
    parameters = dict(model.named_parameters())
    chosen = {name: parameters[name] for name in layout.names}

    def reset() -> nn.Module:
        with torch.no_grad():
            for value in chosen.values():
                value.fill_(torch.nan)  # what no rule writes stays so, whatever module it belongs to
            for rule in rules:
                rule()
        for name, value in chosen.items():
            if bool(value.isnan().any()):
                raise InputError(f"init must be given: no reset_parameters of the model draws '{name}' anew")
        return model

    return reset

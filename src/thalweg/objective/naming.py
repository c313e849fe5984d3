"""θ out of what stands for it: a model, its state dict, an array, or a list of these; parameters are found by name.

Checkpoints are written by wrapped models (`torch.compile`, DataParallel, Lightning), so that words such as "module."
stand in front of names or inside them, and the weights may lie one level down beside an optimizer's state. Names
decide, never positions: what is missing, unexpected or of another shape is said.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from thalweg.errors import InputError
from thalweg.objective.copying import plain
from thalweg.objective.layout import ParameterLayout
from thalweg.objective.saved_names import Names, canonical, matched
from thalweg.runs.recording import Recording
from thalweg.runs.run import Run
from thalweg.runs.snapshots import Snapshots

__all__ = ["split", "theta_of"]

log = logging.getLogger("thalweg")
NESTED = ("state_dict", "model_state_dict", "model", "model_state", "module", "net", "network", "weights", "params")
SHOWN = 3  # names of a kind in a message
ACCEPTED = "a tensor, a model, a state_dict, a floating-point array, or a list of these"


def theta_of(
    names: Names, value: Any, name: str, device: torch.device, dtype: torch.dtype, unread: Iterable[str] = ()
) -> Tensor:
    """θ (…, P) of a value: a tensor as it is, an array in its own dtype, what has names in `dtype` on `device`.

    Args:
        names: Of the model that θ belongs to.
        value: A tensor or floating-point array (…, P); a model; a state dict, also one of a wrapped model, nested under
            "state_dict", "model_state_dict", "model" or the like, or with leading axes (…, *shape) for every name; a
            list or tuple of these, stacked on a new first axis.
        name: Of the argument, for messages.
        device: Where what is not a tensor is put.
        dtype: Of θ where it is joined from named parameters.
        unread: Ends of names that do not matter outside θ, such as running statistics that are computed anew.

    Raises:
        InputError: Another kind of value, or names and shapes that are not those of the model.
    """
    if isinstance(value, Tensor):
        return value
    if isinstance(value, nn.Module):
        return _joined(names, _of_module(names, value), f"{name} (a model)", tuple(unread)).to(device, dtype)
    if isinstance(value, Mapping):
        return _joined(names, _unnested(names, value), f"{name} (a state_dict)", tuple(unread)).to(device, dtype)
    if isinstance(value, np.ndarray):
        if value.dtype.kind != "f":
            raise InputError(f"{name} must hold floating-point numbers, found an array of {value.dtype}")
        return _of_array(value, name).to(device)
    if isinstance(value, list | tuple) and value and all(isinstance(one, int | float) for one in value):
        raise InputError(f"{name} must be a torch.Tensor, found {type(value).__name__} of numbers: take torch.tensor")
    if isinstance(value, list | tuple) and value:
        rows = [theta_of(names, one, f"{name}[{i}]", device, dtype, unread) for i, one in enumerate(value)]
        return _stacked(rows, name)
    empty = "an empty " if isinstance(value, list | tuple) else ""
    hint = ": take some of it, snapshots[-1] say" if isinstance(value, Snapshots | Recording | Run) else ""
    hint = ": take torch.load of it" if isinstance(value, str | os.PathLike) else hint
    raise InputError(f"{name} must be {ACCEPTED}, found {empty}{type(value).__name__}{hint}")


def _of_array(value: np.ndarray, name: str) -> Tensor:
    """A copy of an array, which may be reversed, in another byte order, or of more digits than torch has."""
    try:
        return torch.tensor(value.astype(value.dtype.newbyteorder("="), order="C"))
    except TypeError:
        raise InputError(f"{name} must hold numbers of a precision that torch has, found {value.dtype}") from None


def _of_module(names: Names, module: nn.Module) -> dict[str, Tensor]:
    """Its parameters, and of its buffers those that the objective's model has too: a forward pass may leave others."""
    module = plain(module)
    buffers = {name: value for name, value in module.named_buffers() if name in names.outside}
    return {**buffers, **dict(module.named_parameters(remove_duplicate=False))}


def _stacked(rows: list[Tensor], name: str) -> Tensor:
    shapes = {(tuple(row.shape), row.dtype, row.device) for row in rows}
    if len(shapes) > 1:
        first, second = sorted(f"{shape} {dtype} on {device}" for shape, dtype, device in shapes)[:2]
        raise InputError(f"{name} must list values of one shape, dtype and device, found {first} and {second}")
    return torch.stack(rows)


def _joined(names: Names, values: Mapping[Any, Any], name: str, unread: tuple[str, ...]) -> Tensor:
    theta, outside = split(names, values, name)
    _say_unread(names, outside, name, unread)
    return theta


def split(
    names: Names, values: Mapping[Any, Any], name: str, ignored: Sequence[str] = ()
) -> tuple[Tensor, dict[str, Any]]:
    """θ (…, P) of a state dict, in its own dtype, and what else of the model it holds: name -> value.

    Args:
        names: Of the model.
        values: name -> value, on one level.
        name: Of the argument, for messages.
        ignored: Regular expressions of unexpected names that do not matter.

    Raises:
        InputError: Names that are missing or unexpected, or other shapes than the model's.
    """
    keys, rest, stray = matched(names, values, name)
    stray = [one for one in stray if not any(re.search(pattern, one) for pattern in ignored)]
    layout, chosen, wrong = names.layout, {}, []
    for own, shape in zip(layout.names, layout.shapes, strict=True):
        if own not in keys:
            continue
        value = values[keys[own][0]]
        value = _of_array(value, f"{name}['{own}']") if isinstance(value, np.ndarray) else value
        if isinstance(value, Tensor) and value.layout != torch.strided:
            value = value.to_dense()
        fault = _fault(value, shape)
        if fault:
            wrong.append(f"'{own}' {fault}")
        else:
            chosen[own] = value.detach()
    missing = [f"'{own}' {shape}" for own, shape in zip(layout.names, layout.shapes, strict=True) if own not in keys]
    parts = [
        f"{word} {_few(found)}"
        for word, found in (("missing", missing), ("unexpected", stray), ("misshapen:", wrong))
        if found
    ]
    if parts:
        raise InputError(f"{name} must have the parameters of the objective's model, found {'; '.join(parts)}")
    for own, found in keys.items():
        for other in found[1:]:
            if not _equal(torch.as_tensor(values[other]), chosen[own]):
                raise InputError(f"{name} must hold one value for the tied '{own}', found another under '{other}'")
    leads = {own: tuple(value.shape[: value.dim() - len(_shape(layout, own))]) for own, value in chosen.items()}
    if len(set(leads.values())) > 1:
        first, second = sorted({lead: own for own, lead in leads.items()}.items())[:2]
        raise InputError(
            f"{name} must have the same leading axes for all names, found {first[0]} for '{first[1]}' and "
            f"{second[0]} for '{second[1]}'"
        )
    dtype = max((value.dtype for value in chosen.values()), key=lambda one: torch.finfo(one).bits)
    device = next(iter(chosen.values())).device
    theta = layout.ravel({own: value.to(device, dtype) for own, value in chosen.items()})
    return theta, {own: values[key] for own, key in rest.items()}


def _shape(layout: ParameterLayout, name: str) -> tuple[int, ...]:
    return layout.shapes[layout.names.index(name)]


def _fault(value: Any, shape: tuple[int, ...]) -> str:
    """What is wrong with the value of one parameter; empty if nothing is."""
    if not isinstance(value, Tensor):
        return f"is {type(value).__name__}"
    if isinstance(value, nn.UninitializedParameter):
        return "is lazy: call the model on a batch once before"
    if value.is_meta:
        return "is on the meta device, without numbers"
    if not value.is_floating_point():
        return f"is {str(value.dtype).removeprefix('torch.')}"
    cut = value.dim() - len(shape)
    if cut < 0 or tuple(value.shape[cut:]) != shape:
        return f"of shape {tuple(value.shape)} instead of {shape}"
    return ""


def _equal(one: Tensor, other: Tensor) -> bool:
    """Whether two values are the same numbers; of a training that diverged, NaN in the same places."""
    return one.shape == other.shape and torch.allclose(one.to(other), other, rtol=0, atol=0, equal_nan=True)


def _few(found: list[str]) -> str:
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(one if len(one) < 80 else f"{one[:76]}…'" for one in found[:SHOWN]) + more


def _unnested(names: Names, value: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """The part of a checkpoint that holds the parameters."""
    for _ in range(3):
        if any(isinstance(one, Tensor | np.ndarray) for one in value.values()):
            return value  # names and tensors: nothing lies deeper
        inner = [value[key] for key in NESTED if isinstance(value.get(key), Mapping | nn.Module)]
        if not inner:
            return value
        parts: list[Mapping[Any, Any]] = [
            _of_module(names, one) if isinstance(one, nn.Module) else one for one in inner
        ]
        value = next((part for part in parts if _fits(names, part)), parts[0])
    return value


def _fits(names: Names, value: Mapping[Any, Any]) -> bool:
    last = canonical(next(iter(names.aliases)))
    return any(isinstance(key, str) and canonical(key).endswith(last) for key in value)


def _say_unread(names: Names, values: Mapping[str, Any], name: str, unread: tuple[str, ...]) -> None:
    """A warning where a model or checkpoint differs from the objective's in what θ does not hold."""
    other = []
    for own, found in values.items():
        value = names.outside[own]
        if not isinstance(found, Tensor) or not value.is_floating_point() or own.endswith(unread or ("\n",)):
            continue
        readable = found.shape == value.shape and not (found.is_meta or value.is_meta)
        if readable and found is not value and not _equal(found.detach(), value.detach()):
            other.append(f"'{own}'")
    if other:
        log.warning(
            "%s differs from the objective's model in what theta does not hold (%s): the values of the objective's "
            "model are used; objective.with_buffers takes over buffers",
            name,
            _few(other),
        )

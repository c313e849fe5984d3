"""What an objective demands of its arguments, each said in one sentence."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from thalweg.declared import precision, real, whole
from thalweg.errors import InputError, brief, first_line, nearest
from thalweg.objective.normalization import POLICIES

log = logging.getLogger("thalweg")


def arguments(
    model: Any, loss: Any, loss_on: Any, l2: float, batchnorm: Any, batch_size: int | None, memory: int | None
) -> None:
    """Checks what can be checked without evaluating anything."""
    if not isinstance(model, nn.Module):
        raise InputError(f"model must be a torch.nn.Module, found {type(model).__name__}")
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        raise InputError(
            "model must be made of plain modules, whose parameters can be replaced, found torch.jit: pass the module "
            "that was scripted or traced"
        )
    if not callable(loss):
        raise InputError(f"loss must be callable, found {type(loss).__name__}")
    if isinstance(loss, type) and issubclass(loss, nn.Module):
        raise InputError(f"loss must be a module that was made, found the class {loss.__name__}: {loss.__name__}()")
    material("model", model)
    material("loss", loss)
    one_of("loss_on", loss_on, ("output", "batch"))
    policy(batchnorm)
    penalty(l2)
    if batch_size is not None:
        whole("batch_size", batch_size, 1)
    if memory is not None and memory < 1:
        raise InputError(f"memory must be a positive number of bytes, found {memory}")


def material(name: str, module: Any) -> None:
    """Checks that a module has numbers: large models are made on the meta device and filled later."""
    if not isinstance(module, nn.Module):
        return
    held = [*module.named_parameters(), *module.named_buffers()]
    empty = [key for key, value in held if value.is_meta]
    if empty:
        raise InputError(
            f"{name} must hold numbers, found {len(empty)} of {len(held)} parameters and buffers on the meta device, "
            f"first '{empty[0]}': fill it (model.to_empty(device=…), then load_state_dict)"
        )


def one_of(name: str, value: object, options: Sequence[str]) -> None:
    """Checks a choice."""
    if value not in options:
        raise InputError(f"{name} must be one of {', '.join(options)}, found '{value}'{nearest(str(value), options)}")


def policy(batchnorm: object) -> None:
    """Checks what normalisation layers shall do."""
    one_of("batchnorm", batchnorm, POLICIES)


def penalty(l2: float) -> None:
    """Checks the weight of the penalty."""
    if not 0 <= real("l2", l2) < float("inf"):
        raise InputError(f"l2 must be finite and not negative, found {l2}")


def replicas(number: int | None) -> None:
    """Checks a number of replicas."""
    if number is not None:
        whole("replicas", number, 1)


def numbers(name: str, value: Any, count: int) -> Tensor:
    """Numbers of samples (n,) of what chooses among them: numbers, a mask (N,), a slice, a range.

    Raises:
        InputError: Something else, none at all, or a number that no sample has.
    """
    if isinstance(value, slice | range):
        value = list(range(count)[value] if isinstance(value, slice) else value)
    try:
        index = torch.as_tensor(value.copy() if isinstance(value, np.ndarray) else value)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"{name} must be numbers of samples, found {brief(value)}") from None
    if index.dim() != 1 or index.dtype.is_complex or (index.is_floating_point() and index.numel()):
        kind = f"{str(index.dtype).removeprefix('torch.')} of shape {tuple(index.shape)}"
        raise InputError(f"{name} must be a list of whole numbers or a mask, found {kind}")
    if index.dtype == torch.bool:
        if len(index) != count:
            raise InputError(f"{name} must be a mask of all {count:,} samples, found one of {len(index):,}")
        index = index.nonzero()[:, 0]
    if not len(index):
        raise InputError(f"{name} must choose at least one sample, found none")
    index = index.long()
    low, high = int(index.min()), int(index.max())
    if low < 0 or high >= count:
        raise InputError(f"{name} must lie between 0 and {count - 1:,}, found {low if low < 0 else high:,}")
    return index


def buffers(given: Mapping[str, Tensor], model: nn.Module, lead: torch.Size) -> dict[str, Tensor]:
    """Buffers of each θ, name -> (*lead, *shape), checked against those of the model and as numbers of their kind."""
    if not isinstance(given, Mapping):
        raise InputError(
            f"buffers must map names to tensors (dict(model.named_buffers()), say), found {type(given).__name__}"
        )
    own = dict(model.named_buffers())
    known = {name: (*lead, *value.shape) for name, value in own.items()}
    for name, value in given.items():
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        if name in known and shape != known[name]:
            raise InputError(f"buffers must have the shape {known[name]} of theta's, found '{name}' of shape {shape}")
        if name not in known:
            found = f"found '{name}' of shape {shape}{nearest(str(name), known)}"
            some = ", ".join([*list(known)[:3], "…"][: len(known)]) or "none"
            raise InputError(f"buffers must be among those of the model ({some}), {found}")
    return {name: _converted(name, value, own[name].dtype) for name, value in given.items()}


def _converted(name: str, value: Tensor, dtype: torch.dtype) -> Tensor:
    """A buffer as numbers of the kind that the model's is: masks stay masks, counts stay counts."""
    kind = value.dtype
    counts = not (kind.is_floating_point or kind.is_complex or kind == torch.bool)
    if dtype == torch.bool:
        fits = kind == torch.bool
    elif dtype.is_floating_point or dtype.is_complex:
        fits = dtype.is_complex or not kind.is_complex
    else:
        fits = counts and torch.equal(value.to(dtype).to(kind), value)  # a narrower type may not hold them
    if not fits and value.numel():
        found = f"'{name}' of {_word(kind)} with the value {_largest(value)}"
        raise InputError(f"buffers must be of the model's kind, {_word(dtype)}, found {found}")
    return value if dtype.is_floating_point and kind.is_floating_point else value.to(dtype)


def _largest(value: Tensor) -> Any:
    flat = value.flatten().cpu()
    return flat[(flat if flat.dtype == torch.bool else flat.abs()).to(torch.float64).argmax()].item()


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def floating(dtype: torch.dtype, name: str, *, half: bool = False) -> torch.dtype:
    """Checks that a dtype carries enough digits for derivatives; half precision only where it was asked for."""
    dtype = precision(name, dtype)
    if half and dtype in (torch.bfloat16, torch.float16):
        return dtype
    if dtype not in (torch.float32, torch.float64):
        raise InputError(f"{name} must be float32 or float64, found {str(dtype).removeprefix('torch.')}")
    return dtype


def place(device: torch.device | str) -> torch.device:
    """Checks that a device holds numbers."""
    try:
        found = torch.empty(0, device=device).device
    except (RuntimeError, TypeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"device must be one of this machine, found {brief(device)}: {first_line(error)}") from None
    if found.type == "meta":
        raise InputError("device must hold numbers, found meta")
    return found


def vector(theta: Tensor, name: str, dtype: torch.dtype, device: torch.device) -> None:
    """Checks the dtype, device and state of θ or of a vector beside it."""
    if theta.requires_grad:
        raise InputError(
            f"{name} must not require gradients (derivatives are taken inside), found requires_grad=True: "
            f"pass {name}.detach()"
        )
    floating(theta.dtype, name, half=dtype.itemsize < 4)
    if dtype == torch.float32 and torch.is_autocast_enabled(device.type):
        raise InputError("torch.autocast must be off where numbers are to be those of float32, found it on")
    if theta.device != device:
        raise InputError(f"{name} must be on the objective's device {device}, found {theta.device}")
    if torch.finfo(theta.dtype).bits > torch.finfo(dtype).bits:
        raise InputError(
            f"{name} must not be more precise than the objective ({str(dtype).removeprefix('torch.')}), "
            f"found {str(theta.dtype).removeprefix('torch.')}: use objective.double()"
        )

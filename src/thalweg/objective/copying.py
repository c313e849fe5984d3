"""The private copy of a user's model: what is inside wrappers, with what autograd needs to be right.

A deep copy follows everything that holds a parameter: names, plain lists, bound methods. Functions are copied by
reference, so those that a module keeps (a `forward` that was wrapped, hooks) are made anew with the copy in their
closures; otherwise they would go on evaluating the original.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping
from types import CellType, FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _WeightNorm
from torch.nn.utils.weight_norm import WeightNorm
from torch.utils import _pytree as pytree

from thalweg.errors import InputError
from thalweg.objective.compositions import weight_norm
from thalweg.objective.stacking import as_parameter

__all__ = ["amend", "copied", "holding", "placed", "plain", "with_parameters"]

_TORCH = frozenset(vars(nn.Module()))  # what every module has; its hooks are looked at one by one
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def plain(model: nn.Module) -> nn.Module:
    """The module inside `torch.compile` and (Distributed)DataParallel, whose parameter names have no prefix."""
    while True:
        compiled = getattr(model, "_orig_mod", None)
        if isinstance(compiled, nn.Module):
            model = compiled
        elif isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        else:
            return model


def copied(model: nn.Module, instead: Mapping[int, Any] | None = None) -> nn.Module:
    """A deep copy, also of a model that keeps results of its last forward pass (which torch refuses to copy).

    Args:
        model: Is not changed. What it keeps that cannot be copied (a lock, an open file) is shared with the copy.
        instead: id of an object -> what takes its place in the copy, everywhere: other parameters, say.

    Raises:
        InputError: The model cannot be copied.
    """
    kept = pytree.tree_leaves([vars(module) for module in model.modules()])
    known = {id(one): one.detach().clone() for one in kept if isinstance(one, Tensor) and not one.is_leaf}
    known |= instead or {}
    try:
        memo: dict[int, Any] = dict(known)
        new = copy.deepcopy(model, memo)
    except Exception:  # noqa: BLE001 - whatever a stranger's attribute raises, it is looked for below
        memo = {**known, **_uncopyable(model, known)}
        try:
            new = copy.deepcopy(model, memo)
        except Exception as error:
            raise InputError(
                f"model must be a module that copy.deepcopy can copy, found {type(model).__name__}: {error}"
            ) from error
    for module in new.modules():
        _rebind(module, memo)
    for old in model.parameters():
        if vars(old) and id(old) in memo and memo[id(old)] is not old:
            vars(memo[id(old)]).update(vars(old))  # marks such as `p.no_decay`, which a deep copy forgets
    return new


def holding(model: nn.Module, values: Mapping[str, Tensor]) -> nn.Module:
    """A copy of a model with these parameters and buffers wherever it keeps its own; what it has beside them is copied.

    Args:
        model: Is not changed.
        values: Name -> what the copy shall hold, itself and not a copy; other parameters and buffers are shared.
    """
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return copied(model, {id(value): values.get(name, value) for name, value in own.items()})


def with_parameters(model: nn.Module, values: Mapping[str, Tensor]) -> nn.Module:
    """A deep copy of a model with other parameters in the places of its own.

    Args:
        model: Is not changed.
        values: Name -> value, which becomes a parameter of the same class, with the same marks on it.
    """
    own = dict(model.named_parameters())
    new = {id(own[name]): as_parameter(value, own[name], own[name].requires_grad) for name, value in values.items()}
    return copied(model, new)


def _uncopyable(model: nn.Module, known: Mapping[int, Any]) -> dict[int, Any]:
    """What modules keep beside tensors and modules that no copy can be made of: id -> the object itself."""
    out: dict[int, Any] = {}
    for module in model.modules():
        for name, value in vars(module).items():
            parts = value.values() if name in _HOOKS else () if name in _TORCH else (value,)
            for part in parts:
                try:
                    copy.deepcopy(part, dict(known))
                except Exception:  # noqa: BLE001 - any failure means the same
                    out[id(part)] = part
    return out


def _rebind(module: nn.Module, memo: dict[int, Any]) -> None:
    """Makes the functions that a copied module keeps refer to the copy; removes compilation."""
    for name, child in list(module._modules.items()):
        if child is not None and isinstance(getattr(child, "_orig_mod", None), nn.Module):
            module._modules[name] = plain(child)
    for name, value in list(vars(module).items()):
        if name in _HOOKS:
            for key, hook in list(value.items()):
                value[key] = _moved(hook, memo)
        elif name not in _TORCH:
            moved = _moved(value, memo)
            if moved is not value and type(value) is list:  # closures may hold the same list
                value[:] = moved
            elif moved is not value and type(value) is dict:
                value.update(moved)
            else:
                vars(module)[name] = moved


def _moved(value: Any, memo: dict[int, Any], depth: int = 4) -> Any:
    """A value in which the copies stand for the originals; the value itself where it refers to none."""
    if id(value) in memo:
        return memo[id(value)]
    value = getattr(value, "_torchdynamo_orig_callable", value)
    if depth == 0:
        return value
    move = functools.partial(_moved, memo=memo, depth=depth - 1)
    if isinstance(value, MethodType):
        own = move(value.__self__)
        return value if own is value.__self__ else MethodType(value.__func__, own)
    if isinstance(value, functools.partial):
        return functools.partial(
            move(value.func), *map(move, value.args), **{name: move(one) for name, one in value.keywords.items()}
        )
    if type(value) in (list, tuple):
        parts = [move(one) for one in value]
        return value if all(a is b for a, b in zip(parts, value, strict=True)) else type(value)(parts)
    if type(value) is dict:
        items = {key: move(one) for key, one in value.items()}
        return value if all(items[key] is value[key] for key in value) else items
    return _moved_function(value, memo, move) if isinstance(value, FunctionType) else value


def _moved_function(function: FunctionType, memo: dict[int, Any], move: Callable[[Any], Any]) -> FunctionType:
    """A function whose closure and defaults hold the copies; itself where there are none."""
    cells = tuple(CellType() for _ in function.__closure__ or ())
    made = FunctionType(function.__code__, function.__globals__, function.__name__, None, cells or None)
    memo[id(function)] = made  # for a closure that holds the function itself
    changed = False
    for old, new in zip(function.__closure__ or (), cells, strict=True):
        try:
            content = old.cell_contents
        except ValueError:  # a name that has no value yet
            continue
        new.cell_contents = move(content)
        changed = changed or not (new.cell_contents is content or content is function)
    made.__defaults__, made.__kwdefaults__ = move(function.__defaults__), move(function.__kwdefaults__)
    made.__dict__.update(function.__dict__)
    changed = changed or made.__defaults__ is not function.__defaults__
    if changed or made.__kwdefaults__ is not function.__kwdefaults__:
        return made
    del memo[id(function)]
    return function


def placed(model: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """A copy of a model on a device in a dtype; complex buffers stay complex, where `Module.to` drops a part."""
    complex_dtype = torch.complex128 if dtype == torch.float64 else torch.complex64

    def move(value: Tensor) -> Tensor:
        if value.is_complex():
            return value.to(device, complex_dtype)
        return value.to(device, dtype) if value.is_floating_point() else value.to(device)

    return copied(model)._apply(move)


def amend(model: nn.Module) -> None:
    """Changes a private copy so that autograd's gradients are dense and its second derivatives right."""
    for module in model.modules():
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            module.sparse = False
        elif type(module) is _WeightNorm:
            module.__class__ = _ExactWeightNorm
        for hook in module._forward_pre_hooks.values():
            if type(hook) is WeightNorm:
                hook.__class__ = _ExactWeightNormHook


class _ExactWeightNorm(_WeightNorm):
    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return weight_norm(weight_v, weight_g, self.dim)


class _ExactWeightNormHook(WeightNorm):
    def compute_weight(self, module: nn.Module) -> Tensor:
        return weight_norm(getattr(module, f"{self.name}_v"), getattr(module, f"{self.name}_g"), self.dim)

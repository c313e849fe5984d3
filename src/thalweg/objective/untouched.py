"""A user's own model is evaluated once, beside its copy, and must be afterwards exactly what it was before.

What a forward pass may change is followed from the modules on: attributes, entries of containers at any depth, what
hooks and closures hold, gradients, tensors and arrays that are no parameters, and random generators. Iterators cannot
be turned back; files, locks and what works with them (queues, writers) are left alone, as a deep copy shares them.
"""

from __future__ import annotations

import io
import random
import threading
import types
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["untouched"]

_ATOMS = (str, bytes, int, float, complex, type(None), type, types.ModuleType, torch.dtype, torch.device, torch.Size)
# What holds one of these belongs to other threads or to the system as well: a queue, a pool, the writer of a log.
_SHARED = (type(threading.Lock()), type(threading.RLock()), threading.Thread, io.IOBase)
Undo = Callable[[], None]


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Puts everything back that the block changes in a model.

    >>> model = nn.Linear(2, 1)
    >>> model.seen = {"norms": [1.0]}
    >>> with untouched(model):
    ...     model.seen["norms"].append(2.0)
    >>> model.seen
    {'norms': [1.0]}
    """
    undo: list[Undo] = []
    seen: dict[int, Any] = {}
    waiting: list[Any] = [model]
    while waiting:
        one = waiting.pop()
        if isinstance(one, _ATOMS) or id(one) in seen:
            continue
        seen[id(one)] = one  # kept, so that no other object gets its id
        inside, back = _looked_into(one)
        undo.extend(back)
        waiting.extend(inside)
    try:
        yield
    finally:
        for back in undo:
            back()


def _looked_into(one: Any) -> tuple[list[Any], list[Undo]]:
    """What an object holds directly, and what puts it back."""
    if isinstance(one, Tensor):
        return _tensor(one)
    if isinstance(one, np.ndarray):
        return [], [partial(_filled, one, one.copy())]
    if isinstance(one, torch.Generator):
        return [], [partial(_again, one, one.get_state())]
    if isinstance(one, random.Random):
        return [], [partial(one.setstate, one.getstate())]
    if isinstance(one, np.random.Generator):
        return [], [partial(setattr, one.bit_generator, "state", one.bit_generator.state)]
    inside: list[Any] = []
    undo: list[Undo] = []
    if isinstance(one, dict):
        entries = dict(one)
        inside, undo = list(entries.values()), [partial(_mapped, one, entries)]
    elif isinstance(one, list | deque | set):
        content = list(one)
        inside, undo = list(content), [partial(_listed, one, content)]
    elif isinstance(one, tuple | frozenset):
        inside = list(one)
    elif isinstance(one, types.MethodType):
        inside = [one.__self__, one.__func__]
    elif isinstance(one, partial):
        inside = [one.func, *one.args, *one.keywords.values()]
    elif isinstance(one, types.FunctionType):
        cells = [(cell, _content(cell)) for cell in one.__closure__ or ()]
        inside = [*(value for _, found in cells for value in found), one.__defaults__, one.__kwdefaults__]
        undo = [partial(setattr, cell, "cell_contents", found[0]) for cell, found in cells if found]
    own, slots = getattr(one, "__dict__", None), list(_slots(one))
    if isinstance(own, dict):
        if not isinstance(one, nn.Module) and any(isinstance(value, _SHARED) for value in own.values()):
            return [], []
        inside.append(own)  # a dict as any other
    for name, value in slots:
        inside.append(value)
        undo.append(partial(_set, one, name, value))
    return inside, undo


def _tensor(one: Tensor) -> tuple[list[Any], list[Undo]]:
    """A parameter keeps its numbers (a model that writes into them is refused); other tensors are filled again."""
    undo: list[Undo] = []
    if one.is_leaf and not one.is_inference():
        undo.append(partial(_graded, one, one.requires_grad, one.grad, None if one.grad is None else one.grad.clone()))
    strided = one.layout == torch.strided and not one.is_nested and not one.is_meta
    if not isinstance(one, nn.Parameter) and strided:
        undo.append(partial(_filled, one.data, one.detach().clone()))
    return [getattr(one, "__dict__", None)], undo


def _graded(one: Tensor, requires: bool, gradient: Tensor | None, before: Tensor | None) -> None:
    one.requires_grad_(requires)
    one.grad = gradient
    if gradient is not None and before is not None:
        _filled(gradient, before)


def _filled(one: Any, before: Any) -> None:
    """Only where something changed: a map of read-only memory cannot be written."""
    if isinstance(one, Tensor):
        if one.shape == before.shape and not torch.equal(one, before):
            with torch.no_grad():
                one.copy_(before)
    elif one.shape == before.shape and one.flags.writeable:
        one[...] = before


def _again(generator: torch.Generator, state: Tensor) -> None:
    generator.set_state(state)


def _mapped(one: dict[Any, Any], before: dict[Any, Any]) -> None:
    if list(one) != list(before) or any(one[key] is not value for key, value in before.items()):
        one.clear()
        one.update(before)


def _listed(one: Any, before: list[Any]) -> None:
    now = list(one)
    if len(now) != len(before) or any(a is not b for a, b in zip(now, before, strict=True)):
        one.clear()
        one.update(before) if isinstance(one, set) else one.extend(before)


def _content(cell: types.CellType) -> list[Any]:
    try:
        return [cell.cell_contents]
    except ValueError:  # a name that has no value yet
        return []


def _slots(one: Any) -> Iterator[tuple[str, Any]]:
    for kind in type(one).__mro__:
        for name, member in vars(kind).items():
            if isinstance(member, types.MemberDescriptorType) and kind.__module__ != "builtins":
                try:
                    yield name, member.__get__(one, kind)
                except AttributeError:  # empty
                    continue


def _set(one: Any, name: str, value: Any) -> None:
    with suppress(AttributeError, TypeError):  # read-only, and so the same as before
        object.__setattr__(one, name, value)

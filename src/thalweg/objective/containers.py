"""Batches of any structure: one traversal finds the tensors of a batch and makes the same batch of others.

Dicts, lists, tuples and named tuples are made anew. Any other object that holds tensors (a dataclass, a `UserDict`, a
graph) is copied by `copy.copy`, without calling its constructor, and its attributes are replaced in the copy. What
holds no tensor stays as it is, and nothing that the user made is ever changed.
"""

from __future__ import annotations

import copy
import dataclasses
import types
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils.data import DataLoader, Dataset

from thalweg.errors import InputError

__all__ = [
    "Column",
    "Leaf",
    "arguments",
    "as_tensor",
    "entered",
    "fresh",
    "holds",
    "is_record",
    "leaves",
    "mapped",
    "rebuilt",
    "some",
    "unwound",
]

Leaf = Any  # a Tensor of any layout, a PackedSequence or a Column: what the traversal hands over in one piece
_Memo = dict[int, tuple[Any, Any]]  # id -> (object, its copy): objects that refer to each other
_ATOMS = frozenset({type(None), str, bytes, bool, int, float, complex, slice, type(...), torch.dtype, torch.device})
_CLOSED = (nn.Module, Dataset, DataLoader, type, types.ModuleType, types.FunctionType, types.MethodType)
_NUMBERS = frozenset("biufc")  # kinds of numpy dtypes that are numbers
_WIDER = {"uint16": np.int32, "uint32": np.int64, "uint64": np.int64}  # torch computes with none of them
_COPYING = ("__copy__", "__reduce__", "__reduce_ex__", "__getstate__")


class Column(list[Any]):
    """What the samples of a batch carry beside tensors (texts, file names): a list with one entry per sample."""


def leaves(batch: Any) -> list[Leaf]:
    """The tensors, packed sequences and columns of a batch, in the order of the traversal.

    >>> [leaf.shape[0] for leaf in leaves({"x": torch.zeros(3, 2), "note": "text", "pair": (torch.zeros(5), None)})]
    [3, 5]
    """
    found: list[Leaf] = []

    def collect(leaf: Leaf) -> Leaf:
        found.append(leaf)
        return leaf

    mapped(collect, batch)
    return found


def rebuilt(batch: Any, new: list[Leaf]) -> Any:
    """The batch with other leaves in the places of its own, in the order of `leaves`."""
    rest: Iterator[Leaf] = iter(new)
    return mapped(lambda _: next(rest), batch)


def fresh(batch: Any) -> Any:
    """The same tensors in containers of their own, from which a function of the user's may take entries away."""
    return mapped(lambda leaf: leaf, batch)


def mapped(function: Callable[[Leaf], Leaf], batch: Any, other: Callable[[Any], Any] | None = None) -> Any:
    """The batch with `function` of every leaf in its place; numpy arrays of numbers come as tensors.

    Args:
        function: Leaf -> what takes its place.
        batch: Of any structure.
        other: What has no tensors in it (a text, a number, a list of texts as a whole) -> what takes its place.

    >>> mapped(lambda leaf: leaf + 1, {"x": torch.zeros(2), "names": ["a", "b"]})
    {'x': tensor([1., 1.]), 'names': ['a', 'b']}
    """
    with unwound():
        return _mapped(function, batch, other, {})


@contextmanager
def unwound() -> Iterator[None]:
    """Says of data that contain themselves what Python says after a thousand turns."""
    try:
        yield
    except RecursionError:
        raise InputError(
            "data must end somewhere, found a container that holds itself (a dict, list or deque among its own entries)"
        ) from None


def _mapped(function: Callable[[Leaf], Leaf], batch: Any, other: Callable[[Any], Any] | None, memo: _Memo) -> Any:
    kind = type(batch)
    if isinstance(batch, Tensor) or kind is PackedSequence or kind is Column:
        return function(batch)
    if kind in _ATOMS:
        return batch if other is None else other(batch)
    if other is not None and not holds(batch):
        return other(batch)
    if kind is tuple:
        return tuple([_mapped(function, one, other, memo) for one in batch])
    if kind is list:
        return [_mapped(function, one, other, memo) for one in batch]
    if kind is dict:
        return {key: _mapped(function, value, other, memo) for key, value in batch.items()}
    if isinstance(batch, np.ndarray):
        return function(as_tensor(batch)) if batch.dtype.kind in _NUMBERS else batch
    if not holds(batch):
        return batch
    return entered(batch, lambda value: _mapped(function, value, other, memo), memo)


def entered(batch: Any, inner: Callable[[Any], Any], memo: _Memo) -> Any:
    """One container, or an object as one, with `inner` of what it holds directly."""
    if type(batch) is dict:
        return {key: inner(value) for key, value in batch.items()}
    if isinstance(batch, tuple):
        return _tuple(batch, inner)
    if isinstance(batch, deque):
        return deque([inner(one) for one in batch], batch.maxlen)
    if isinstance(batch, types.MappingProxyType):
        return types.MappingProxyType({key: inner(value) for key, value in batch.items()})
    if id(batch) not in memo:
        memo[id(batch)] = batch, _copy(batch)
        _replace(*memo[id(batch)], inner)
    return memo[id(batch)][1]


def _tuple(batch: tuple[Any, ...], inner: Callable[[Any], Any]) -> tuple[Any, ...]:
    values = [inner(one) for one in batch]
    kind: Any = type(batch)
    if hasattr(kind, "_make"):
        return kind._make(values)
    if hasattr(kind, "n_sequence_fields"):  # what torch's own functions return
        return kind(values)
    new = tuple.__new__(kind, values)
    for name, value in getattr(batch, "__dict__", {}).items():
        vars(new)[name] = inner(value)
    return new


def _copy(batch: Any) -> Any:
    """A shallow copy, for which no constructor runs."""
    kind = type(batch)
    if not isinstance(batch, dict | list) and not any(_defined(kind, name) for name in _COPYING):
        try:
            new = object.__new__(kind)
        except TypeError:  # one of a kind that is not made in Python
            new = None
        if new is not None:
            for name, value in _attributes(batch):
                _set(new, name, value)
            return new
    try:
        new = copy.copy(batch)
    except Exception as error:
        raise InputError(
            f"data must be made of objects that copy.copy can copy, found {kind.__name__} ({error})"
        ) from error
    if new is batch:
        raise InputError(f"data must be made of objects that copy.copy copies, found {kind.__name__} itself")
    return new


def _defined(kind: type, name: str) -> bool:
    """Whether a class has a method of its own for what every object has."""
    return getattr(kind, name, None) is not getattr(object, name, None)


def _set(batch: Any, name: str, value: Any) -> None:
    if hasattr(type(batch), name) and name not in getattr(batch, "__dict__", ()):
        object.__setattr__(batch, name, value)  # a slot, of a frozen dataclass perhaps
    else:
        vars(batch)[name] = value


def _replace(batch: Any, new: Any, inner: Callable[[Any], Any]) -> None:
    """Replaces what a shallow copy holds; an entry of it that is an attribute as well stays the same thing."""
    source, entries = new, {}
    if isinstance(batch, dict):
        source = batch
        for key, value in batch.items():
            new[key] = entries[id(value)] = inner(value)
    elif isinstance(batch, list):
        source = batch
        new[:] = [inner(value) for value in batch]
    for name, value in list(_attributes(source)):
        changed = entries[id(value)] if id(value) in entries else inner(value)
        if changed is not value:
            _set(new, name, changed)


def _attributes(batch: Any) -> Iterator[tuple[str, Any]]:
    """Name and value of everything that an object has of its own, in its `__dict__` and in slots."""
    yield from getattr(batch, "__dict__", {}).items()
    for kind in type(batch).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name, member in _members(kind, slots):
            try:
                yield name, member.__get__(batch, kind)  # not getattr, which a class may answer itself
            except AttributeError:  # empty
                continue


def _members(kind: type, slots: Any) -> Iterator[tuple[str, Any]]:
    for slot in (slots,) if isinstance(slots, str) else slots:
        private = slot.startswith("__") and not slot.endswith("__")
        name = f"_{kind.__name__.lstrip('_')}{slot}" if private else slot
        if isinstance(kind.__dict__.get(name), types.MemberDescriptorType):
            yield name, kind.__dict__[name]


def is_record(batch: Any) -> bool:
    """Whether an object is nothing but named values: a mapping, a dataclass, a class of attrs, a namespace."""
    kind = type(batch)
    named = dataclasses.is_dataclass(kind) or hasattr(kind, "__attrs_attrs__")
    return named or isinstance(batch, Mapping | types.SimpleNamespace)


def some(batch: Any, wanted: Callable[[Any], bool], seen: set[int] | None = None) -> bool:
    """Whether there is something wanted in a container, or in a record in it; other objects are not looked into."""
    seen = set() if seen is None else seen
    if type(batch) in _ATOMS or id(batch) in seen:
        return False
    seen.add(id(batch))
    if wanted(batch):
        return True
    if isinstance(batch, dict | types.MappingProxyType):
        entries = list(batch.values())
    else:
        entries = list(batch) if isinstance(batch, list | tuple | deque) else []
    entries += [value for _, value in _attributes(batch)] if is_record(batch) else []
    return any(some(one, wanted, seen) for one in entries)


def holds(batch: Any) -> bool:
    """Whether there is a tensor somewhere in a batch, or an array in a container of known kind."""
    return _holds(batch, set(), True)


def _holds(batch: Any, seen: set[int], arrays: bool) -> bool:
    if isinstance(batch, Tensor | PackedSequence | Column):
        return True
    if isinstance(batch, np.ndarray):
        return arrays and batch.dtype.kind in _NUMBERS
    if type(batch) in _ATOMS or isinstance(batch, _CLOSED) or id(batch) in seen:
        return False
    seen.add(id(batch))
    if isinstance(batch, dict | types.MappingProxyType) and any(_holds(one, seen, arrays) for one in batch.values()):
        return True
    if isinstance(batch, list | tuple | deque) and any(_holds(one, seen, arrays) for one in batch):
        return True
    # The arrays of an object of another library (a table, a sparse matrix) are its own affair.
    arrays = is_record(batch)
    return any(_holds(value, seen, arrays) for _, value in _attributes(batch))


def as_tensor(array: np.ndarray) -> Tensor:
    """A tensor of a numpy array of numbers, of a wider type where torch cannot compute with the array's.

    >>> as_tensor(np.array([1, 2, 3], dtype=np.uint16)[::-1])
    tensor([3, 2, 1], dtype=torch.int32)
    """
    kind: Any = _WIDER.get(array.dtype.name, array.dtype.newbyteorder("="))
    if array.dtype.name == "uint64" and array.size and array.max() > np.iinfo(np.int64).max:
        raise InputError(f"data must be numbers below 2**63, found {array.max()} in an array of uint64")
    if array.dtype.kind in "fc" and array.dtype.itemsize > (8 if array.dtype.kind == "f" else 16):
        kind = np.float64 if array.dtype.kind == "f" else np.complex128
    array = array.astype(kind, copy=False)
    plain = array.flags.c_contiguous and array.flags.writeable
    return torch.from_numpy(array if plain else array.copy())


def arguments(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What a model is called with: a mapping by keyword, a tuple or list of tensors by position, all else as it is."""
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    several = isinstance(inputs, tuple | list) and not isinstance(inputs, PackedSequence | Column) and holds(inputs)
    return (tuple(inputs) if several else (inputs,)), {}

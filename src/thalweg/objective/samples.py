"""The samples of a batch: counted along the first axis of its tensors, cut, picked, and put together to batches.

Texts and other things that samples carry are a `Column`, a list that is cut and picked like a tensor, so that every
text stays beside its sample. Sparse and nested tensors and packed sequences are counted, but never cut.
"""

from __future__ import annotations

from collections import UserDict, UserList, deque
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from thalweg.errors import InputError
from thalweg.objective.containers import (
    Column,
    Leaf,
    as_tensor,
    entered,
    fresh,
    holds,
    is_record,
    leaves,
    mapped,
    rebuilt,
    some,
    unwound,
)

__all__ = ["collated", "columned", "common_length", "cut", "joined", "lengths", "sample_count", "taken", "uncut"]

_COLLATE = "put the samples together in a DataLoader with a collate_fn of your own"


def lengths(batch: Any) -> set[int]:
    """The lengths of the first axes of a batch's tensors; 0 for a tensor without axes."""
    return {_length(leaf) for leaf in leaves(batch) if not isinstance(leaf, Column)}


def _length(leaf: Leaf) -> int:
    if isinstance(leaf, PackedSequence):
        return int(leaf.batch_sizes[0])
    return leaf.size(0) if leaf.dim() else 0


def sample_count(batch: Any) -> int:
    """The common length of the first axis of a batch's tensors; tensors without axes do not count."""
    found = {_length(leaf) for leaf in leaves(batch) if isinstance(leaf, PackedSequence) or _has_axes(leaf)}
    if len(found) != 1:
        raise InputError(
            "count must be given where the tensors of a batch have no common first axis, "
            f"found lengths {sorted(found)}: pass count=lambda batch: ..., the number of samples"
        )
    return found.pop()


def _has_axes(leaf: Leaf) -> bool:
    return isinstance(leaf, Tensor) and leaf.dim() > 0


def uncut(batch: Any) -> bool:
    """Whether a batch holds what cannot be cut along the samples: sparse or nested tensors, packed sequences."""
    return not all(isinstance(leaf, Column) or _has_rows(leaf) for leaf in leaves(batch))


def _has_rows(leaf: Leaf) -> bool:
    return isinstance(leaf, Tensor) and leaf.layout == torch.strided and not leaf.is_nested


def common_length(batch: Any) -> int | None:
    """The number of rows that all tensors of a batch have, or None where it has no rows that can be cut."""
    found = lengths(batch)
    return found.pop() if len(found) == 1 and not uncut(batch) else None


def columned(batch: Any, samples: int | None, *, numbers: bool = True) -> Any:
    """The batch with lists of one entry per sample as columns.

    Args:
        batch: Of any structure.
        samples: Rows of its tensors; None for a batch that has no rows.
        numbers: Whether lists of numbers become tensors; else columns as well.
    """
    if not samples:
        return batch

    memo: dict[int, tuple[Any, Any]] = {}

    def rows(entry: Any) -> bool:
        listed = isinstance(entry, list | tuple | deque | range | UserList) and not hasattr(entry, "_fields")
        return (listed or (isinstance(entry, np.ndarray) and entry.ndim > 0)) and len(entry) == samples

    def column(entry: Any) -> Any:
        if not some(entry, rows):
            return entry
        if not rows(entry):
            return entered(entry, column, memo)
        entry = entry.tolist() if isinstance(entry, np.ndarray) else list(entry)
        kinds = {type(one) for one in entry}
        if numbers and kinds <= {bool, int, float}:
            return torch.tensor(entry, dtype=torch.float64 if float in kinds else None)
        return Column(entry)

    return mapped(lambda leaf: leaf, batch, column)


def cut(batch: Any, part: slice) -> Any:
    """The part of a batch along the sample axis.

    Raises:
        InputError: The batch cannot be cut; see `uncut`.
    """

    def piece(leaf: Leaf) -> Leaf:
        if isinstance(leaf, Column):
            return Column(leaf[part])
        if not _has_rows(leaf):
            raise InputError("data must be dense tensors to be cut, found sparse or nested ones or packed sequences")
        out = leaf[part]
        if leaf.requires_grad and not torch.is_grad_enabled():  # a leaf of its own, which a loss may differentiate in
            return out.detach().clone().requires_grad_()
        return out

    return mapped(piece, batch)


def taken(batch: Any, index: Tensor) -> Any:
    """Picks samples: index (…,) -> leaves (…, *sample)."""
    flat = index.flatten()
    places = index.tolist()

    def pick(leaf: Leaf) -> Leaf:
        if isinstance(leaf, Column):
            return _entries(leaf, places)
        out = leaf.index_select(0, flat.to(leaf.device)).reshape(*index.shape, *leaf.shape[1:])
        return out.requires_grad_() if leaf.requires_grad and not out.requires_grad else out

    return mapped(pick, batch)


def _entries(column: Column, places: Any) -> Any:
    """Entries of a column at nested lists of places, in columns nested in the same way."""
    return column[places] if isinstance(places, int) else Column(_entries(column, one) for one in places)


def joined(batches: tuple[Any, ...] | list[Any]) -> Any:
    """One batch of several, one after the other along the sample axis."""
    if len(batches) == 1:
        return batches[0]
    each = [leaves(batch) for batch in batches]
    try:
        columns = list(zip(*each, strict=True))
        return rebuilt(batches[0], [_joined(column) for column in columns])
    except (RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"data must be samples of one shape, found others ({_first_line(error)}): {_COLLATE}"
        ) from None


def _joined(pieces: tuple[Leaf, ...]) -> Leaf:
    if isinstance(pieces[0], Column):
        return Column(chain.from_iterable(pieces))
    out = torch.cat(pieces)
    return out.requires_grad_() if any(one.requires_grad for one in pieces) and not out.requires_grad else out


def collated(samples: list[Any]) -> Any:
    """One batch of single samples, as a `DataLoader` makes it, and of samples that no loader takes.

    Tensors, arrays and numbers are stacked; texts and what holds no tensor become columns; None stays None; an object
    with tensors is copied, with stacked tensors inside.

    >>> collated([(torch.zeros(2), "a", 1), (torch.ones(2), "b", 0)])
    [tensor([[0., 0.],
            [1., 1.]]), ['a', 'b'], tensor([1, 0])]
    """
    with unwound():
        return _collated(samples)


def _collated(samples: list[Any]) -> Any:
    first = samples[0]
    kinds = {type(one) for one in samples}
    if isinstance(first, Tensor):
        return _stacked(samples)
    if isinstance(first, np.ndarray | np.generic) and first.dtype.kind in "biufc":
        return _stacked([as_tensor(np.asarray(one)) for one in samples])
    if kinds <= {bool, int, float}:
        return torch.tensor(samples, dtype=torch.float64 if float in kinds else None)
    if kinds == {type(None)}:
        return None
    if len(kinds) > 1:
        return Column(samples)
    if (type(first) is dict or isinstance(first, UserDict)) and all(one.keys() == first.keys() for one in samples):
        entries = {key: _collated([one[key] for one in samples]) for key in first}
        if type(first) is dict:
            return entries
        (whole := fresh(first)).update(entries)  # of the same kind, as a loader keeps it
        return whole
    if type(first) in (tuple, list) and all(len(one) == len(first) for one in samples):
        return [_collated(list(entries)) for entries in zip(*samples, strict=True)]
    return _object(samples) if holds(first) else Column(samples)


def _object(samples: list[Any]) -> Any:
    """Objects with tensors inside as one of the first's kind: its leaves stacked, what is beside them collated."""
    first = samples[0]
    if not (is_record(first) or isinstance(first, tuple | list)):
        raise InputError(
            f"data must be samples of tensors, arrays, texts and numbers, found {_name(first)}: {_COLLATE}"
        )
    each = [_apart(sample) for sample in samples]
    if len({(len(tensors), len(others)) for tensors, others in each}) > 1:
        raise InputError(f"data must be samples with the same entries, found others: {_COLLATE}")
    stacked = iter([_stacked(list(entries)) for entries in zip(*(one[0] for one in each), strict=True)])
    beside = iter([_collated(list(entries)) for entries in zip(*(one[1] for one in each), strict=True)])
    return mapped(lambda _: next(stacked), first, lambda _: next(beside))


def _apart(sample: Any) -> tuple[list[Leaf], list[Any]]:
    """The tensors of a sample, and what is beside them."""
    others: list[Any] = []

    def collect(entry: Any) -> Any:
        others.append(entry)
        return entry

    found: list[Leaf] = []

    def keep(leaf: Leaf) -> Leaf:
        found.append(leaf)
        return leaf

    mapped(keep, sample, collect)
    return found, others


def _name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__name__}"


def _stacked(samples: list[Any]) -> Tensor:
    try:
        return torch.stack(samples)
    except (RuntimeError, TypeError) as error:
        raise InputError(
            f"data must be samples of one shape, found others ({_first_line(error)}): {_COLLATE}"
        ) from None


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__

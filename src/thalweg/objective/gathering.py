"""Data as somebody has them -> batches with their sample counts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from thalweg.errors import InputError
from thalweg.objective import samples as rows
from thalweg.objective.batches import Batch, Batches, some
from thalweg.objective.containers import is_record, leaves
from thalweg.objective.ondemand import OnDemand
from thalweg.objective.reading import complete, numbered, read, steady
from thalweg.objective.samples import cut, sample_count
from thalweg.objective.tensors import check_finite, nbytes
from thalweg.progress import track

__all__ = ["gather"]


def gather(
    data: Any,
    *,
    batch_size: int | None,
    memory: int,
    count: Callable[[Batch], int] | None,
    place: Callable[[Batch], Batch],
    divisible: bool = True,
    prepare: Callable[[Batch], Batch] | None = None,
) -> Batches:
    """Turns tensors in any container, a Dataset, a DataLoader or a list of batches into `Batches`.

    Args:
        data: Tensors or arrays whose first axis is the sample, in any container, such as a tuple (input, target), with
            lists of one text or number per sample beside them; a map-style Dataset; a DataLoader; or a list of batches
            of any structure. Sparse and nested tensors, packed sequences and objects of other libraries are one batch.
        batch_size: Cuts tensors and datasets into fixed batches that are never cut further (for a loss that depends on
            the batch, such as BatchNorm in `batch` mode).
        memory: Bytes; a loader whose batches take more than half of it is read anew at every pass.
        count: Counts the samples of a batch; default: the common length of its tensors' first axis.
        place: Moves a batch to the objective's device and dtype.
        divisible: Whether tensors and datasets may be cut where no `batch_size` is given, each piece weighing as many
            samples as it has.
        prepare: What is done to a batch as it was given, before it is moved.

    Raises:
        InputError: The data are empty, differ from pass to pass, hold NaN or infinity, or their number of samples
            cannot be told.
    """
    empty = Batches((), (), False, None, count or sample_count, place, prepare=prepare)
    if isinstance(data, DataLoader):
        return _from_loader(data, memory, empty).counting()
    if isinstance(data, OnDemand):
        return data.batches(empty)
    if isinstance(data, Dataset) or (_like_dataset(data) and numbered(data)):
        if isinstance(data, IterableDataset) or not isinstance(data, Sized):
            raise InputError("data must have a length: wrap an IterableDataset in a DataLoader that ends")
        _nonempty(len(data))
        dataset: Any = data
        loader = DataLoader(dataset, batch_size=batch_size or 256, collate_fn=rows.collated)
        loaded = _from_loader(loader, memory, empty)
        if loaded.loader is not None or any(rows.uncut(batch) for batch in loaded.held):
            return loaded.counting()
        data = rows.joined(loaded.held)
    elif isinstance(data, list) or _one_batch(data):
        return _from_list(data if isinstance(data, list) else [data], empty)
    elif not (isinstance(data, tuple | Tensor | np.ndarray) or is_record(data)):
        raise InputError(
            f"data must be tensors, a Dataset, a DataLoader or a list of batches, found {type(data).__name__}"
        )
    if not leaves(data):
        raise InputError("data must hold tensors (torch.as_tensor makes them of arrays), found none")
    if rows.uncut(data):
        if batch_size is not None:
            raise InputError(
                "batch_size must be left out for sparse or nested tensors and packed sequences, which are never cut, "
                f"found {batch_size}: pass a list of batches"
            )
        return _from_list([data], empty)
    lengths = rows.lengths(data)
    if len(lengths) != 1:
        raise InputError(
            f"data must be tensors with one common first axis of samples, found lengths {sorted(lengths)}: pass [data] "
            "for one batch that is never cut"
        )
    samples = lengths.pop()
    _nonempty(samples)
    data = empty.ready(rows.columned(data, samples))
    check_finite(data, "data")
    if batch_size is None:
        if divisible:
            some([empty.count(data)])
        return replace(empty, held=(data,), counts=(samples,), divisible=divisible, count=sample_count, indexable=True)
    starts = range(0, samples, batch_size)
    held = tuple(cut(data, slice(start, start + batch_size)) for start in starts)
    counts = tuple(map(empty.count, held))
    some(counts)
    return replace(empty, held=held, counts=counts, indexable=True)


def _plain(data: Any) -> bool:
    return isinstance(data, Tensor | np.ndarray | Sequence | deque) or is_record(data)


def _like_dataset(data: Any) -> bool:
    """Whether an object of another library gives samples by number, as a `Dataset` does."""
    kind = type(data)
    return not _plain(data) and not hasattr(kind, "to") and hasattr(kind, "__getitem__") and hasattr(kind, "__len__")


def _one_batch(data: Any) -> bool:
    """Whether the data are one object of another library (a graph): its tensors need not have samples as rows."""
    whole = hasattr(type(data), "to") or not isinstance(data, Iterable) or _like_dataset(data)
    return not _plain(data) and whole and bool(leaves(data))


def _from_list(data: list[Any], empty: Batches) -> Batches:
    _nonempty(len(data))
    held, counts = [], []
    if all(isinstance(one, Tensor | np.ndarray) for one in data) and len({_form(one) for one in data}) > 1:
        raise InputError(
            "data must be a tuple where its tensors belong together (a list holds batches), found a "
            f"{type(data).__name__} of tensors of different kinds: pass tuple(data)"
        )
    for number, batch in enumerate(data):
        held.append(empty.ready(batch))
        check_finite(held[-1], f"data[{number}]")
        counts.append(_counted(empty, held[-1], f"data[{number}]"))
    return replace(empty, held=tuple(held), counts=tuple(counts)).counting()


def _from_loader(loader: DataLoader, memory: int, empty: Batches) -> Batches:
    held: list[Batch] = []
    counts: list[int] = []
    size = 0
    complete(loader)
    if isinstance(loader.dataset, Sized) and not isinstance(loader.dataset, IterableDataset):
        steady(loader.dataset)
    length = len(loader) if isinstance(loader.dataset, Sized) else None
    for given in _announced(read(loader), length):
        size += nbytes(given)
        batch = empty.ready(given)
        check_finite(batch, f"data (batch {len(counts)})")
        counts.append(_counted(empty, batch, f"data (batch {len(counts)})"))
        if size <= memory // 2:
            held.append(batch)
        else:
            held.clear()
    _nonempty(len(counts))
    fits = size <= memory // 2
    return replace(empty, held=tuple(held) if fits else (), counts=tuple(counts), loader=None if fits else loader)


def _announced(batches: Iterator[Any], length: int | None) -> Iterator[Any]:
    """The first pass over a loader, which may be long."""
    with track("reading the data, batches", total=length, start=0) as advance:
        for number, batch in enumerate(batches):
            yield batch
            advance(number + 1)


def _nonempty(length: int) -> None:
    if length == 0:
        raise InputError("data must hold at least one sample, found none")


def _counted(empty: Batches, batch: Batch, name: str) -> int:
    """What a batch counts; 0 for samples of which none counts (padding), but not for no samples."""
    count = empty.count(batch)
    if not count >= 0 or (count == 0 and not max(rows.lengths(batch), default=0)):
        raise InputError(f"{name} must hold at least one sample that counts, found {count}")
    return count


def _form(tensor: Tensor | np.ndarray) -> tuple[bool, int]:
    """What tensors that are batches of one kind have in common: floating-point or not, and the number of axes."""
    floating = tensor.is_floating_point() if isinstance(tensor, Tensor) else tensor.dtype.kind == "f"
    return floating, tensor.ndim

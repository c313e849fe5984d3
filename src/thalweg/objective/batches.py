"""Any data -> batches with their sample counts, so that a ragged last batch never counts more than its samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils.data import DataLoader, Dataset, IterableDataset

from thalweg.errors import InputError
from thalweg.objective.reading import complete, read, steady

Batch = Any  # a tensor, or any nesting of tuples, lists and dicts of tensors


@dataclass(frozen=True)
class Batches:
    """The data of an objective: batches held in memory, or a loader that is read anew at every pass.

    Args:
        held: The batches; one single batch where the data came as tensors. Empty if `loader` is given.
        counts: Number of samples in each batch.
        divisible: Whether batches may be cut along the sample axis (tensors and datasets yes; batches that the user
            made no: a contrastive loss, say, depends on them).
        loader: A loader too large to hold.
        count: Counts the samples of a batch.
        place: Moves a batch to the objective's device and dtype.
        indexable: Whether the data came as single samples (tensors, datasets), which a training may put together to
            batches of its own, however `divisible` evaluations are.
    """

    held: tuple[Batch, ...]
    counts: tuple[int, ...]
    divisible: bool
    loader: DataLoader | None
    count: Callable[[Batch], int]
    place: Callable[[Batch], Batch]
    indexable: bool = False

    sharded: ClassVar[bool] = False  # whether other processes have a part of the samples

    @property
    def samples(self) -> int:
        """N, the number of samples in one pass."""
        return sum(self.counts)

    @cached_property
    def rows(self) -> int:
        """The number of single samples that `take` chooses from, whatever `count` counts in each."""
        return sum(sample_count(batch) for batch in self.held)

    def chunks(self, size: int | None = None) -> Iterator[tuple[Batch, int]]:
        """Yields (batch, samples in it), cut to at most `size` samples where cutting is allowed."""
        if self.loader is not None:
            for batch in read(self.loader):
                yield self.place(batch), self.count(batch)
            return
        for batch, count in zip(self.held, self.counts, strict=True):
            if size is None or size >= count or not self.divisible:
                yield batch, count
                continue
            pieces = -(-count // size)
            bounds = [count * i // pieces for i in range(pieces + 1)]  # equal pieces: no tiny last one
            for start, stop in pairwise(bounds):
                yield cut(batch, slice(start, stop)), stop - start

    @property
    def held_samples(self) -> int:
        """The samples of one pass that this process has: all of them, unless the data are sharded."""
        return self.samples

    def summands(self, size: int | None = None) -> Iterator[tuple[Batch, int]]:
        """The same chunks for a sum over all samples, which `reduced` completes: of sharded data those held here."""
        return self.chunks(size)

    def reduced(self, *totals: Tensor) -> tuple[Tensor, ...]:
        """Completes sums over `summands`: adds those of the other processes where the data are sharded."""
        return totals

    def largest(self, number: int) -> int:
        """The largest of the processes' numbers where the data are sharded: for plans that all of them follow."""
        return number

    def agree(self, vector: Tensor, name: str) -> None:
        """Raises InputError where processes that share the data ask for different vectors."""

    def first(self, size: int) -> Batch:
        """A small batch for probes: the first `size` samples, or the whole first batch where it may not be cut."""
        return next(self.chunks(size))[0]

    def take(self, index: Tensor) -> Batch:
        """Picks samples: index (…,) -> leaves (…, *sample). Only for indexable data."""
        flat = index.flatten()
        return pytree.tree_map_only(
            Tensor,
            lambda leaf: leaf.index_select(0, flat.to(leaf.device)).reshape(*index.shape, *leaf.shape[1:]),
            self._joined,
        )

    @cached_property
    def _joined(self) -> Batch:
        if len(self.held) == 1:
            return self.held[0]
        return pytree.tree_map(lambda *leaves: torch.cat(leaves), *self.held)

    def inputs_only(self, inputs: Any) -> Batches:
        """Other inputs in place of the data, without targets, never cut."""
        return replace(self, held=((self.place(inputs), None),), counts=(1,), divisible=False, loader=None)

    def permuted(self, seed: int) -> Batches:
        """The same samples in another order (of samples, or of whole batches where somebody made several)."""
        if self.loader is not None:
            return self
        generator = torch.Generator().manual_seed(seed)
        if self.indexable and len(self.held) == 1:
            return replace(self, held=(self.take(torch.randperm(self.rows, generator=generator)),))
        order = torch.randperm(len(self.held), generator=generator).tolist()
        return replace(self, held=tuple(self.held[i] for i in order), counts=tuple(self.counts[i] for i in order))

    def whole(self) -> Batches:
        """The same data, never cut: for losses that depend on the batch."""
        return replace(self, divisible=False)

    def moved(self, place: Callable[[Batch], Batch]) -> Batches:
        """The same data on another device or in another dtype."""
        return replace(self, held=tuple(place(batch) for batch in self.held), place=place)


def gather(
    data: Any,
    *,
    batch_size: int | None,
    memory: int,
    count: Callable[[Batch], int] | None,
    place: Callable[[Batch], Batch],
    divisible: bool = True,
) -> Batches:
    """Turns tensors, a Dataset, a DataLoader or a list of batches into `Batches`.

    Args:
        data: A tuple of tensors (input, target) whose first axis is the sample; a map-style Dataset; a DataLoader; or
            a list of batches of any structure.
        batch_size: Cuts tensors and datasets into fixed batches that are never cut further (for a loss that depends on
            the batch, such as BatchNorm in `batch` mode).
        memory: Bytes; a loader whose batches take more than half of it is read anew at every pass.
        count: Counts the samples of a batch; default: the common length of its tensors' first axis.
        place: Moves a batch to the objective's device and dtype.
        divisible: Whether tensors and datasets may be cut where no `batch_size` is given, each piece weighing as many
            samples as it has.

    Raises:
        InputError: The data are empty, differ from pass to pass, hold NaN or infinity, or their number of samples
            cannot be told.
    """
    counter = count or sample_count
    if isinstance(data, DataLoader):
        return _from_loader(data, memory, counter, place)
    if isinstance(data, Dataset):
        if isinstance(data, IterableDataset) or not isinstance(data, Sized):
            raise InputError("data must have a length: wrap an IterableDataset in a DataLoader that ends")
        _nonempty(len(data))
        steady(data)
        loaded = _from_loader(DataLoader(data, batch_size=batch_size or 256), memory, counter, place)
        if loaded.loader is not None:
            return loaded
        data = pytree.tree_map(lambda *leaves: torch.cat(leaves), *loaded.held)
    elif isinstance(data, list):
        held = tuple(place(batch) for batch in data)
        _nonempty(len(held))
        counts = tuple(counter(batch) for batch in held)
        for number, batch in enumerate(held):
            _finite(batch, f"data[{number}]")
            _counted(counts[number], f"data[{number}]")
        return Batches(held, counts, False, None, counter, place)
    elif not isinstance(data, tuple | dict | Tensor):
        raise InputError(
            f"data must be tensors, a Dataset, a DataLoader or a list of batches, found {type(data).__name__}"
        )
    if not _leaves(data):
        raise InputError("data must hold tensors (torch.as_tensor makes them of arrays), found none")
    lengths = {leaf.shape[0] if leaf.dim() else 0 for leaf in _leaves(data)}
    if len(lengths) != 1:
        raise InputError(f"data must be tensors with one common first axis of samples, found lengths {sorted(lengths)}")
    samples = lengths.pop()
    _nonempty(samples)
    data = place(data)
    _finite(data, "data")
    if batch_size is None:
        return Batches((data,), (samples,), divisible, None, sample_count, place, indexable=True)
    starts = range(0, samples, batch_size)
    held = tuple(cut(data, slice(start, start + batch_size)) for start in starts)
    return Batches(held, tuple(counter(batch) for batch in held), False, None, counter, place, indexable=True)


def _from_loader(
    loader: DataLoader, memory: int, count: Callable[[Batch], int], place: Callable[[Batch], Batch]
) -> Batches:
    held: list[Batch] = []
    counts: list[int] = []
    size = 0
    complete(loader)
    if isinstance(loader.dataset, Sized) and not isinstance(loader.dataset, IterableDataset):
        steady(loader.dataset)
    for batch in read(loader):
        _finite(batch, f"data (batch {len(counts)})")
        counts.append(count(batch))
        _counted(counts[-1], f"data (batch {len(counts) - 1})")
        size += sum(leaf.nbytes for leaf in _leaves(batch))
        if size <= memory // 2:
            held.append(place(batch))
        else:
            held.clear()
    _nonempty(len(counts))
    fits = size <= memory // 2
    return Batches(tuple(held) if fits else (), tuple(counts), False, None if fits else loader, count, place)


def cut(batch: Batch, part: slice) -> Batch:
    """The part of a batch along the sample axis."""
    return pytree.tree_map_only(Tensor, lambda leaf: leaf[part], batch)


def sample_count(batch: Batch) -> int:
    """The common length of the first axis of a batch's tensors."""
    lengths = {leaf.shape[0] for leaf in _leaves(batch) if leaf.dim()}
    if len(lengths) != 1:
        raise InputError(
            "count must be given where the tensors of a batch have no common first axis, "
            f"found lengths {sorted(lengths)}"
        )
    return lengths.pop()


def fingerprint(batches: Iterable[Batch]) -> Tensor:
    """Sums that do not depend on the samples' order: equal for a shuffled pass, different after augmentation."""
    total = torch.zeros(2, dtype=torch.float64)
    for batch in batches:
        for leaf in _leaves(batch):
            value = leaf.detach().double()
            total += torch.stack([value.sum(), value.square().sum()]).cpu()
    return total


def placer(device: torch.device, dtype: torch.dtype) -> Callable[[Batch], Batch]:
    """Returns a function that moves a batch to the device, floating-point tensors to the dtype as well."""

    def leaf_to(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        return leaf.to(device, dtype) if leaf.is_floating_point() else leaf.to(device)

    return lambda batch: pytree.tree_map(leaf_to, batch)


def _leaves(batch: Batch) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(batch) if isinstance(leaf, Tensor)]


def _nonempty(length: int) -> None:
    if length == 0:
        raise InputError("data must hold at least one sample, found none")


def _counted(count: float, name: str) -> None:
    if not count > 0:
        raise InputError(f"{name} must hold at least one sample that counts, found {count}")


def _finite(batch: Batch, name: str) -> None:
    for leaf in _leaves(batch):
        if leaf.is_floating_point() and not bool(torch.isfinite(leaf).all()):
            bad = (~torch.isfinite(leaf)).nonzero()[0].tolist()
            raise InputError(f"{name} must be finite, found {leaf[tuple(bad)].item()} at index {bad}")

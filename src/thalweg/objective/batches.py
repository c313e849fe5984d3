"""Any data -> batches with their sample counts, so that a ragged last batch never counts more than its samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from thalweg._short import short
from thalweg.errors import InputError
from thalweg.objective import samples as rows
from thalweg.objective.reading import read
from thalweg.objective.samples import cut, sample_count
from thalweg.objective.tensors import cloned, dense_parts, fingerprint, placer
from thalweg.progress import track

__all__ = ["Batch", "Batches", "cloned", "cut", "dense_parts", "fingerprint", "placer", "sample_count", "some"]

Batch = Any  # tensors in any structure: see `containers`


@short
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
        prepare: What is done to a batch as it was given, before it is moved.
    """

    held: tuple[Batch, ...]
    counts: tuple[int, ...]
    divisible: bool
    loader: DataLoader | None
    count: Callable[[Batch], int]
    place: Callable[[Batch], Batch]
    indexable: bool = False
    prepare: Callable[[Batch], Batch] | None = None

    sharded: ClassVar[bool] = False  # whether other processes have a part of the samples
    fetched: ClassVar[bool] = False  # whether samples are read when they are asked for

    @property
    def samples(self) -> int:
        """N, the number of samples in one pass."""
        return sum(self.counts)

    @cached_property
    def rows(self) -> int:
        """The number of single samples that `take` chooses from, whatever `count` counts in each."""
        return sum(sample_count(batch) for batch in self.held)

    def ready(self, batch: Batch) -> Batch:
        """A batch as it was given -> as it is evaluated: arrays as tensors, on the device, in the dtype."""
        prepared = batch if self.prepare is None else self.prepare(batch)
        return self.place(rows.columned(prepared, rows.common_length(prepared), numbers=False))

    def chunks(self, size: int | None = None) -> Iterator[tuple[Batch, int]]:
        """Yields (batch, samples in it), cut to at most `size` samples where cutting is allowed."""
        if self.loader is not None:
            yield from self.loaded()
            return
        for batch, count in zip(self.held, self.counts, strict=True):
            if not count:
                continue
            if size is None or size >= count or not self.divisible:
                yield batch, count
                continue
            pieces = -(-count // size)
            bounds = [count * i // pieces for i in range(pieces + 1)]  # equal pieces: no tiny last one
            for start, stop in pairwise(bounds):
                yield cut(batch, slice(start, stop)), stop - start

    def loaded(self, seed: int | None = None) -> Iterator[tuple[Batch, int]]:
        """One pass over the loader as `chunks` gives it, without batches of nothing but padding, which have no loss."""
        for given in [] if self.loader is None else read(self.loader, seed):
            batch = self.ready(given)
            if count := self.count(batch):
                yield batch, count

    @property
    def held_samples(self) -> int:
        """The samples of one pass that this process has: all of them, unless the data are sharded."""
        return self.samples

    def summands(self, size: int | None = None) -> Iterator[tuple[Batch, int]]:
        """The same chunks for a sum over all samples, which `reduced` completes: of sharded data those held here."""
        if len(self.counts) == 1 and (size is None or size >= self.counts[0] or not self.divisible):
            return self.chunks(size)
        return self._announced(size)

    def _announced(self, size: int | None) -> Iterator[tuple[Batch, int]]:
        """A pass in several pieces, which may be long."""
        done = 0
        with track("pass over the data, samples", total=self.held_samples, start=0) as advance:
            for batch, count in self.chunks(size):
                yield batch, count
                done += count
                advance(done)

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
        return rows.taken(self._joined, index)

    @cached_property
    def _joined(self) -> Batch:
        return rows.joined(self.held)

    def subset(self, index: Tensor) -> Batches:
        """The samples of these numbers (n,) alone. Only for indexable data."""
        return replace(self, held=(self.take(index),), counts=(len(index),))

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

    def counting(self) -> Batches:
        """Without the batches of nothing but padding, whose loss would be 0 / 0."""
        some(self.counts)
        held = tuple(batch for batch, count in zip(self.held, self.counts, strict=False) if count)
        return replace(self, held=held, counts=tuple(count for count in self.counts if count))

    def whole(self) -> Batches:
        """The same data, never cut: for losses that depend on the batch."""
        return replace(self, divisible=False)

    def moved(self, place: Callable[[Batch], Batch]) -> Batches:
        """The same data on another device or in another dtype."""
        return replace(self, held=tuple(place(batch) for batch in self.held), place=place)


def some(counts: Iterable[int]) -> None:
    """Refuses data of nothing but padding."""
    if not any(counts):
        raise InputError("data must hold at least one sample that counts, found only padding")

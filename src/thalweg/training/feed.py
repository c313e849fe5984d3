"""Which samples each replica sees at each step: a function of (seed, replica, epoch), never of what ran before."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import final

import torch
from torch import Tensor

from thalweg.errors import InputError
from thalweg.objective.batches import Batch, Batches
from thalweg.objective.seeds import generator, replica_seed
from thalweg.training.recipe import Recipe

__all__ = ["Feed", "Piece", "make_feed"]

Piece = tuple[Batch, float, int, int]  # batch, weight in the mean, number of its first sample, samples


class Feed(ABC):
    """The batches of all replicas.

    Attributes:
        per_epoch: Steps in one pass over the data.
        samples: Samples of one replica in one step, at most.
        own: Whether every replica has its own batch, leaves (R, B, …), or all share one.
    """

    per_epoch: int
    samples: int
    own: bool = False

    @abstractmethod
    def pieces(self, step: int, replicas: slice, size: int | None) -> Iterator[Piece]:
        """Yields the batch of a step for some replicas, cut to `size` samples where that is allowed."""

    def keep(self, alive: Tensor) -> None:  # noqa: B027 - shared batches need nothing
        """Goes on with the replicas at these positions only."""


def make_feed(
    batches: Batches, recipe: Recipe, seed: int, numbers: list[int], *, cuttable: bool, alone: bool = True
) -> Feed:
    """Returns the feed that a recipe asks for.

    Args:
        batches: The objective's data.
        recipe: Its `batch_size` decides.
        seed: The experiment's seed.
        numbers: The replicas' own numbers, (R,).
        cuttable: Whether a step's batch may be evaluated in chunks: not with normalisation by batch statistics.
        alone: Whether a batch may be a single sample.

    Raises:
        InputError: The data cannot be batched in this way.
    """
    size = recipe.batch_size
    if size is None:
        return _FullFeed(batches, cuttable)
    if size == "given":
        if batches.indexable:
            raise InputError("batch_size must be a number or None for tensors and datasets, found 'given'")
        return _GivenFeed(batches, seed)
    if not batches.indexable:
        raise InputError(
            "batch_size must be 'given' or None where the data are batches already (a list, a DataLoader, or more than "
            f"memory holds), found {size}"
        )
    if not alone and 1 in (size, batches.rows % size):
        raise InputError(
            "batch_size must leave no batch of a single sample, which batch normalisation cannot use, "
            f"found {size} for {batches.rows:,} samples"
        )
    return _SampledFeed(batches, min(size, batches.rows), seed, numbers, cuttable and batches.divisible)


@final
class _FullFeed(Feed):
    """All data in every step."""

    def __init__(self, batches: Batches, cuttable: bool) -> None:
        self._batches = batches if cuttable else batches.whole()
        self.per_epoch = 1
        self.samples = batches.samples if batches.indexable else max(batches.counts)

    def pieces(self, step: int, replicas: slice, size: int | None) -> Iterator[Piece]:
        start = 0
        for batch, count in self._batches.chunks(size):
            yield batch, count / self._batches.samples, start, count
            start += count


@final
class _SampledFeed(Feed):
    """Epoch by epoch a random order of the samples, each replica its own; the last batch may be smaller."""

    own = True

    def __init__(self, batches: Batches, size: int, seed: int, numbers: list[int], cuttable: bool) -> None:
        self._batches, self._size, self._seed, self._cuttable = batches, size, seed, cuttable
        self._numbers = numbers
        self.samples = size
        self.per_epoch = -(-batches.rows // size)
        self._epoch = -1
        self._order = torch.empty(0)  # (R, N), on the CPU

    def pieces(self, step: int, replicas: slice, size: int | None) -> Iterator[Piece]:
        epoch, place = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            purpose = f"order:{epoch}"
            orders = (
                torch.randperm(self._batches.rows, generator=generator(self._seed, number, purpose), dtype=torch.int32)
                for number in self._numbers
            )
            self._order, self._epoch = torch.stack(list(orders)), epoch
        index = self._order[replicas, place * self._size : (place + 1) * self._size].long()
        count = index.shape[1]
        length = count if size is None or not self._cuttable else min(size, count)
        for start in range(0, count, length):
            part = index[:, start : start + length]
            yield self._batches.take(part), part.shape[1] / count, start, part.shape[1]

    def keep(self, alive: Tensor) -> None:
        self._numbers = [self._numbers[i] for i in alive.tolist()]
        if self._epoch >= 0:
            self._order = self._order[alive.cpu()]


@final
class _GivenFeed(Feed):
    """Batches as the user made them, in an order drawn from the seed alone: the same for all replicas."""

    def __init__(self, batches: Batches, seed: int) -> None:
        batches = batches.counting()
        self._batches, self._seed = batches, seed
        self.per_epoch = len(batches.counts)
        self.samples = max(batches.counts)
        self._epoch, self._order = -1, []
        self._reader: Iterator[Batch] = iter(())
        self._read = 0  # batches taken from the reader in this epoch
        self._current: Batch = None

    def pieces(self, step: int, replicas: slice, size: int | None) -> Iterator[Piece]:
        epoch, place = divmod(step, self.per_epoch)
        batch = self._held(epoch, place) if self._batches.loader is None else self._loaded(epoch, place)
        count = self._batches.count(batch)
        yield batch, 1.0, 0, count

    def _held(self, epoch: int, place: int) -> Batch:
        if epoch != self._epoch:
            shuffler = generator(self._seed, 0, f"order:{epoch}")
            self._order, self._epoch = torch.randperm(self.per_epoch, generator=shuffler).tolist(), epoch
        return self._batches.held[self._order[place]]

    def _loaded(self, epoch: int, place: int) -> Batch:
        loader = self._batches.loader
        if loader is None:
            raise RuntimeError("the data are held in memory")
        if epoch != self._epoch or place < self._read - 1:
            seed = replica_seed(self._seed, 0, f"order:{epoch}")
            self._reader = (batch for batch, _ in self._batches.loaded(seed))
            self._current, self._read, self._epoch = next(self._reader), 1, epoch
        while self._read <= place:  # a shuffled pass may have one batch fewer: one of nothing but padding is left out
            self._current = next(self._reader, self._current)
            self._read += 1
        return self._current

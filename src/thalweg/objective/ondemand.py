"""Data that are too many to be read: samples are fetched by number when they are asked for, and no others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sized
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from thalweg.errors import InputError
from thalweg.objective import samples as rows
from thalweg.objective.batches import Batch, Batches
from thalweg.objective.reading import steady
from thalweg.objective.tensors import check_finite

__all__ = ["OnDemand"]

PIECE = 256  # samples read at once in a pass over all of them
PROBE = 64  # samples that the checks of an objective look at


class OnDemand:
    """A dataset for an `Objective`, of which nothing is read but the samples that a call needs.

    An objective on it is made in no time, whatever its length. Estimates with `samples=` and `objective.subset` read
    the samples that they draw; every other function of θ passes over all of the data, a few hundred samples at a time.

    Args:
        data: A map-style `Dataset`, or anything that gives samples by number and has a length; or a `DataLoader` of
            one, whose `collate_fn` puts samples together (its order and batches do not matter).

    Raises:
        InputError: Something without a length or without numbers.

    Example:
        >>> from torch import nn
        >>> from torch.utils.data import TensorDataset
        >>> from thalweg import Objective, curvature
        >>> data = TensorDataset(torch.randn(10_000, 3), torch.randn(10_000, 1))
        >>> objective = Objective(nn.Linear(3, 1), nn.MSELoss(), OnDemand(data))
        >>> found = curvature.trace(objective, samples=800)  # reads 800 of them, and a few to check the loss
        >>> found.samples, found.sampling_error > 0
        (800, True)
    """

    def __init__(self, data: Any) -> None:
        self.collate: Callable[[list[Any]], Any] = rows.collated
        if isinstance(data, DataLoader):
            if data.collate_fn is not torch.utils.data.default_collate:
                self.collate = data.collate_fn
            data = data.dataset
        if isinstance(data, IterableDataset) or not isinstance(data, Sized) or not hasattr(data, "__getitem__"):
            raise InputError(
                f"data must have a length and give samples by number to be read on demand, found {type(data).__name__}"
            )
        if not len(data):
            raise InputError("data must hold at least one sample, found none")
        self.data: Any = data

    def __len__(self) -> int:
        """N."""
        return len(self.data)

    def batches(self, empty: Batches) -> Batches:
        """As `Batches`, which fetch what they are asked for.

        Args:
            empty: How a batch is counted, prepared and placed.
        """
        steady(self.data)
        return _Fetched(
            (), (), True, None, empty.count, empty.place, indexable=True, prepare=empty.prepare, source=self
        )


@dataclass(frozen=True, kw_only=True)
class _Fetched(Batches):
    """The data of an objective that are not held; see `OnDemand`."""

    source: OnDemand

    fetched = True

    @property
    def samples(self) -> int:
        return len(self.source)

    @property
    def rows(self) -> int:
        return len(self.source)

    def take(self, index: Tensor) -> Batch:
        """Reads samples by their numbers (n,)."""
        batch = self.ready(self.source.collate([self.source.data[i] for i in index.flatten().tolist()]))
        check_finite(batch, "data")
        return batch

    def chunks(self, size: int | None = None) -> Iterator[tuple[Batch, int]]:
        """Reads all samples, in pieces."""
        step = min(size or PIECE, self.samples)
        for start in range(0, self.samples, step):
            index = torch.arange(start, min(start + step, self.samples))
            batch = self.take(index)
            if self.count(batch) != len(index):
                raise InputError(
                    "data that are read on demand must count by their samples for a pass over all of them, found "
                    f"{self.count(batch)} targets that count in {len(index)} samples: take samples=, or hold the data"
                )
            yield batch, len(index)

    def first(self, size: int) -> Batch:
        """The first samples, for probes."""
        return self.take(torch.arange(min(size, self.samples)))

    def subset(self, index: Tensor) -> Batches:
        """The samples of these numbers, held in memory."""
        batch = self.take(index)
        plain = self.count(batch) == len(index)
        return Batches(
            (batch,), (len(index),), plain, None, rows.sample_count, self.place, indexable=True, prepare=self.prepare
        )

    def permuted(self, seed: int) -> Batches:
        """Refused: nothing is held that could be put into another order."""
        self._refused("for the error that another order of the samples makes (permute=False leaves it out)")

    def whole(self) -> Batches:
        """Refused: all samples at once do not fit."""
        self._refused(
            "where the loss is no plain mean over samples, or a normalisation layer takes the statistics of the batch"
        )

    def _refused(self, where: str) -> NoReturn:
        raise InputError(f"data must be held in memory {where}, found data that are read on demand")

"""Reads datasets and loaders so that every pass gives the same samples and no generator of the user's moves on."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils.data import BatchSampler, DataLoader

from thalweg.errors import InputError

__all__ = ["complete", "read", "steady"]


def read(loader: DataLoader, seed: int | None = None) -> Iterator[Any]:
    """Yields the batches of one pass; the loop that a loader belongs to draws the same numbers before and after it.

    Args:
        loader: Read from its beginning.
        seed: What the pass draws depends on; default: on the state of torch's generators, as ever.
    """
    sources = [loader, loader.sampler, loader.batch_sampler, getattr(loader.batch_sampler, "sampler", None)]
    own = {id(one): one for source in sources if isinstance(one := getattr(source, "generator", None), torch.Generator)}
    before = [(one, one.get_state()) for one in own.values()]
    with torch.random.fork_rng(devices=[]):
        if seed is not None:
            for one in (torch.default_generator, *own.values()):
                one.manual_seed(seed)
        batches, state = iter(loader), torch.get_rng_state()
    try:
        while True:
            with torch.random.fork_rng(devices=[]):
                torch.set_rng_state(state)
                try:
                    batch = next(batches)
                except StopIteration:
                    return
                state = torch.get_rng_state()
            yield batch
    finally:
        for one, earlier in before:
            one.set_state(earlier)


def complete(loader: DataLoader) -> None:
    """Raises InputError where a loader leaves out the samples that fill no batch."""
    sampler = loader.batch_sampler
    if isinstance(sampler, BatchSampler) and sampler.drop_last and isinstance(sampler.sampler, Sized):
        left = len(sampler.sampler) % sampler.batch_size
        if left:
            raise InputError(
                f"data must be all of the data at every pass, found a DataLoader that leaves out {left} of "
                f"{len(sampler.sampler)} samples: make it with drop_last=False"
            )


def steady(dataset: Any) -> None:
    """Raises InputError where some samples, looked at twice, differ: those of an augmentation do."""
    for index in range(0, len(dataset), -(-len(dataset) // 8)):
        with torch.random.fork_rng(devices=[]):
            try:
                once, twice = (pytree.tree_leaves(dataset[index]) for _ in range(2))
            except (IndexError, KeyError, TypeError):  # its sampler knows other keys than numbers
                return
        for a, b in zip(once, twice, strict=True):
            if isinstance(a, Tensor) and not torch.equal(a.nan_to_num(), b.nan_to_num()):
                raise InputError(
                    "data must be the same at every pass, found a Dataset whose samples change between passes "
                    "(augmentation): switch that off, or pass list(loader) for the loss on one draw"
                )

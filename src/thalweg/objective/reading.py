"""Reads datasets and loaders so that every pass gives the same samples and no generator of the user's moves on."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader

from thalweg.errors import InputError
from thalweg.objective.containers import Column, mapped
from thalweg.objective.surroundings import own_numbers
from thalweg.objective.tensors import dense_parts

__all__ = ["complete", "numbered", "read", "steady"]


def read(loader: DataLoader, seed: int | None = None) -> Iterator[Any]:
    """Yields the batches of one pass; the loop that a loader belongs to draws the same numbers before and after it.

    Args:
        loader: Read from its beginning.
        seed: What the pass draws depends on; default: on the state of torch's generators, as ever.
    """
    sources = [loader, loader.sampler, loader.batch_sampler, getattr(loader.batch_sampler, "sampler", None)]
    own = {id(one): one for source in sources if isinstance(one := getattr(source, "generator", None), torch.Generator)}
    before = [(one, one.get_state()) for one in own.values()]
    with own_numbers():
        if seed is not None:
            for one in (torch.default_generator, *own.values()):
                one.manual_seed(seed)
        batches, state = iter(loader), torch.get_rng_state()
    try:
        while True:
            with own_numbers():
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
        with own_numbers():
            try:
                once, twice = (_contents(dataset[index]) for _ in range(2))
            except (IndexError, KeyError, TypeError):  # its sampler knows other keys than numbers
                return
        if len(once) != len(twice) or not all(map(_same, once, twice)):
            raise InputError(
                "data must be the same at every pass, found a Dataset whose samples change between passes "
                "(augmentation): switch that off, or pass list(loader) for the loss on one draw"
            )


def numbered(data: Any) -> bool:
    """Whether what has a length and gives entries gives them by number, as a dataset does, and not by name."""
    if not len(data):
        return True
    with own_numbers():
        try:
            data[0]
        except (KeyError, TypeError):
            return False
    return True


def _contents(sample: Any) -> list[Any]:
    """The dense tensors of a sample, and the texts and numbers beside them."""
    found: list[Any] = list(dense_parts(sample))

    def collect(entry: Any) -> Any:
        found.extend(one for one in (entry if isinstance(entry, list | tuple) else [entry]) if _comparable(one))
        return entry

    mapped(lambda leaf: collect(leaf) if isinstance(leaf, Column) else leaf, sample, collect)
    return found


def _comparable(value: Any) -> bool:
    return isinstance(value, str | bytes | bool | int | float)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return torch.equal(a.nan_to_num(), b.nan_to_num())
    return type(a) is type(b) and (a == b or (a != a and b != b))

"""One objective on data that several processes share: every process has a part, sums over samples run over all of them.

A loss is a mean over samples, and so are its gradient, its products with vectors and every metric. Each process
evaluates its own samples, weighted by their number in all of the data, and one `all_reduce` adds the parts up. Whatever
asks for nothing else (Lanczos, spectral densities, traces, Newton–CG) runs unchanged in all processes in lock-step: the
same calls with the same arguments, the same seeds, and results that are equal to the bit.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

from thalweg._short import short
from thalweg.errors import InputError
from thalweg.objective import normalization
from thalweg.objective.batches import Batch, Batches, cloned, cut, dense_parts
from thalweg.objective.objective import Objective

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Shard", "sharded"]

ROWS = 4096  # samples that a fingerprint converts to float64 at once


@short
@dataclass(frozen=True, kw_only=True)
class Shard(Batches):
    """The data as one of several processes sees them.

    What runs through all samples in one process (`chunks`) is refused; sums run through `summands` and are `reduced`.

    Args:
        own: The samples of this process.
        device: Where tensors are when they are sent.
        group: The processes; None for all.
    """

    own: Batches
    device: torch.device
    group: dist.ProcessGroup | None

    sharded = True

    @property
    def held_samples(self) -> int:
        """The samples that this process has."""
        return self.own.samples

    def summands(self, size: int | None = None) -> Iterator[tuple[Batch, int]]:
        """The chunks of this process."""
        return self.own.chunks(size)

    def reduced(self, *totals: Tensor) -> tuple[Tensor, ...]:
        """Adds the sums of all processes up, in one message; the result is the same in all of them, to the bit."""
        message = torch.cat([total.reshape(-1) for total in totals]) if len(totals) > 1 else totals[0].contiguous()
        dist.all_reduce(message, group=self.group)
        parts = message.reshape(-1).split([total.numel() for total in totals])
        return tuple(part.view_as(total) for part, total in zip(parts, totals, strict=True))

    def largest(self, number: int) -> int:
        """The largest of the processes' numbers."""
        return int(_extremes(torch.tensor([number]), self.device, self.group)[1])

    def agree(self, vector: Tensor, name: str) -> None:
        """Raises InputError, in every process, where the processes do not have the same vector (to rounding)."""
        if not _same(_fingerprint(vector), math.sqrt(torch.finfo(vector.dtype).eps), self.device, self.group):
            raise InputError(
                f"{name} must be the same in every process, found different ones: draw it from the same seed, or "
                "broadcast it"
            )

    def first(self, size: int) -> Batch:
        """A few samples of this process, for probes."""
        return self.own.first(size)

    def moved(self, place: Callable[[Batch], Batch]) -> Batches:
        """The same share on another device or in another dtype."""
        own = self.own.moved(place)
        return replace(self, own=own, place=place, device=place(torch.empty(0, device=self.device)).device)

    def permuted(self, seed: int) -> Batches:
        """The samples of every process in another order."""
        return replace(self, own=self.own.permuted(seed))

    def inputs_only(self, inputs: object) -> Batches:
        """Other inputs, which every process evaluates for itself."""
        return self.own.inputs_only(inputs)

    def chunks(self, size: int | None = None) -> Iterator[tuple[Batch, int]]:
        """Refused: no process has all samples."""
        raise self._refusal()

    def take(self, index: Tensor) -> Batch:
        """Refused."""
        raise self._refusal()

    def whole(self) -> Batches:
        """Refused."""
        raise self._refusal()

    def _refusal(self) -> InputError:
        count = dist.get_world_size(self.group)
        return InputError(f"objective must have all data in one process for this, found one sharded over {count}")


def sharded(
    objective: Objective, *, data: Literal["whole", "own"] = "whole", group: dist.ProcessGroup | None = None
) -> Objective:
    """The same objective with its data spread over the processes of `torch.distributed`; all of them call it.

    `value`, `gradient`, `value_and_gradient`, `value_gradient_product`, `hvp`, `products`, `hessian` and `metrics` are
    those of all the data in every process, and so is everything that is made of them. All processes must call the same
    functions with the same arguments; a θ or v that differs is refused. Parameters, buffers and the weights of the loss
    are those of the first process, whatever the others were made with. Write results from one process only.

    Args:
        objective: Of the same model, loss and options in every process.
        data: "whole": every process was given the same data in the same order, and keeps its share of the samples (or
            of the batches, where batches were given). "own": every process was given its own part, of any size.
        group: The processes; default all.

    Returns:
        The objective. Training, subsets and what else needs all samples in one place are refused.

    Raises:
        InputError: `torch.distributed` is not initialised; a loss that cannot be cut (its data are one batch on which
            it depends); statistics of normalisation layers that are "recomputed" on all data; fewer samples than
            processes; data or objectives that do not fit together.

    Example:
        >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
        >>> data = torch.randn(7, 2), torch.randn(7, 1)
        >>> objective = Objective(nn.Linear(2, 1), nn.MSELoss(), data)
        >>> theta = objective.theta
        >>> bool(torch.equal(sharded(objective).gradient(theta), objective.gradient(theta)))
        True
        >>> dist.destroy_process_group()
    """
    if data not in ("whole", "own"):
        raise InputError(f"data must be 'whole' or 'own', found '{data}'")
    if not dist.is_available() or not dist.is_initialized():
        raise InputError("torch.distributed must be initialised (init_process_group) for sharded, found that it is not")
    if objective.batches.sharded:
        raise InputError("objective must have all its data in this process to be sharded, found one that is sharded")
    rank, count = dist.get_rank(group), dist.get_world_size(group)
    _check(objective, data, count, group)
    own = objective.batches if data == "own" else _share(objective.batches, rank, count)
    samples = torch.tensor(own.samples, device=objective.device)
    dist.all_reduce(samples, group=group)
    shard = Shard(
        held=(),
        counts=(int(samples),),
        divisible=False,
        loader=None,
        count=own.count,
        place=own.place,
        own=own,
        device=objective.device,
        group=group,
    )
    model, loss = copy.deepcopy(objective._model), objective.loss
    if isinstance(loss, nn.Module):
        loss = copy.deepcopy(loss)
    for module in (model, loss):
        if isinstance(module, nn.Module):
            _from_first(module, objective.device, group)
    return objective._changed(_model=model, loss=loss, batches=shard)


def _check(objective: Objective, data: str, count: int, group: dist.ProcessGroup | None) -> None:
    """Raises the same InputError in every process, so that none waits for the others."""
    held, device = objective.batches, objective.device
    layout = objective.layout
    facts = (layout.names, layout.shapes, objective.l2, objective.batchnorm, objective.dtype, objective.loss_on, data)
    facts = (*facts, objective.memory, sorted(objective.metric_functions))
    digest = int.from_bytes(hashlib.sha256(repr(facts).encode()).digest()[:4], "big")
    low, high = _extremes(torch.tensor([digest]), device, group)
    if int(low) != int(high):
        raise InputError("objective must be of the same model and with the same options in every process, found others")
    if objective.batchnorm == "recomputed" and normalization.layers(objective.program.model):
        raise InputError("batchnorm must be 'frozen' or 'batch' to share data between processes, found 'recomputed'")
    whole = not held.divisible and held.indexable and objective._batch_size is None
    if bool(_extremes(torch.tensor([int(whole)]), device, group)[1]):
        raise InputError(
            "data must be whole batches (give batch_size) to be shared between processes under a loss that depends on "
            "the batch, found one batch"
        )
    if data == "own":
        return
    if held.loader is not None:
        raise InputError(
            "data must fit in memory for every process to take its share, found a loader that is read anew: give every "
            "process a loader of its own part and data='own'"
        )
    parts = held.samples if held.divisible else len(held.held)
    low, _ = _extremes(torch.tensor([parts]), device, group)
    if int(low) < count:
        what = "sample" if held.divisible else "batch"
        raise InputError(f"data must hold at least one {what} for each of the {count} processes, found {int(low)}")
    prints = [_fingerprint(part) for batch in held.held for part in dense_parts(batch) if not part.is_complex()]
    weighted = [(number + 1) * one for number, one in enumerate(prints)]  # the order of batches counts as well
    if not _same(torch.stack(weighted).sum(0), 1e-9, device, group):
        raise InputError(
            "data must be the same in the same order in every process, found others: give every process its own part "
            "and say data='own', or do not shuffle"
        )


def _share(held: Batches, rank: int, count: int) -> Batches:
    """The contiguous share of one process, with memory of its own."""
    parts = held.samples if held.divisible else len(held.held)
    part = slice(parts * rank // count, parts * (rank + 1) // count)
    chosen = (cut(held.held[0], part),) if held.divisible else held.held[part]
    counts = (part.stop - part.start,) if held.divisible else held.counts[part]
    return replace(held, held=cloned(chosen), counts=counts)


def _from_first(module: nn.Module, device: torch.device, group: dist.ProcessGroup | None) -> None:
    """Sets the parameters and buffers of a module (a private copy) to those of the first process."""
    source = 0 if group is None else dist.get_global_rank(group, 0)
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            sent = tensor.detach().to(device).clone()
            dist.broadcast(sent, source, group=group)
            tensor.copy_(sent)


def _fingerprint(values: Tensor) -> Tensor:
    """Four numbers (float64) that depend on the length, values and order: equal ones give equal numbers.

    Length, entries that are not finite, sum of moduli, and a sum with weights that change along the tensor.
    """
    out = torch.tensor([values.numel(), 0.0, 0.0, 0.0], dtype=torch.float64)
    flat = values.detach().reshape(-1)
    for number, piece in enumerate(flat.split(ROWS * 64)):
        part = piece.double()
        finite = part.isfinite()
        part = part.where(finite, 0.0)
        turns = torch.arange(len(part), dtype=torch.float64, device=part.device).add_(number).cos_()
        out += torch.stack([part.new_zeros(()), (~finite).sum().double(), part.abs().sum(), part @ turns]).cpu()
    return out


def _same(prints: Tensor, tolerance: float, device: torch.device, group: dist.ProcessGroup | None) -> bool:
    """Whether fingerprints (4,) agree between the processes, their sums to a relative tolerance."""
    low, high = _extremes(prints, device, group)
    apart = high - low
    return not bool((apart[:2] > 0).any() or (apart[2:] > tolerance * high[2]).any())


def _extremes(numbers: Tensor, device: torch.device, group: dist.ProcessGroup | None) -> tuple[Tensor, Tensor]:
    """Smallest and largest of the processes' numbers (n,)."""
    both = torch.cat([-numbers, numbers]).to(device)
    dist.all_reduce(both, op=dist.ReduceOp.MAX, group=group)
    low, high = both.cpu().chunk(2)
    return -low, high

"""Whether a loss is the mean over samples, so that data may be cut and pieces averaged: on a probe, then on all data.

A few samples do not show what is rare: targets that a loss of one's own leaves out, classes with weights, padding in
the last batch. Whether a loss is a plain mean depends on the targets alone where it takes (output, target): then all
targets are compared with outputs drawn from those of the probe, without a pass through the model. A closure on the
batch is evaluated on all data once, whole and in halves, when the first function of θ is asked for.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from thalweg.errors import InputError
from thalweg.objective import copying, normalization, samples, targets
from thalweg.objective.assembly import Assembly
from thalweg.objective.batches import Batches
from thalweg.objective.containers import leaves
from thalweg.objective.plain import few
from thalweg.objective.planning import SMALLEST_CHUNK, VALUE
from thalweg.objective.tensors import nbytes, placer

__all__ = ["on_probe", "over_batches", "over_targets"]

log = logging.getLogger("thalweg")
PIECE, PIECES = 64, 1024  # samples in a piece at least, and pieces at most, of targets that are compared


def on_probe(objective: Assembly, batch: Any, evaluate: Callable[[Any], float], once: float) -> None:
    """Compares the loss of a few samples with that of their parts, and with that of the same samples twice.

    Args:
        objective: Its data are kept in one piece where the loss is no mean over samples.
        batch: The samples.
        evaluate: The loss of a batch.
        once: That of these samples.

    Raises:
        InputError: The loss is a sum.
    """
    held = objective.batches
    length = samples.common_length(batch)
    if length is None or not math.isfinite(once):
        return
    bounds = [0, *([2] if length >= 8 else []), *([length // 2] if length > 1 else []), length]
    parts = [samples.cut(batch, slice(start, stop)) for start, stop in pairwise(bounds)]
    try:
        doubled = evaluate(samples.joined([batch, batch]))
        weighted = sum(held.count(part) * evaluate(part) for part in parts if held.count(part)) / held.count(batch)
    except Exception:
        if held.indexable:
            raise
        return  # batches that somebody made may be no rows of samples: a graph, say
    tolerance = 1e3 * torch.finfo(objective.dtype).eps * max(abs(once), 1e-30)
    if _is_sum(once, doubled, tolerance):
        if held.divisible and len(held.held) == 1 and held.rows > length:  # what it is divided by may be rare
            whole, twice = evaluate(held.held[0]), evaluate(samples.joined([held.held[0]] * 2))
            if not _is_sum(whole, twice, 1e3 * torch.finfo(objective.dtype).eps * max(abs(whole), 1e-30)):
                return _no_mean(objective, once, weighted)
        raise InputError(
            f"loss must be the mean over the batch, found a sum: {once:.6g} for {length} samples, "
            f"{doubled:.6g} for the same samples twice"
        )
    if abs(weighted - once) <= tolerance and not (held.divisible and _leaves_out(objective)):
        return
    _no_mean(objective, once, weighted)


def _leaves_out(objective: Assembly) -> bool:
    return targets.leaves_out(objective.loss, objective.batches, on_batch=objective.loss_on == "batch")


def _is_sum(once: float, doubled: float, tolerance: float) -> bool:
    return abs(once) > 1e-30 and abs(doubled - 2 * once) <= 2 * tolerance and abs(doubled - once) > tolerance


def over_targets(objective: Assembly, batch: Any) -> None:
    """Compares the loss of all targets with that of their pieces, for a loss that takes (output, target).

    Args:
        objective: As for `on_probe`.
        batch: Samples whose outputs stand for those of all data.
    """
    held = objective.batches
    alone = samples.common_length(batch)
    if objective.loss_on == "batch" or objective.loss_kind == "mse" or held.sharded or alone is None:
        return
    if not _cut_later(objective) or (objective.loss_kind and not _leaves_out(objective) and held.held):
        return
    loss, dtype = objective.program.loss, objective.dtype
    with torch.no_grad(), objective.program.surroundings():
        _, theta = few(objective)
        output = objective.program.output_alone(objective.layout.parameters(theta), batch)
    if any(len(leaf) != alone for leaf in leaves(output) if isinstance(leaf, Tensor) and leaf.dim()):
        return
    wide = placer(objective.device, torch.float64)
    if isinstance(loss, torch.nn.Module):
        loss = copying.placed(loss, objective.device, torch.float64)
    generator = torch.Generator().manual_seed(0)

    def evaluate(part: Any, drawn: Tensor) -> float:
        with torch.no_grad():
            return float(loss(samples.taken(wide(output), drawn), wide(part)))

    try:
        evaluate(batch[1], torch.arange(alone))
    except Exception:  # noqa: BLE001 - a loss that computes in one dtype only: compared in that
        wide, loss = placer(objective.device, dtype), objective.program.loss
    fits = max(1, objective.memory // (16 * max(1, nbytes(output) // alone)))
    pieces = _pieces(held, max(PIECE, held.rows // PIECES if held.indexable else 0), fits)
    try:
        for parts in pieces:
            draws = [torch.randint(alone, (len(leaves(part)[0]),), generator=generator) for part in parts]
            whole = samples.joined([part[1] for part in parts])
            counts = [held.count(part) for part in parts]
            values = [evaluate(part[1], drawn) for part, drawn in zip(parts, draws, strict=True)]
            if _differs(objective, evaluate(whole, torch.cat(draws)), values, counts, dtype):
                return
    except Exception as error:  # noqa: BLE001 - targets that are no rows, or a loss that looks at more than its rows
        log.debug("the loss is not compared on all targets: %s", error)


def over_batches(objective: Assembly) -> None:
    """Compares a closure on batches of all data, whole and in halves; at most two passes through the model.

    Args:
        objective: As for `on_probe`.
    """
    held = objective.batches
    if objective.loss_on != "batch" or held.sharded or not _cut_later(objective):
        return
    program = objective.program
    params = objective.layout.parameters(few(objective)[1])

    def evaluate(part: Any) -> float:
        return float(program.loss_alone(params, part))

    together = objective.evaluation.plan(1, VALUE).samples
    with torch.no_grad(), program.surroundings():
        try:
            for parts in _pieces(held, max(SMALLEST_CHUNK, held.rows // PIECES if held.divisible else 0), together):
                whole = evaluate(samples.joined(parts))
                counts = [held.count(part) for part in parts]
                if _differs(objective, whole, [evaluate(part) for part in parts], counts, objective.dtype):
                    return
        except Exception as error:  # noqa: BLE001 - batches that cannot be put together: graphs, say
            log.debug("the loss is not compared on all batches: %s", error)


def _cut_later(objective: Assembly) -> bool:
    """Whether more than the probe's samples are there and are evaluated in pieces."""
    held = objective.batches
    return held.rows > 64 if held.divisible and held.held else len(held.counts) > 1


def _pieces(held: Batches, size: int, most: int) -> Iterator[list[Any]]:
    """Pairs of pieces of the data, which cover all of it, in a drawn order: rare rows come apart."""
    if held.divisible and held.held:
        for part, count in held.permuted(0).chunks(max(3, min(3 * size, most))):
            if count > 1:  # unequal parts: what counts once in each would balance in equal ones
                yield [samples.cut(part, slice(0, -(-count // 3))), samples.cut(part, slice(-(-count // 3), None))]
        return
    before = alone = None
    for part, _ in held.permuted(0).chunks():
        if alone is not None:
            yield [alone, part]
            before, alone = part, None
        else:
            alone = part
    if alone is not None and before is not None:
        yield [before, alone]


def _differs(objective: Assembly, whole: float, values: list[float], counts: list[int], dtype: torch.dtype) -> bool:
    """Whether the loss of two pieces together is not their mean; then says and does what follows."""
    if sum(counts) == 0 or (math.isnan(whole) and all(math.isnan(value) for value in values)):
        return False
    weighted = sum(count * value for count, value in zip(counts, values, strict=True) if count) / sum(counts)
    scale = max(abs(whole), *(abs(value) for value in values), 1e-30)
    if abs(weighted - whole) <= 1e3 * torch.finfo(dtype).eps * scale:
        return False
    _no_mean(objective, whole, weighted)
    return True


def _no_mean(objective: Assembly, whole: float, weighted: float) -> None:
    held = objective.batches
    found = f"the loss is no plain mean over samples ({whole:.6g} whole, {weighted:.6g} in parts)"
    if held.divisible:
        objective.batches = held.whole()
        for name in ("evaluation", "_pair_bytes"):
            objective.__dict__.pop(name, None)
        log.info("%s: the data are kept in one piece", found)
    elif len(held.counts) > 1 and not normalization.by_batch(objective.program.model) and not objective.told:
        objective.told = True
        log.warning("%s: L is the mean over batches, each weighted by its samples or as `count` says", found)

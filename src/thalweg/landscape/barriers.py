"""How high a path rises above its ends, with the error that comes from the finite number of samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from thalweg._short import short
from thalweg.landscape.evaluating import Evaluator
from thalweg.results import BaseResult
from thalweg.results.networks import Quantity, flat, pictured, tabled
from thalweg.results.words import counted, estimated, range_words

if TYPE_CHECKING:
    import polars as pl

    from thalweg.figures import Figure

__all__ = ["Barrier", "barrier"]


@short
@dataclass(frozen=True, eq=False)
class Barrier(BaseResult):
    """The barrier of a loss on a path, for every pair of the leading axes; NaN where the loss is not finite.

    Three definitions are in use; `height` is meant where none is named.

    Args:
        height: (…) float64, the greatest L(θ_s) − ((1−s)L₀ + s·L₁), s the share of the path's length (α on a line):
            Entezari et al. 2022, definition 2.1. Never negative: the ends are among the places.
        error: (…) float64, its standard error over the samples, at the place of the maximum: that of the same
            difference on disjoint parts of the data. It says how well this barrier between these two networks is known
            and not how much another pair would have; the choice of the highest place is not in it.
        position: (…) float64, t of the maximum.
        over_mean: (…) float64, greatest loss minus the mean of the ends': Frankle et al. 2020, section 2.
        over_larger: (…) float64, greatest loss minus the larger of the ends': what must be climbed from the worse one.
        subsets: Number of parts behind `error`; 0 if it is not known (then NaN).

    Source:
        R. Entezari, H. Sedghi, O. Saukh, B. Neyshabur, "The role of permutation invariance in linear mode connectivity
        of neural networks", ICLR 2022; J. Frankle, G. K. Dziugaite, D. Roy, M. Carbin, "Linear mode connectivity and
        the lottery ticket hypothesis", ICML 2020.
    """

    height: Tensor
    error: Tensor
    position: Tensor
    over_mean: Tensor
    over_larger: Tensor
    subsets: int

    def plot(self) -> Figure:
        """The barrier of every pair with two standard errors, by all three definitions."""
        known = flat(self.error)
        names = {"over the straight connection": self.height, "over the mean of the ends": self.over_mean}
        names |= {"over the larger end": self.over_larger}
        columns = [Quantity(f"barrier {name}", flat(value), known) for name, value in names.items()]
        caption = "How far the loss between two solutions rises above its ends, by three definitions."
        return pictured("barriers", "Barriers", caption, columns, "pair")

    def table(self) -> pl.DataFrame:
        """One row per pair."""
        names = ("height", "error", "position", "over_mean", "over_larger")
        return tabled({name.replace("_", " "): getattr(self, name) for name in names}, "pair")

    def summary(self) -> str:
        """The height with its standard error, and where it is; of several pairs the median and the range."""
        height = flat(self.height)
        if not np.isfinite(height).any():
            return "The barrier is not known: the loss is not finite."
        several = f" in {counted(len(height), 'pair')} (median, lowest to highest)" if len(height) > 1 else ""
        return (
            f"The barrier is {estimated(height, flat(self.error))}{several} at t = {range_words(flat(self.position))}; "
            f"over the larger of both ends it is {range_words(flat(self.over_larger))}."
        )


def barrier(evaluate: Evaluator, name: str, t: Tensor, arc: Tensor, loss: Tensor, subsets: int, seed: int) -> Barrier:
    """Finds the barrier of one data set's loss.

    Args:
        evaluate: Evaluates anywhere on the path.
        name: The data set.
        t: (T,) positions, 0 and 1 among them.
        arc: (T, …) shares of the path's length.
        loss: (T, …).
        subsets: Parts of the data; fewer where a part would have less than two samples.
        seed: Of the partition.
    """
    loss, arc = loss.double(), arc.to(loss.device)
    first, last = (loss[int((t == end).nonzero()[0])] for end in (0, 1))
    inside = ((t >= 0) & (t <= 1)).nonzero().flatten()
    excess = loss[inside] - ((1 - arc[inside]) * first + arc[inside] * last)
    height, place = excess.max(dim=0)
    known = height.isfinite()
    top = inside.to(place.device)[place]
    position = t.to(top.device)[top]
    highest = loss[inside].amax(dim=0)
    share = arc.gather(0, top[None])[0]
    gaps = _gaps(evaluate, name, position, share, subsets, seed)
    error = torch.full_like(height, torch.nan)
    if len(gaps) > 1:
        error = (gaps.std(dim=0) / len(gaps) ** 0.5).to(error.device)
    return Barrier(
        height=height,
        error=error.masked_fill(~known, torch.nan),
        position=position.masked_fill(~known, torch.nan),
        over_mean=highest - (first + last) / 2,
        over_larger=highest - torch.maximum(first, last),
        subsets=len(gaps),
    )


def _gaps(evaluate: Evaluator, name: str, position: Tensor, share: Tensor, subsets: int, seed: int) -> Tensor:
    """The excess at the place of the maximum on disjoint parts of the data: (parts, …) float64; empty without parts."""
    path, objective = evaluate.path, evaluate.objectives[name]
    count = min(subsets, objective.samples // 2)
    if count < 2 or not objective.batches.indexable:
        return torch.empty(0)
    order = torch.randperm(objective.samples, generator=torch.Generator().manual_seed(seed))
    parts = {str(k): objective.subset(index) for k, index in enumerate(order.tensor_split(count))}
    ends = (torch.zeros_like(position), torch.ones_like(position))
    losses = []
    for theta, where in ((path.points[0], ends[0]), (path.each(position), position), (path.points[-1], ends[1])):
        found = evaluate.metrics(theta, where, parts)
        losses.append(torch.stack([one["loss"] for one in found.values()]).double())
    first, middle, last = losses
    return middle - ((1 - share) * first + share * last)

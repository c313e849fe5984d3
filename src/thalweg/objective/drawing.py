"""Samples drawn from the data in disjoint subsets, so that an estimate on them knows how far off it may be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from thalweg.errors import InputError
from thalweg.objective.objective import Objective
from thalweg.objective.samples import sample_count
from thalweg.objective.targets import counted

__all__ = ["SUBSETS", "Draw", "draw", "drawable", "numbers"]

SUBSETS = 8
"""Subsets by default: their scatter is known to a quarter, and each is still large."""


@dataclass(frozen=True)
class Draw:
    """n of N samples, and their K disjoint parts.

    Attributes:
        drawn: The objective on all n.
        parts: The objective on each part.
        weights: Share of each part in a mean over the n, (K,): by its samples, or by its targets that count.
        share: n / N.
    """

    drawn: Objective
    parts: tuple[Objective, ...]
    weights: Tensor
    share: float

    @property
    def size(self) -> int:
        """The number of samples that were drawn."""
        return self.drawn.samples

    def pooled(self, values: Tensor, errors: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Joins a mean over samples that was estimated on every part.

        The weights make a ratio estimator of it (Cochran 1977, "Sampling Techniques", §6), and n of N samples leave a
        share 1 − n/N of the variance. What the parts' own errors scatter is taken out of the scatter over parts.

        Args:
            values: (K, …).
            errors: Standard errors of each that have nothing to do with the samples, (K, …), independent.

        Returns:
            The mean (…), its error by the parts' own errors, and its error by the samples.
        """
        count = len(self.parts)
        weights = self.weights.to(values).reshape(-1, *(1 for _ in values.shape[1:]))
        mean = (weights * values).sum(0)
        own = torch.zeros_like(mean) if errors is None else (weights * errors).square().sum(0)
        scatter = (weights * (values - mean)).square().sum(0) * count / (count - 1)
        return mean, own.sqrt(), ((scatter - own).clamp(min=0.0) * (1 - self.share)).sqrt()


def numbers(total: int, samples: int, seed: int) -> Tensor:
    """Draws numbers of samples (n,) without replacement, in time and memory of n, whatever their total.

    >>> len(set(numbers(10**12, 1000, seed=0).tolist()))
    1000
    """
    return torch.from_numpy(np.random.default_rng(seed).choice(total, samples, replace=False))


def drawable(objective: Objective, samples: int) -> None:
    """Checks that single samples can be drawn, and so many.

    Raises:
        InputError: They cannot.
    """
    if not objective.batches.indexable:
        found = "data that are sharded" if objective.batches.sharded else "batches that were handed over"
        raise InputError(f"samples needs data given as tensors, a dataset or OnDemand, found {found}")
    if not 1 <= samples <= objective.samples:
        raise InputError(f"samples must be from 1 to the {objective.samples:,} of the data, found {samples}")


def draw(objective: Objective, samples: int, subsets: int, seed: int) -> Draw:
    """Draws n samples in K disjoint parts of equal size, but for one.

    Args:
        objective: Its data are tensors, a dataset, or `OnDemand`, of which only these samples are read.
        samples: n.
        subsets: K.
        seed: Of the draw.

    Raises:
        InputError: Data that cannot be drawn from, numbers that do not fit, or a loss that is no mean over samples.
    """
    drawable(objective, samples)
    if subsets < 2:
        raise InputError(f"subsets must be at least 2 to show an error, found {subsets}")
    if samples < subsets:
        raise InputError(f"samples must be at least the number of subsets, {subsets}, found {samples}")
    count = objective._count or (counted(objective.loss) if objective.loss_on == "output" else None)
    if count is None and not objective.batches.divisible:
        raise InputError(
            "samples needs a loss that is the mean over samples, or over targets of which torch leaves some out, found "
            "one that depends on the whole batch"
        )
    drawn = objective.subset(numbers(objective.samples, samples, seed))
    parts = tuple(drawn.subset(index) for index in torch.arange(samples).tensor_split(subsets))
    held = [(count or sample_count)(part.batches.held[0]) for part in parts]
    if min(held) <= 0:
        raise InputError(f"samples must leave targets that count in each of {subsets} subsets, found one without")
    weights = torch.tensor(held, dtype=torch.float64)
    return Draw(drawn, parts, weights / weights.sum(), samples / objective.samples)

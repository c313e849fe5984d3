"""One pass over the snapshots of trajectories: the inner products between their points, means and step lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg import progress
from thalweg.errors import InputError
from thalweg.landscape.blocks import Points

__all__ = ["SAME", "Sums", "gathered"]

SAME = "snapshots must differ from each other, found the same point throughout (to rounding)"


@dataclass
class Sums:
    """What one pass over the parameters gathers.

    Args:
        points: The snapshots.
        replicas: The replicas used, ascending.
        excluded: Those left out because a snapshot of theirs is NaN or infinite, ascending.
        gram: (M, M) of M points; empty when there are fewer parameters than points.
        centred: (M, P), θ − mean; empty when there are fewer points than parameters.
        mean: (P,).
        steps: (S − 1, R) squared lengths.
        square: Σ ‖θ − mean‖².
        weight: Σ ‖θ‖².
    """

    points: Points
    replicas: tuple[int, ...]
    excluded: tuple[int, ...]
    gram: Tensor
    centred: Tensor
    mean: Tensor
    steps: Tensor
    square: float
    weight: float

    @property
    def count(self) -> int:
        """M."""
        return self.points.shape[0] * len(self.replicas)

    @property
    def wide(self) -> bool:
        """Whether there are more parameters than points."""
        return self.gram.numel() > 0

    @property
    def products(self) -> Tensor:
        """The matrix of inner products of the shorter side: of the points, or of the parameters."""
        return self.gram if self.wide else self.centred.T @ self.centred

    @property
    def floor(self) -> float:
        """Eigenvalue of the products that rounding alone can produce.

        Two sources: the float64 arithmetic, relative to the largest eigenvalue (bounded by their sum); and the
        snapshots' dtype. A weight w is stored to within eps·|w|/2, an error of variance eps²w²/12, and M×P independent
        errors of variance v have a Gram matrix whose largest eigenvalue is v(√M + √P)² (Marchenko & Pastur 1967).
        """
        size = self.points.size
        arithmetic = torch.finfo(torch.float64).eps * self.count * self.square
        entry = self.points.eps**2 / 12 * self.weight / (self.count * size)
        return max(arithmetic, 2 * entry * (self.count**0.5 + size**0.5) ** 2)


def gathered(points: Points, replicas: Sequence[int] | None, memory: int) -> Sums:
    """Reads the snapshots once, a block of parameters at a time; anew without the replicas that are not finite.

    Args:
        points: The snapshots.
        replicas: The replicas to use; None for all.
        memory: Bytes of working memory.

    Raises:
        InputError: Fewer than two snapshots, no finite replica, or more points than there is memory for.
    """
    used, bad = points.replicas(replicas), ()
    length, _, size = points.shape
    if length < 2:
        raise InputError(f"snapshots must hold at least 2 points of each trajectory, found {length}")
    count = length * len(used)
    wide = size > count
    # the Gram matrix of the shorter side, its eigenvectors and the solver's workspace; else also the rows themselves
    need = 4 * 8 * count**2 if wide else 8 * (4 * size**2 + 3 * size * count)
    if need > memory:
        raise InputError(
            f"memory must be at least {need:,} bytes for {count:,} points of {size:,} parameters, found {memory:,}: "
            "raise it, or take every second snapshot"
        )

    while True:
        used = tuple(r for r in used if r not in bad)
        if not used:
            raise InputError("snapshots must hold at least one replica whose weights are finite throughout, found none")
        sums = _accumulate(points, used, tuple(sorted(bad)), memory, wide=wide)
        if isinstance(sums, Sums):
            return sums
        bad += sums


def _accumulate(
    points: Points, used: tuple[int, ...], bad: tuple[int, ...], memory: int, *, wide: bool
) -> Sums | tuple[int, ...]:
    """Reads all blocks; returns the replicas of the first block that holds a non-finite number as soon as it is met."""
    length, _, size = points.shape
    count = length * len(used)
    device = points.read(used, 0, 1).device
    new = {"dtype": torch.float64, "device": device}
    sums = Sums(
        points,
        used,
        bad,
        gram=torch.zeros((count, count) if wide else (0, 0), **new),
        centred=torch.zeros((0, 0) if wide else (count, size), **new),
        mean=torch.zeros(size, **new),
        steps=torch.zeros(length - 1, len(used), **new),
        square=0.0,
        weight=0.0,
    )
    with progress.track("principal components", total=size) as advance:
        for start, stop in points.blocks(used, memory - sums.gram.nbytes * 4):
            block = points.read(used, start, stop)  # (S, R, b)
            finite = block.isfinite().all(dim=2).all(dim=0)
            if not finite.all():
                return tuple(r for r, good in zip(used, finite.tolist(), strict=True) if not good)
            sums.weight += block.square().sum().item()
            sums.steps += block.diff(dim=0).square().sum(dim=-1)
            rows = block.flatten(0, 1)  # (M, b)
            sums.mean[start:stop] = rows.mean(dim=0)
            rows = rows - sums.mean[start:stop]
            sums.square += rows.square().sum().item()
            if wide:
                sums.gram.addmm_(rows, rows.T)
            else:
                sums.centred[:, start:stop] = rows
            advance(stop)
    return sums

"""Principal components of trajectories, all runs in one frame.

Eight paths in a space of 16,750 dimensions span at most as many dimensions as they have points. So nothing of the size
P×P is ever needed: the inner products between the points (the Gram matrix, M×M for M points) determine every distance
between them, and their eigenvectors give the coordinates of all points in all components at once. The snapshots are
read once, a block of parameters at a time, centred in float64 within the block (subtracting the mean before
multiplying: the usual "double centring" afterwards would cancel the leading digits where the weights are large and
their changes small).

One frame for all runs is the point: a PCA of each run alone, drawn into one picture, puts paths side by side that never
were near each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg._lazy import polars as pl
from thalweg._short import short
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.figures import Figure, Panel
from thalweg.figures.scales import number
from thalweg.landscape.blocks import Points
from thalweg.landscape.gram import SAME, gathered
from thalweg.landscape.path_figures import SQUARE, Labels, component_names, drawn, off_plane, path_panel, space
from thalweg.results import BaseResult
from thalweg.results.words import counted, listed, percent

__all__ = ["PCA", "explained_ratio", "pca"]


@short
@dataclass(frozen=True, eq=False)
class PCA(BaseResult):
    """Trajectories in the frame of their common principal components.

    The frame is complete: `scores` holds *all* components that rise above rounding, so that distances between scores
    are the distances between the weights. Projections, off-plane distances and the t-SNE start from here without
    reading the snapshots again.

    Args:
        scores: (S, R, rank) float64, coordinates of θ − mean in the components, by falling variance. NaN for excluded
            replicas.
        variance: (rank,) float64, sum over all points of the squared coordinate, divided by M − 1 (M points used).
        total: Total variance, weak components included; squared units of the weights.
        mean: (P,) float64, mean over all snapshots of all replicas used.
        steps: (S − 1, R) float64, ‖θ_{s+1} − θ_s‖; NaN for excluded replicas.
        replicas: The replicas used, ascending.
        excluded: The replicas left out because a snapshot of theirs is NaN or infinite.
        floor: Variance below which a component is rounding of the weights or of the arithmetic, and is not reported.
        points: Where the snapshots came from; read again only for `components`, and neither saved nor compared.
    """

    scores: Tensor
    variance: Tensor
    total: float
    mean: Tensor
    steps: Tensor
    replicas: tuple[int, ...]
    excluded: tuple[int, ...]
    floor: float
    points: Points | None = field(default=None, repr=False, compare=False)

    @property
    def size(self) -> int:
        """P, the number of parameters looked at."""
        return len(self.mean)

    @property
    def rank(self) -> int:
        """Number of components whose variance rises above rounding."""
        return self.scores.shape[-1]

    def coordinates(self, count: int = 3) -> Tensor:
        """Returns (S, R, count), the first coordinates; a component that does not exist is zero, never noise."""
        _check_count(count)
        kept = self.scores[..., :count]
        missing = kept[..., :1].new_zeros(*kept.shape[:-1], count - kept.shape[-1])
        out = torch.cat([kept, missing], dim=-1)
        return out.masked_fill(self.distance.isnan()[..., None], torch.nan)

    def ratio(self, count: int = 3) -> Tensor:
        """Returns (count,), the share of the total variance that each component explains; 0 where there is none."""
        _check_count(count)
        out = self.variance.new_zeros(count)
        kept = self.variance[:count] / self.total
        out[: len(kept)] = kept
        return out

    def status(self, count: int = 3) -> tuple[str, ...]:
        """Says of each component whether it is "resolved" or "missing" (its variance is zero or within rounding)."""
        _check_count(count)
        return tuple("resolved" if k < self.rank else "missing" for k in range(count))

    @cached_property
    def distance(self) -> Tensor:
        """(S, R), ‖θ − mean‖."""
        return self.scores.norm(dim=-1)

    def off_plane(self, count: int = 2) -> Tensor:
        """Returns (S, R), what a picture of `count` components hides: ‖(θ − mean) − its projection‖."""
        _check_count(count)
        return self.scores[..., count:].norm(dim=-1).masked_fill(self.distance.isnan(), torch.nan)

    def off_plane_share(self, count: int = 2) -> Tensor:
        """Returns (S, R), the off-plane distance divided by ‖θ − mean‖: 0 lies in the picture, 1 is invisible there."""
        return self.off_plane(count) / self.distance.clamp_min(torch.finfo(torch.float64).tiny)

    @property
    def between(self) -> float:
        """Share of the total variance that lies between the runs (the variance of their time averages)."""
        used = self.scores[:, list(self.replicas)]
        means = used.mean(dim=0)
        return (len(used) * means.square().sum() / used.square().sum()).item()

    @cached_property
    def final_distances(self) -> Tensor:
        """(R, R), distance between the last snapshots of two runs, in the full space."""
        last = self.scores[-1]
        out = torch.cdist(last, last, compute_mode="donot_use_mm_for_euclid_dist")
        lost = last.isnan().any(dim=-1)
        return out.masked_fill(lost[:, None] | lost[None, :], torch.nan)

    def panel(self, labels: Labels | None = None, title: str = "") -> Panel:
        """All paths in the plane of the first two components.

        Args:
            labels: What is written at the points; default the numbers of the replicas.
            title: Above the panel.
        """
        labels = Labels.plain(self.scores.shape[1]) if labels is None else labels
        names = component_names(self.ratio(2).numpy())
        return path_panel(self.coordinates(2).numpy(), self.replicas, labels, names, title=title)

    def hidden(self, labels: Labels | None = None, title: str = "") -> Panel:
        """How far every snapshot lies off the plane of the first two components; arguments as :meth:`panel`."""
        labels = Labels.plain(self.scores.shape[1]) if labels is None else labels
        return off_plane(self.off_plane(2).numpy(), self.distance.numpy(), self.replicas, labels, title)

    def space(self, labels: Labels | None = None, *, name: str = "model", title: str = "") -> Figure:
        """All paths in their first three components, to be turned.

        Args:
            labels: As :meth:`panel`, like the title.
            name: Of what moved, in words.
            title: See there.
        """
        labels = Labels.plain(self.scores.shape[1]) if labels is None else labels
        points, ratio = self.coordinates(3).numpy(), self.ratio(3).numpy()
        return space(points, ratio, self.replicas, labels, name=name, title=title)

    def plot(self, labels: Labels | None = None) -> Figure:
        """All paths in the plane of the first two components, and how far they lie off it.

        Args:
            labels: What is written at the points; default the numbers of the replicas.
        """
        labels = Labels.plain(self.scores.shape[1]) if labels is None else labels
        caption = (
            "Left: all paths in the frame of their common first two principal components, with equal scales; squares "
            "are starts, stars ends. Right: the distance of every snapshot from that plane (median and range), beside "
            f"its distance from the mean.{drawn(self.replicas, len(self.scores))[2]}"
        )
        panels = self.panel(labels, "principal components"), self.hidden(labels, "what the plane hides")
        return Figure("pca", "Paths in their principal components", caption, panels, size=SQUARE)

    def table(self) -> pl.DataFrame:
        """One row per snapshot and replica: three coordinates, the distances off the plane and from the mean."""
        length, replicas, _ = self.scores.shape
        places = self.coordinates(3).reshape(-1, 3).numpy()
        columns = {"snapshot": np.repeat(np.arange(length), replicas), "replica": np.tile(np.arange(replicas), length)}
        columns |= {f"c{k + 1}": places[:, k] for k in range(3)}
        columns |= {"off plane": self.off_plane(2).numpy().ravel(), "from mean": self.distance.numpy().ravel()}
        return pl.DataFrame(columns)

    def summary(self) -> str:
        """How much two components show, what they hide, and how much of the variance lies between the paths."""
        used = list(self.replicas)
        hidden, share = (value[:, used].median() for value in (self.off_plane(2), self.off_plane_share(2)))
        between = f"; {percent(self.between)} of the variance lies between the paths" if len(used) > 1 else ""
        lost = f" Left out, because weights are not finite: replicas {listed([str(r) for r in self.excluded])}."
        return (
            f"The first two principal components explain {percent(float(self.ratio(2).sum()))} of the variance of "
            f"{counted(len(used), 'path')} of {counted(len(self.scores), 'snapshot')} in {self.size:,} dimensions"
            f"{between}. The median snapshot lies {number(float(hidden))} off their plane, {percent(float(share))} of "
            f"its distance from the mean.{lost if self.excluded else ''}"
        )

    def components(self, count: int = 3, *, memory: int = 2**30) -> Tensor:
        """Reads the snapshots once more and returns (count, P), the orthonormal directions; zero rows where missing.

        Args:
            count: How many.
            memory: Bytes of working memory for a block of parameters.

        Raises:
            InputError: The result was loaded from a file, which holds no snapshots.
        """
        _check_count(count)
        if self.points is None:
            raise InputError("components need the snapshots, which a saved result does not hold: call pca again")
        kept = min(count, self.rank)
        used = self.scores[:, list(self.replicas), :kept].flatten(0, 1)  # (M, kept)
        # θ − mean = scores @ components, and the columns of scores are orthogonal with these squared lengths
        weights = used / used.square().sum(dim=0)
        out = self.mean.new_zeros(count, self.points.size)
        for start, stop in self.points.blocks(self.replicas, memory):
            block = self.points.read(self.replicas, start, stop).flatten(0, 1)  # (M, b)
            part = weights.T @ (block - block.mean(dim=0))
            # a parameter that never moved has no component, not even the rounding of its mean
            out[:kept, start:stop] = part.masked_fill((block == block[:1]).all(dim=0), 0.0)
        return out


@declared
def pca(
    snapshots: Tensor | Any,
    *,
    columns: Tensor | Sequence[int] | None = None,
    replicas: Sequence[int] | None = None,
    memory: int = 2**30,
) -> PCA:
    """Principal components of all trajectories jointly, by the eigenvectors of their Gram matrix in float64.

    The sign of a component is a convention, made here so that a rerun draws the same picture: training moves
    towards positive coordinates, that is, the coordinate of the last snapshot minus that of the first, averaged over
    the runs, is positive. Where that average vanishes (relative to the spread, 1e-6), the coordinate of largest
    magnitude is positive.

    A variance is accurate to about 1e-15·M of the *largest* one: components weaker than that, or weaker than the
    rounding of the snapshots' own dtype can produce, are reported as missing instead of drawn from noise.

    Args:
        snapshots: (S, R, P), any float dtype: a recording or a run, a tensor, an array, or anything lazy that knows
            `shape` and reads `[:, r:s, a:b]`, such as the snapshots of a recorded run. May be larger than memory.
        columns: Indices of the parameters to look at, such as those of one layer (`layout.select("0.*")`); default all.
        replicas: The replicas to use; default all. One with a NaN or infinite snapshot is left out and listed in
            `excluded`: it does not touch the others.
        memory: Bytes of working memory, for the Gram matrix and the block of parameters that is being read.

    Returns:
        A :class:`PCA`; replicas not used have NaN scores.

    Raises:
        InputError: Fewer than two snapshots, all points identical, no finite replica, indices out of range, or more
            points than the Gram matrix of min(S·R, P) rows has memory for.

    Example:
        Two runs, each on its own line through a space of five parameters:

        >>> path = torch.linspace(0, 1, 4)[:, None, None] * torch.eye(2, 5)
        >>> found = pca(path)
        >>> found.rank, found.coordinates(3).shape, found.status(3)
        (2, torch.Size([4, 2, 3]), ('resolved', 'resolved', 'missing'))
        >>> found.ratio(3)
        tensor([0.7368, 0.2632, 0.0000], dtype=torch.float64)
    """
    sums = gathered(Points.of(snapshots, columns), replicas, memory)
    points, used, count = sums.points, sums.replicas, sums.count
    length, floor = points.shape[0], sums.floor
    values, vectors = (part.flip(-1) for part in torch.linalg.eigh(sums.products))
    rank = int((values > floor).sum())
    if rank == 0:
        raise InputError(SAME)
    scores = vectors[:, :rank] * values[:rank].sqrt() if sums.wide else sums.centred @ vectors[:, :rank]

    scores = scores.unflatten(0, (length, len(used)))
    full = scores.new_full((length, points.shape[1], rank), torch.nan)
    full[:, list(used)] = scores * _signs(scores)
    steps = scores.new_full((length - 1, points.shape[1]), torch.nan)
    steps[:, list(used)] = sums.steps.sqrt()
    return PCA(
        scores=full,
        variance=values[:rank] / (count - 1),
        total=sums.square / (count - 1),
        mean=sums.mean,
        steps=steps,
        replicas=used,
        excluded=sums.excluded,
        floor=floor / (count - 1),
        points=points,
    )


@declared
def explained_ratio(
    snapshots: Tensor | Any,
    count: int = 3,
    *,
    columns: Tensor | Sequence[int] | None = None,
    replicas: Sequence[int] | None = None,
    memory: int = 2**30,
) -> Tensor:
    """The shares of the variance alone: `pca(…).ratio(count)` to rounding, without any component.

    Eigenvalues cost a small part of the eigenvectors: for thousands of points, a control of many random walks becomes
    several times cheaper.

    Args:
        snapshots: (S, R, P); as for :func:`pca`, like the others.
        count: How many components.
        columns: See there.
        replicas: See there.
        memory: See there.

    Returns:
        (count,) float64; 0 where there is no component.

    Raises:
        InputError: As :func:`pca`.

    Example:
        >>> explained_ratio(torch.linspace(0, 1, 4)[:, None, None] * torch.eye(2, 5))
        tensor([0.7368, 0.2632, 0.0000], dtype=torch.float64)
    """
    _check_count(count)
    sums = gathered(Points.of(snapshots, columns), replicas, memory)
    values = torch.linalg.eigvalsh(sums.products).flip(0)
    kept = values[values > sums.floor][:count]
    if len(kept) == 0:
        raise InputError(SAME)
    out = values.new_zeros(count)
    out[: len(kept)] = kept / sums.square
    return out


def _signs(scores: Tensor) -> Tensor:
    """(rank,) of ±1 by the convention that :func:`pca` documents; scores (S, R, rank)."""
    moved = (scores[-1] - scores[0]).mean(dim=0)
    flat = scores.flatten(0, 1)
    largest = flat.gather(0, flat.abs().argmax(dim=0, keepdim=True))[0]
    decided = torch.where(moved.abs() > 1e-6 * largest.abs(), moved, largest)
    return torch.where(decided < 0, -1.0, 1.0)


def _check_count(count: int) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise InputError(f"count must be a whole number of at least 1 component, found {count!r}")

"""Neighbourhoods of trajectories in two dimensions, by t-SNE with a fixed start."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from thalweg._lazy import polars as pl
from thalweg._short import short
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.figures import Figure, Panel
from thalweg.landscape.path_figures import SQUARE, Labels, drawn, path_panel
from thalweg.landscape.pca import PCA
from thalweg.results import BaseResult
from thalweg.results.words import percent

__all__ = ["TSNE", "tsne"]

DIMENSIONS = 50
"""Principal components handed to t-SNE (van der Maaten & Hinton 2008 use 30 to 50)."""

EXACT = 800
"""Up to this many points the gradient is exact and of one thread, so that a rerun gives the same picture to the bit."""


SAME = 1e-7
"""Points nearer than this share of the greatest distance from the mean are one."""


@short
@dataclass(frozen=True, eq=False)
class TSNE(BaseResult):
    """A t-SNE picture of trajectories.

    Only neighbourhoods are kept: distances between clusters, their sizes and the straightness of a path mean nothing.

    Args:
        coordinates: (S, R, 2) float64; NaN for excluded replicas.
        perplexity: The one used.
        divergence: Kullback–Leibler divergence that remains.
        iterations: Gradient steps taken.
        dimensions: Principal components that went in.
        kept: Share of the variance in them.
        places: Different points embedded; the snapshots of a run that stands still share one.
    """

    coordinates: Tensor
    perplexity: float
    divergence: float
    iterations: int
    dimensions: int
    kept: float
    places: int

    def panel(self, labels: Labels | None = None, title: str = "") -> Panel:
        """All paths in the plane; see :meth:`thalweg.landscape.PCA.panel`."""
        labels = Labels.plain(self.coordinates.shape[1]) if labels is None else labels
        return path_panel(self.coordinates.numpy(), self._replicas, labels, ("t-SNE 1", "t-SNE 2"), title=title)

    def plot(self, labels: Labels | None = None) -> Figure:
        """All paths in the plane.

        Args:
            labels: What is written at the points; default the numbers of the replicas.
        """
        caption = (
            f"All snapshots of all paths, embedded jointly by t-SNE (perplexity {self.perplexity:.3g}, divergence "
            f"{self.divergence:.3g}). Only neighbourhoods mean something here: lengths, gaps and sizes of clusters do "
            f"not. Squares are starts, stars ends.{drawn(self._replicas, len(self.coordinates))[2]}"
        )
        return Figure("tsne", "Paths by their neighbourhoods", caption, (self.panel(labels),), size=SQUARE)

    def table(self) -> pl.DataFrame:
        """One row per snapshot and replica, with its two coordinates."""
        length, replicas, _ = self.coordinates.shape
        columns = {"snapshot": np.repeat(np.arange(length), replicas), "replica": np.tile(np.arange(replicas), length)}
        return pl.DataFrame(columns | {f"c{k + 1}": self.coordinates[..., k].numpy().ravel() for k in range(2)})

    def summary(self) -> str:
        """How it was made, and what it does not show."""
        return (
            f"t-SNE of {self.places:,} different points in {self.dimensions} principal components, which hold "
            f"{percent(self.kept)} of their variance: perplexity {self.perplexity:.3g}, divergence "
            f"{self.divergence:.3g}. Only neighbourhoods mean something."
        )

    @property
    def _replicas(self) -> tuple[int, ...]:
        """Those that have places."""
        there = self.coordinates.isfinite().all(-1).all(0)
        return tuple(there.nonzero().flatten().tolist())


@declared
def tsne(found: PCA, *, perplexity: float | None = None, seed: int = 0, iterations: int = 1000) -> TSNE:
    """Embeds all snapshots of all runs in one plane so that near stays near.

    The points enter as coordinates in their first 50 principal components (float64), and the picture starts from the
    first two of them (Kobak & Berens 2019: otherwise its large-scale arrangement is arbitrary), shrunk to a standard
    deviation of 1e-4, plus one hundredth of that as seeded noise: without it points on a line would stay on it.
    Snapshots in the same place (within 1e-7 of the spread) are embedded once: t-SNE pushes equal points apart, and
    would draw a long path for a layer that never moves.

    Args:
        found: The principal components of the trajectories, jointly over the runs.
        perplexity: Effective number of neighbours, in [1, (M − 1)/3] for M different points, because a point's
            neighbours within three times the perplexity are weighed. Default an eighth of the snapshots of a run, but
            at least 3 and at most 30 (and (M − 1)/3): with more, half a run counts as near, and its path is folded
            into zigzags (eight runs of digits with 61 snapshots each turn by 53° from step to step at a quarter, by
            10° at an eighth).
        seed: Seed of the noise in the start.
        iterations: Gradient steps, at least 250: the first 250 exaggerate attraction.

    Returns:
        A :class:`TSNE`. Up to 800 points the gradient is exact; above, Barnes–Hut (angle 0.5) approximates it.

    Raises:
        InputError: Fewer than 4 different points, or a perplexity out of bounds.

    Source:
        L. van der Maaten, G. Hinton, "Visualizing data using t-SNE", JMLR 2008; D. Kobak, P. Berens, "The art of using
        t-SNE for single-cell transcriptomics", Nature Communications 2019.
    """
    if not isinstance(found, PCA):
        raise InputError(f"found must be the principal components that pca returns, found {type(found).__name__}")
    used = list(found.replicas)
    points = found.scores[:, used, :DIMENSIONS].flatten(0, 1).cpu()  # (M, D)
    first, place = _places(points)
    count = len(first)
    if count < 4:
        raise InputError(f"t-SNE needs at least 4 different points, found {count}")
    most = (count - 1) / 3
    chosen = min(30.0, max(3.0, len(found.scores) / 8), most) if perplexity is None else float(perplexity)
    if not 1 <= chosen <= most:
        raise InputError(f"perplexity must lie in 1 … {most:.4g} for {count} different points, found {perplexity}")
    if iterations < 250:
        raise InputError(f"iterations must be at least 250, found {iterations}")

    plane = found.coordinates(2)[:, used].flatten(0, 1).cpu()[first]
    noise = torch.randn(count, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    start = 1e-4 * (plane / plane[:, 0].std() + 0.01 * noise)

    # deferred: scikit-learn takes seconds to import
    from sklearn.manifold import TSNE as Embedding

    embedding = Embedding(
        perplexity=chosen,
        init=start.numpy().astype(np.float32),  # pyrefly: ignore[bad-argument-type]  sklearn's inferred type is wrong
        learning_rate="auto",
        max_iter=iterations,
        method="exact" if count <= EXACT else "barnes_hut",
        random_state=seed,
        n_jobs=1,
    )
    # the scale of the weights is arbitrary; t-SNE's search for the bandwidth likes distances of order one
    scaled = points[first] / points.square().sum(dim=1).mean().sqrt()
    placed = torch.from_numpy(embedding.fit_transform(scaled.numpy()).astype(np.float64))  # pyrefly: ignore[bad-argument-type]  likewise
    out = torch.full((*found.scores.shape[:2], 2), torch.nan, dtype=torch.float64)
    out[:, used] = placed[place].unflatten(0, (found.scores.shape[0], len(used)))
    return TSNE(
        coordinates=out,
        perplexity=chosen,
        divergence=float(embedding.kl_divergence_),
        iterations=int(embedding.n_iter_),
        dimensions=points.shape[1],
        kept=found.ratio(DIMENSIONS).sum().item(),
        places=count,
    )


def _places(points: Tensor) -> tuple[Tensor, Tensor]:
    """Different points among (M, D): index of the first of each (U,), and which of them every point is (M,)."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    near = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist") <= SAME * points.norm(dim=1).max()
    row, column = near.nonzero().T.numpy()
    graph = coo_matrix((np.ones(len(row)), (row, column)), shape=near.shape)
    _, labels = connected_components(graph, directed=False)
    _, first, place = np.unique(labels, return_index=True, return_inverse=True)
    return torch.from_numpy(first), torch.from_numpy(place)

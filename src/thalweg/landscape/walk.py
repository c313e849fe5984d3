"""The control of every picture of a trajectory: the same picture of a random walk.

The principal components of a random walk in many dimensions are cosines of time, whatever it walks through: the first
explains 6/π² = 61 % of the variance, the second 15 %, and the path drawn in the first two is a smooth parabola
(Antognini & Sohl-Dickstein 2018). A trajectory that curves gently and is explained to 75 % by two components shows
nothing about the loss until it differs from this.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.landscape.pca import PCA
from thalweg.objective.arguments import floating

__all__ = ["matched_walk", "random_walk", "walk_ratio"]


@declared
def random_walk(lengths: Tensor, size: int, *, starts: Tensor | None = None, seed: int = 0) -> Tensor:
    """Random walks with steps of given lengths in independent, uniformly distributed directions.

    Only the inner products of the increments matter for any projection that does not single out an axis. Those of
    m Gaussian vectors in `size` dimensions are distributed as A·Aᵀ with a triangular A of m columns (Bartlett 1933):
    the walk comes in at most m dimensions, equals a walk in all `size` dimensions up to a rotation, and costs the
    same for a thousand parameters and a billion.

    Args:
        lengths: (S − 1, R), length of each step of each walk.
        size: P, number of dimensions walked in.
        starts: (R, D) starting points, D ≤ `size`: coordinates in any D orthonormal directions; default all at the
            origin.
        seed: Seed of the directions.

    Returns:
        (S, R, D′) float64 with D′ ≤ P: what :func:`thalweg.landscape.pca` accepts.

    Raises:
        InputError: Lengths that are negative or not finite, no dimension, or starts that do not fit.

    Example:
        >>> walk = random_walk(torch.ones(99, 1), size=10**9)
        >>> walk.shape, round(walk[-1].norm().item())  # about √99
        (torch.Size([100, 1, 99]), 10)

    Source:
        J. Antognini, J. Sohl-Dickstein, "PCA of high dimensional random walks with comparison to neural network
        training", NeurIPS 2018; M. S. Bartlett, "On the theory of statistical regression", 1933.
    """
    lengths = floating(lengths, "lengths")
    if lengths.dim() != 2 or 0 in lengths.shape:
        raise InputError(f"lengths must have shape (S - 1, R), none empty, found {tuple(lengths.shape)}")
    lengths = lengths.detach().double().cpu()
    if not bool((lengths >= 0).all()) or not bool(lengths.isfinite().all()):
        raise InputError("lengths must be finite and not negative, found one that is")
    if size < 1:
        raise InputError(f"size must be at least 1 dimension, found {size}")
    count, replicas = lengths.shape
    first = torch.zeros(replicas, 0, dtype=torch.float64) if starts is None else starts.detach().double().cpu()
    if first.dim() != 2 or len(first) != replicas or first.shape[1] > size or not bool(first.isfinite().all()):
        raise InputError(f"starts must be finite, of shape ({replicas}, D) with D ≤ {size}, found {tuple(first.shape)}")

    steps = count * replicas
    generator = np.random.default_rng(seed)
    head = torch.from_numpy(generator.standard_normal((steps, first.shape[1])))
    increments = torch.cat([head, _gaussian(steps, size - first.shape[1], generator)], dim=1)
    increments /= increments.norm(dim=1, keepdim=True)
    path = (increments.unflatten(0, (count, replicas)) * lengths[..., None]).cumsum(dim=0)
    origin = torch.zeros(1, replicas, path.shape[2], dtype=torch.float64)
    origin[0, :, : first.shape[1]] = first
    return torch.cat([origin, origin + path])


@declared
def matched_walk(found: PCA, *, seed: int = 0) -> Tensor:
    """The control of recorded trajectories: the same starting points and step lengths, the directions random.

    Starting points matter as much as steps: independently initialised runs begin far apart, and several components of
    their joint frame only tell the runs apart.

    Args:
        found: The principal components of the trajectories; excluded replicas have no walk.
        seed: Seed of the directions.

    Returns:
        (S, replicas used, D′) float64, in coordinates of its own (the starting points are rotated with the walk).
    """
    if not isinstance(found, PCA):
        raise InputError(f"found must be the principal components that pca returns, found {type(found).__name__}")
    used = list(found.replicas)
    starts = found.scores[0, used].cpu()  # (R, rank), exact distances in rank dimensions
    # R points span R dimensions: rotated into them (starts = triangle.T @ basis.T), the walk needs no more of the frame
    triangle = torch.linalg.qr(starts.T, mode="r").R
    return random_walk(found.steps[:, used], found.size, starts=triangle.T, seed=seed)


@declared
def walk_ratio(length: int, count: int = 3) -> Tensor:
    """Share of the variance that the first components of one long walk in very many dimensions explain.

    The centred points of a walk with independent increments of equal length have the pseudo-inverse of the path graph's
    Laplacian as Gram matrix, with eigenvalues 1/(2 − 2cos(πk/S)); their sum is (S² − 1)/6. For S → ∞ the shares are
    6/(π²k²) (Antognini & Sohl-Dickstein 2018, eq. 12).

    Args:
        length: S, number of points of the walk, at least 2.
        count: How many components; beyond S − 1 the share is 0.

    Returns:
        (count,) float64.

    Raises:
        InputError: Fewer than 2 points.

    Example:
        >>> walk_ratio(10_000, 2)
        tensor([0.6079, 0.1520], dtype=torch.float64)
    """
    if length < 2:
        raise InputError(f"length must be at least 2 points, found {length}")
    k = torch.arange(1, min(count, length - 1) + 1, dtype=torch.float64)
    out = torch.zeros(count, dtype=torch.float64)
    out[: len(k)] = 6 / (length**2 - 1) / (2 - 2 * torch.cos(torch.pi * k / length))
    return out


def _gaussian(rows: int, columns: int, generator: np.random.Generator) -> Tensor:
    """(rows, ≤ columns) with the inner products of `rows` standard normal vectors in `columns` dimensions."""
    if columns <= rows:
        return torch.from_numpy(generator.standard_normal((rows, columns)))
    triangle = np.tril(generator.standard_normal((rows, rows)), -1)
    np.fill_diagonal(triangle, np.sqrt(generator.chisquare(columns - np.arange(rows))))
    return torch.from_numpy(triangle)

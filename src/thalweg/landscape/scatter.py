"""The loss at weights that were visited and at random ones near the last of them, embedded in a plane.

No direction is chosen: every point has its true loss, and only its place in the picture is made up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from thalweg._short import short
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.landscape.blocks import as_snapshots
from thalweg.landscape.measures import columns, measure
from thalweg.landscape.pca import pca
from thalweg.landscape.tsne import tsne
from thalweg.objective import Objective
from thalweg.objective.arguments import as_objective
from thalweg.objective.seeds import generator

__all__ = ["ScatterSurface", "scatter_surface"]


@short
@dataclass(frozen=True, eq=False)
class ScatterSurface:
    """M points in a plane with their losses: first the snapshots, then the neighbours of the last of them.

    Args:
        coordinates: (M, 2) float64; NaN where weights are not finite.
        values: name -> (M,) float64, true values at the points.
        snapshot: (M,), number of the snapshot that a point is, or lies near.
        replica: (M,), the replica of that snapshot.
        neighbour: (M,), whether the point is a random one.
        method: "tsne" or "pca".
        notes: Sentences on what the picture hides: how the neighbours were drawn, then on the embedding.
        points: (M, P), the weights themselves.
    """

    coordinates: Tensor
    values: dict[str, Tensor]
    snapshot: Tensor
    replica: Tensor
    neighbour: Tensor
    method: str
    notes: tuple[str, ...]
    points: Tensor = field(repr=False)

    def embedded(
        self, method: Literal["tsne", "pca"], *, perplexity: float | None = None, seed: int = 0
    ) -> ScatterSurface:
        """The same points and losses in another plane: nothing is evaluated again."""
        coordinates, note = _embedded(self.points, method, perplexity, seed)
        return replace(self, coordinates=coordinates, method=method, notes=(self.notes[0], note, *self.notes[2:]))


@declared
def scatter_surface(
    objective: Objective,
    path: Any,
    *,
    last: int = 5,
    neighbours: int = 50,
    spread: float = 0.05,
    method: Literal["tsne", "pca"] = "tsne",
    perplexity: float | None = None,
    metrics: Sequence[str] = ("loss",),
    seed: int = 0,
) -> ScatterSurface:
    """Evaluates snapshots and seeded Gaussian neighbours of the last ones, and embeds them all together.

    Args:
        objective: The loss.
        path: Snapshots (S, P) or (S, R, P), or a recording or a run.
        last: Number of snapshots, from the end, that get neighbours; at most S.
        neighbours: Number of neighbours of each of them.
        spread: Standard deviation of every parameter of a neighbour, relative to the snapshot's root mean square.
        method: "tsne" keeps neighbourhoods only; "pca" is a true projection.
        perplexity: Of t-SNE, see :func:`thalweg.landscape.tsne`.
        metrics: As for :func:`thalweg.landscape.surface`.
        seed: Neighbours of snapshot s of replica r depend on the seed, s and r alone.

    Raises:
        InputError: An argument is out of range, or too few different points.

    Example:
        >>> model = torch.nn.Linear(3, 1)
        >>> objective = Objective(model, torch.nn.MSELoss(), (torch.randn(5, 3), torch.randn(5, 1)))
        >>> path = torch.linspace(1, 0, 6)[:, None] * torch.ones(4)
        >>> found = scatter_surface(objective, path, last=2, neighbours=3, method="pca")
        >>> found.coordinates.shape, found.snapshot.tolist()
        (torch.Size([12, 2]), [0, 1, 2, 3, 4, 5, 4, 4, 4, 5, 5, 5])
    """
    columns(as_objective(objective), metrics)
    path = as_snapshots(path, "path")
    snapshots = torch.as_tensor(path[:]).detach().to(objective.device, objective.dtype)
    snapshots = snapshots[:, None] if snapshots.dim() == 2 else snapshots
    if snapshots.dim() != 3 or 0 in snapshots.shape or snapshots.shape[-1] != objective.size:
        found = tuple(path.shape)
        raise InputError(f"path must have shape (S, {objective.size}) or (S, R, {objective.size}), found {found}")
    for name, value, least in (("last", last, 1), ("neighbours", neighbours, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(f"{name} must be a whole number of at least {least}, found {value!r}")
    if not 0 < spread < float("inf"):
        raise InputError(f"spread must be positive and finite, found {spread}")
    length, replicas, _ = snapshots.shape
    places = [(s, r) for s in range(length) for r in range(replicas)]
    ends = [(s, r) for s in range(max(0, length - last), length) for r in range(replicas)]
    near = [_near(snapshots[s, r], neighbours, spread, generator(seed, r, f"scatter:{s}")) for s, r in ends]
    points = torch.cat([snapshots.flatten(0, 1), *near])  # (M, P)
    owner = torch.tensor(places + [end for end in ends for _ in range(neighbours)])
    coordinates, note = _embedded(points, method, perplexity, seed)
    drawn = (
        f"{len(places)} snapshots and {len(ends) * neighbours} neighbours, Gaussian in every parameter with "
        f"{100 * spread:g} % of the root mean square weight."
    )
    lost = int((~points.isfinite().all(-1)).sum())
    lacking = f"{lost} of {len(points)} points have no place, because their weights are not finite."
    return ScatterSurface(
        coordinates=coordinates,
        values=measure(objective, points, metrics),
        snapshot=owner[:, 0],
        replica=owner[:, 1],
        neighbour=torch.arange(len(points)) >= len(places),
        method=method,
        notes=(drawn, note, *([lacking] if lost else [])),
        points=points,
    )


def _near(theta: Tensor, count: int, spread: float, source: torch.Generator) -> Tensor:
    noise = torch.randn(count, len(theta), generator=source, dtype=torch.float64).to(theta)
    return theta + spread * theta.square().mean().sqrt() * noise


def _embedded(points: Tensor, method: str, perplexity: float | None, seed: int) -> tuple[Tensor, str]:
    """Places (M, 2) and a sentence on what they hide."""
    if method not in ("tsne", "pca"):
        raise InputError(f"method must be 'tsne' or 'pca', found '{method}'")
    finite = points.isfinite().all(-1)
    out = torch.full((len(points), 2), torch.nan, dtype=torch.float64, device=points.device)
    if not bool(finite.any()):
        raise InputError("path must hold finite weights, found none")
    found = pca(points[finite][:, None])
    if method == "pca":
        out[finite] = found.coordinates(2)[:, 0]
        share = 100 * float(found.ratio(2).sum())
        return out, f"Principal components: {share:.1f} % of the variance of these points is shown."
    placed = tsne(found, perplexity=perplexity, seed=seed)
    out[finite] = placed.coordinates[:, 0]
    return out, (
        f"t-SNE (perplexity {placed.perplexity:.3g}): only neighbourhoods mean something, not distances, sizes or gaps."
    )

"""The loss at weights that were visited and at random ones near the last of them, embedded in a plane.

No direction is chosen: every point has its true loss, and only its place in the picture is made up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from thalweg._lazy import polars as pl
from thalweg._short import short
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.figures import Axis, ColourScale, Figure, Line, Panel, Scatter
from thalweg.figures.choosing import chosen_scale
from thalweg.figures.scales import number
from thalweg.landscape.blocks import as_snapshots
from thalweg.landscape.measures import columns, measure
from thalweg.landscape.pca import pca
from thalweg.landscape.tsne import tsne
from thalweg.objective import Objective
from thalweg.objective.arguments import as_objective
from thalweg.objective.seeds import generator
from thalweg.results import BaseResult
from thalweg.results.words import percent, range_words, typeset

__all__ = ["ScatterSurface", "scatter_surface"]


@short
@dataclass(frozen=True, eq=False)
class ScatterSurface(BaseResult):
    """M points in a plane with their losses: first the snapshots, then the neighbours of the last of them.

    Args:
        coordinates: (M, 2) float64; NaN where weights are not finite.
        values: name -> (M,) float64, true values at the points.
        snapshot: (M,), number of the snapshot that a point is, or lies near.
        replica: (M,), the replica of that snapshot.
        neighbour: (M,), whether the point is a random one.
        method: "tsne" or "pca".
        notes: Sentences on what the picture hides: how the neighbours were drawn, then on the embedding.
        points: (M, P), the weights themselves; neither saved nor compared.
    """

    coordinates: Tensor
    values: dict[str, Tensor]
    snapshot: Tensor
    replica: Tensor
    neighbour: Tensor
    method: str
    notes: tuple[str, ...]
    points: Tensor | None = field(default=None, repr=False, compare=False)

    def embedded(
        self, method: Literal["tsne", "pca"], *, perplexity: float | None = None, seed: int = 0
    ) -> ScatterSurface:
        """The same points and losses in another plane: nothing is evaluated again.

        Raises:
            InputError: The result was loaded from a file, which holds no weights.
        """
        if self.points is None:
            raise InputError("another plane needs the weights, which a saved result does not hold")
        coordinates, note = _embedded(self.points, method, perplexity, seed)
        return replace(self, coordinates=coordinates, method=method, notes=(self.notes[0], note, *self.notes[2:]))

    @property
    def leading(self) -> tuple[str, np.ndarray]:
        """The first metric: its words, and (M,) values."""
        name, values = next(iter(self.values.items()))
        return name.replace("_", " "), values.numpy()

    @property
    def lower(self) -> float:
        """Share of the neighbours whose first metric lies below that of the snapshot that they surround."""
        values, near = self.leading[1], self.neighbour.numpy()
        owners = list(zip(self.snapshot.tolist(), self.replica.tolist(), strict=True))
        own = {owner: value for owner, value, other in zip(owners, values, near, strict=True) if not other}
        below = [value < own[owner] for owner, value, other in zip(owners, values, near, strict=True) if other]
        return float(np.mean(below)) if below else float("nan")

    def panel(self, scale: ColourScale, title: str = "") -> Panel:
        """The points in their plane, coloured by the first metric; every path is joined by a line."""
        values, places, near = self.leading[1], self.coordinates.numpy(), self.neighbour.numpy()
        order = np.concatenate([np.flatnonzero(near), np.flatnonzero(~near)])  # the paths lie above the neighbours
        first, last = self.snapshot[~self.neighbour].min(), self.snapshot[~self.neighbour].max()
        texts = {int(first): "start", int(last): "end"}
        x, y = places[order].T
        points = Scatter(
            x,
            y,
            values[order],
            scale=scale,
            markers=tuple("neighbour" if other else "visited" for other in near[order]),
            texts=tuple("" if near[k] else texts.get(int(self.snapshot[k]), "") for k in order),
            size=tuple(3.4 if other else 4.4 for other in near[order]),
            hover=tuple(f"{self.leading[0]} {number(value)}" for value in values[order].tolist()),
        )
        paths = [places[~near & (self.replica.numpy() == r)] for r in self.replica.unique().tolist()]
        ways = [Line(*path.T, label="path of training", colour="ink", width=0.8) for path in paths]
        name = "component" if self.method == "pca" else "t-SNE"
        return Panel(Axis(f"{name} 1"), Axis(f"{name} 2"), (*ways, points), title=title)

    def plot(self) -> Figure:
        """The points in their plane, coloured by the first metric."""
        name, values = self.leading
        scale, why = chosen_scale(name, values)
        caption = (
            f"Weights visited (joined by a line) and random ones near the last of them, coloured by their true {name}. "
            f"{why} {typeset(' '.join(self.notes))}"
        )
        title = f"{name[:1].upper()}{name[1:]} at the weights visited and near them"
        return Figure("visited", title, caption, (self.panel(scale),), size=(6.0, 4.8))

    def table(self) -> pl.DataFrame:
        """One row per point: whose it is, whether it was visited, its place and every metric."""
        columns = {"snapshot": self.snapshot, "replica": self.replica, "neighbour": self.neighbour}
        columns |= {f"c{k + 1}": self.coordinates[:, k] for k in range(2)} | self.values
        return pl.DataFrame({name: value.numpy() for name, value in columns.items()})

    def summary(self) -> str:
        """The first metric along the path and beside it, and how many neighbours lie lower."""
        name, values = self.leading
        near = self.neighbour.numpy()
        visited, beside = values[~near], values[near]
        text = f"The {name} of {len(visited)} snapshots is {range_words(visited)} (median, lowest to highest)"
        if not len(beside):
            return f"{text}."
        return (
            f"{text}; at {len(beside)} random weights near the last ones it is {range_words(beside)}, and "
            f"{percent(self.lower)} of these lie below the snapshot that they surround."
        )


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

"""Paths through parameter space: lines, Bézier curves and polygonal chains.

All three are weighted sums of a few points, θ(t) = Σₖ wₖ(t) pₖ with Σₖ wₖ = 1, so that one way of evaluating, of
measuring lengths and of training serves them all. t = 0 is the first point and t = 1 the last one, bit for bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from thalweg._short import short
from thalweg.errors import InputError, brief, nearest
from thalweg.objective.arguments import floating
from thalweg.results import Stored

__all__ = ["KINDS", "Path", "positions"]

Kind = Literal["line", "bezier", "polygon"]
KINDS = ("line", "bezier", "polygon")
FINE = 2000  # chords by which the length of a curve is measured; relative error below 1e-6 for a quadratic one


@short
@dataclass(frozen=True, eq=False)
class Path(Stored):
    """A path θ(t) from the first of its points to the last one.

    Args:
        points: (K, …, P), K ≥ 2: the two ends and, between them, what bends the path; every pair of the leading axes
            has a path of its own.
        kind: "line": (1−t)p₀ + t·p₁; "bezier": Σₖ C(K−1, k)(1−t)^(K−1−k) tᵏ pₖ, which touches its ends only;
            "polygon": straight from point to point, each stretch the same share of t. Outside [0, 1] a polygon goes on
            straight.

    Raises:
        InputError: Fewer than two points, an unknown kind, or a line with bends.

    Example:
        >>> a, b = torch.zeros(3), torch.ones(3)
        >>> Path(torch.stack([a, b])).at([-1.0, 0.5])
        tensor([[-1.0000, -1.0000, -1.0000],
                [ 0.5000,  0.5000,  0.5000]])
        >>> Path(torch.stack([a, 2 * b, b]), "bezier").at([0.5])
        tensor([[1.2500, 1.2500, 1.2500]])

    Source:
        T. Garipov, P. Izmailov, D. Podoprikhin, D. Vetrov, A. G. Wilson, "Loss surfaces, mode connectivity, and fast
        ensembling of DNNs", NeurIPS 2018, section 3.2.
    """

    points: Tensor
    kind: Kind = "line"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"kind must be one of {', '.join(KINDS)}, found '{self.kind}'{nearest(self.kind, KINDS)}")
        object.__setattr__(self, "points", floating(self.points, "points"))
        if self.points.dim() < 2 or len(self.points) < 2:
            raise InputError(f"points must have shape (K, …, P) with K at least 2, found {tuple(self.points.shape)}")
        if self.kind == "line" and len(self.points) > 2:
            raise InputError(f"a line must have two points, found {len(self.points)}")

    @property
    def lead(self) -> torch.Size:
        """The leading axes (…) of a point: one path each."""
        return self.points.shape[1:-1]

    def weights(self, t: Tensor | list[float]) -> Tensor:
        """w(t): (T,) -> (T, K), float64; exactly 1 and 0 at the ends."""
        t = positions(t)
        last = len(self.points) - 1
        if self.kind == "bezier":
            k = torch.arange(last + 1, dtype=torch.float64)
            choose = torch.tensor([math.comb(last, i) for i in range(last + 1)], dtype=torch.float64)
            return choose * t[:, None] ** k * (1 - t[:, None]) ** (last - k)
        stretch = (t * last).floor().clamp(0, last - 1)
        inside = t * last - stretch
        out = torch.zeros(len(t), last + 1, dtype=torch.float64)
        place = stretch.long()[:, None]
        return out.scatter(1, place, (1 - inside)[:, None]).scatter(1, place + 1, inside[:, None])

    def at(self, t: Tensor | list[float]) -> Tensor:
        """θ(t): (T,) -> (T, …, P), in the dtype of the points."""
        weights = self.weights(t).to(self.points)
        out = torch.tensordot(weights, self.points, dims=1)
        for row, k in (weights == 1).nonzero().tolist():  # the point itself, whatever is not finite in the others
            if weights[row].count_nonzero() == 1:
                out[row] = self.points[k]
        return out

    def each(self, t: Tensor) -> Tensor:
        """θ(t) of every path at a t of its own: (…) -> (…, P)."""
        weights = self.weights(t.flatten()).reshape(*self.lead, -1).to(self.points)
        return torch.einsum("...k,k...p->...p", weights, self.points)

    @cached_property
    def _products(self) -> Tensor:
        """Inner products of the points, seen from the first one: (…, K, K) float64."""
        moved = (self.points - self.points[:1]).double().movedim(0, -2)
        return moved @ moved.mT

    def _chords(self, t: Tensor) -> Tensor:
        """Distances ‖θ(t_{i+1}) − θ(t_i)‖: (T,) -> (T − 1, …)."""
        steps = self.weights(t).diff(dim=0).to(self.points.device)  # (T − 1, K)
        squares = torch.einsum("tk,...kl,tl->t...", steps, self._products, steps)
        return squares.clamp_min(0).sqrt()

    @property
    def length(self) -> Tensor:
        """Length of the path between its ends, in units of the weights: (…)."""
        return self._chords(self._grid(torch.empty(0, dtype=torch.float64))).sum(0)

    @property
    def distance(self) -> Tensor:
        """Distance between its ends: (…)."""
        return self._products[..., -1, -1].sqrt()

    def _grid(self, t: Tensor) -> Tensor:
        knots = torch.linspace(0, 1, len(self.points), dtype=torch.float64)
        fine = knots if self.kind != "bezier" else torch.linspace(0, 1, FINE + 1, dtype=torch.float64)
        return torch.cat([fine, t]).unique()

    def arc(self, t: Tensor | list[float]) -> Tensor:
        """The share of the path's length that lies between its first point and θ(t): (T,) -> (T, …) float64.

        0 at the first end, 1 at the last one; negative before and above 1 beyond. NaN for a path of no length.

        Raises:
            InputError: Positions of a Bézier curve outside [0, 1], where its length means nothing.
        """
        t = positions(t)
        if self.kind == "bezier" and len(t) and not 0 <= float(t.min()) <= float(t.max()) <= 1:
            raise InputError(f"t must lie in [0, 1] on a Bézier curve, found {float(t.min()):g} … {float(t.max()):g}")
        if self.kind == "line":
            shares = t.reshape(-1, *(1 for _ in self.lead)).expand(-1, *self.lead).to(self.points.device)
            return shares.masked_fill((self.distance == 0)[None], torch.nan)
        grid = self._grid(t)
        way = torch.cat([torch.zeros_like(self.length)[None], self._chords(grid).cumsum(0)])
        start, stop = (int(torch.searchsorted(grid, end)) for end in (0.0, 1.0))
        way = (way - way[start]) / (way[stop] - way[start])
        return way[torch.searchsorted(grid, t)]


def positions(t: Tensor | list[float], name: str = "t") -> Tensor:
    """Checks places on a path and returns them in float64.

    Raises:
        InputError: Not a list of finite numbers, or none.
    """
    try:
        t = torch.as_tensor(t, dtype=torch.float64).cpu()
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"{name} must be a list of numbers, found {brief(t)}") from None
    if t.dim() != 1 or t.numel() == 0:
        raise InputError(f"{name} must be a list of at least one number, found shape {tuple(t.shape)}")
    if not bool(t.isfinite().all()):
        raise InputError(f"{name} must be finite, found {float(t[~t.isfinite()][0])}")
    return t

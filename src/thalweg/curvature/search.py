"""The loop behind `eigenpairs`: search until the wanted pairs converge, then probe for missed ones."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from thalweg.curvature.bounds import Probe
from thalweg.curvature.krylov import Ritz, Subspace

__all__ = ["Search", "Which"]

Which = Literal["largest", "smallest", "both", "magnitude"]


class Search:
    """One search for extreme eigenpairs in a growing and restarted subspace.

    Args:
        space: Where it happens.
        wanted: How many pairs, at both ends together.
        which: Which end.
        tolerance: Relative residual that counts as converged.
        to_norm: Relative to the norm of the operator instead of each value.
        margin: How far beyond the last wanted value others must be excluded, relative to the same.
        max_products: Budget.
    """

    def __init__(
        self,
        space: Subspace,
        wanted: int,
        which: Which,
        tolerance: float,
        to_norm: bool,
        margin: float,
        max_products: int,
    ) -> None:
        self.space, self.wanted, self.which = space, wanted, which
        self.tolerance, self.to_norm, self.margin = tolerance, to_norm, margin
        self.max_products = max_products
        self.ritz: Ritz | None = None
        self.index = torch.empty(0, dtype=torch.int64)
        self.unconverged = torch.empty(0, dtype=torch.bool)
        self.products = self.checking = self.restarts = 0
        self.excluded = (-math.inf, math.inf)
        self.starts = len(space.frontier)

    def run(self, check: bool) -> bool:
        """Returns whether the set of pairs has been confirmed to be complete."""
        probe, idle, probes = None, 0, 0  # idle: products of probing since a missed value was last found
        found = torch.full((self.wanted,), math.inf, dtype=torch.float64)
        while True:
            self._solve()
            settled = len(self.index) == self.wanted and not bool(self.unconverged.any())
            if not self.space.finite or (settled and not check):
                return False
            if self.space.complete:
                if settled:  # else the products are too asymmetric for the tolerance
                    self._exclude_all()
                return settled
            if settled and probe is not None and idle > 0:
                if self._excludes(probe):
                    return True
                full = self.space.size == self.space.capacity
                if idle >= max(20, self.products - self.checking) or (full and probes >= 2):
                    return False
            if not settled:
                probe = None
            elif bool(((self._ritz.values[self.index] - found).abs() > self.limits()).any()):
                found, idle, probes = self._ritz.values[self.index], 0, 0
                self.excluded = (-math.inf, math.inf)  # it was about the pairs found before
            if self.products >= self.max_products:
                return False
            if settled and (probe is None or probe.exhausted or self.space.size == self.space.capacity):
                self._make_room_for_probe()
                probe, probes = Probe(self.space), probes + 1
            elif self.space.size == self.space.capacity:
                self._restart(_kept(self._ritz, self.index, self.space.capacity))
            self.products += 1
            if settled and probe is not None:
                self.checking, idle = self.checking + 1, idle + 1
                probe.step(self.space)
            else:
                self._step()

    @property
    def _ritz(self) -> Ritz:
        if self.ritz is None:
            raise RuntimeError("no Ritz pairs before the first product")
        return self.ritz

    def limits(self) -> Tensor:
        """Residuals that count as converged, per wanted pair."""
        values = self._ritz.values
        size = values.abs().max().expand(len(self.index)) if self.to_norm else values[self.index].abs()
        return (self.tolerance * size).clamp(min=self.space.rounding)

    def _solve(self) -> None:
        if self.space.size and self.space.finite:
            self.ritz = self.space.ritz()
            self.index = _select(self.ritz.values, self.wanted, self.which)
            self.unconverged = self.ritz.residuals[self.index] > self.limits()

    def _step(self) -> None:
        """Expands along the residual of the first pair that needs it."""
        if self.starts:  # they lead the frontier, in order
            self.starts -= 1
            self.space.expand(torch.eye(len(self.space.frontier), dtype=torch.float64)[0])
            return
        if self.space.size and len(self.space.frontier):
            target = int(self.index[int(self.unconverged.int().argmax())])
            residual = self._ritz.couplings[:, target]
            if float(torch.linalg.vector_norm(residual)) > self.space.rounding:
                self.space.expand(residual)
                return
        self.space.expand_randomly()

    def _restart(self, keep: Tensor) -> None:
        self.space.restart(self._ritz, keep)
        self.restarts += 1
        self._solve()

    def _make_room_for_probe(self) -> None:
        """Keeps the wanted Ritz vectors and those whose residual is too small to matter beside the margin."""
        ritz, edges = self._ritz, self._edges()
        keep = torch.zeros(len(ritz.values), dtype=torch.bool)
        for sign, edge, target in edges:
            distance = target - sign * ritz.values
            keep |= (distance > 0) & (ritz.residuals**2 <= 0.1 * (target - edge) * distance)
        free = (self.space.capacity - self.wanted) // 4  # the rest is room for the probe
        order = ritz.residuals.argsort()
        extra = order[keep[order]][:free]
        keep = torch.zeros_like(keep).index_fill_(0, torch.cat([extra, self.index]), True)
        if bool(keep.all()) and self.space.size < self.space.capacity:
            return
        self._restart(keep.nonzero().flatten())

    def _edges(self) -> list[tuple[int, float, float]]:
        """For each end that matters: its sign, the last wanted value and the value to exclude from, times the sign."""
        values = self._ritz.values[self.index]
        norm = float(self._ritz.values.abs().max())
        if self.which == "magnitude":
            ends = [(1, float(values.abs().min())), (-1, float(values.abs().min()))]
        elif self.which == "both":
            half = self.wanted - self.wanted // 2
            ends = [(1, float(values[half - 1])), (-1, -float(values[min(half, self.wanted - 1)]))]
        else:
            sign = 1 if self.which == "largest" else -1
            ends = [(sign, float((sign * values).min()))]
        floor = self.space.rounding
        return [(s, edge, edge + max(self.margin * (norm if self.to_norm else abs(edge)), floor)) for s, edge in ends]

    def _excludes(self, probe: Probe) -> bool:
        reaches = {1: math.inf, -1: math.inf}
        done = True
        for sign, edge, target in self._edges():
            reaches[sign] = probe.reach(self.space, edge, sign)
            done &= reaches[sign] <= target
        self.excluded = (max(-reaches[-1], self.excluded[0]), min(reaches[1], self.excluded[1]))
        return done

    def _exclude_all(self) -> None:
        reaches = {1: math.inf, -1: math.inf} | {sign: edge for sign, edge, _ in self._edges()}
        self.excluded = (-reaches[-1], reaches[1])


def _select(values: Tensor, wanted: int, which: Which) -> Tensor:
    """Indices of the wanted among ascending values, in the order in which they are returned."""
    m = len(values)
    wanted = min(wanted, m)
    if which == "smallest":
        return torch.arange(wanted)
    if which == "magnitude":
        return values.abs().argsort(descending=True, stable=True)[:wanted]
    descending = torch.arange(m - 1, -1, -1)
    if which == "largest" or wanted == m:
        return descending[:wanted]
    half = wanted // 2
    return torch.cat([descending[: wanted - half], descending[m - half :]])


def _kept(ritz: Ritz, index: Tensor, capacity: int) -> Tensor:
    """Indices of the Ritz vectors to restart with: the wanted ones and as many next to them as pay off.

    More vectors kept widen the gap between the wanted and the rest, but leave fewer steps until the next restart; the
    convergence of one cycle goes like (free steps)·√(relative gap), which is maximised (Yamazaki et al. 2010).
    """
    values, m = ritz.values, len(ritz.values)
    wanted = torch.zeros(m, dtype=torch.bool).index_fill_(0, index, True)
    bottom = int(wanted.long().cumprod(0).sum())  # run of wanted values at the lower end
    top = int(wanted.flip(0).long().cumprod(0).sum())
    best, best_score = (bottom, m - top), -1.0
    room = max(2, capacity // 5)
    for extra in range(m):
        low, high = bottom + extra * (bottom > 0), m - top - extra * (top > 0)  # dropped: low … high − 1
        if high - low < room:
            break
        spread = float(values[high - 1] - values[low])
        gaps = [float(values[m - top] - values[high - 1])] if top else []
        gaps += [float(values[low] - values[bottom - 1])] if bottom else []
        score = (high - low) * math.sqrt(max(min(gaps), 0.0) / max(spread, 1e-300))
        if score > best_score:
            best, best_score = (low, high), score
    return torch.cat([torch.arange(best[0]), torch.arange(best[1], m)])

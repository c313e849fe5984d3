"""Downhill from saddles: which saddle leads to which minimum, as a graph; and saddles of lower index on the way."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from thalweg import progress
from thalweg.critical.certificate import certify
from thalweg.critical.following import follow
from thalweg.critical.points import CriticalPoints, Status
from thalweg.critical.problem import Problem
from thalweg.errors import InputError

__all__ = ["Edge", "SolutionLandscape", "descend", "lower_saddles", "same_points"]

SHORT = 0.05  # largest step of a descent: it stays close to the path of steepest descent and in its basin


@dataclass(frozen=True)
class Edge:
    """One descent: from a point along ± one of its negative modes to the point where it ended."""

    source: int
    target: int
    mode: int
    sign: int


@dataclass(frozen=True)
class SolutionLandscape:
    """Critical points and the descents between them (Yin et al. 2020 call it the solution landscape).

    Attributes:
        points: All points, the given ones first; copies under a symmetry of the network are one point.
        edges: The descents; a descent that did not end at a minimum is not among them.
        lost: Descents that ended nowhere critical within their budget.
    """

    points: CriticalPoints
    edges: tuple[Edge, ...]
    lost: int


def descend(
    problem: Problem, points: CriticalPoints, *, modes: int = 4, push: float = 1e-2, steps: int = 400
) -> SolutionLandscape:
    """Goes downhill from every certified saddle, to both sides of each of its lowest modes.

    Args:
        problem: The function that the points belong to.
        points: Only those certified as saddles are left; all appear in the result.
        modes: At most so many of the lowest modes of each saddle.
        push: First displacement along the mode.
        steps: Budget of a descent.

    Raises:
        InputError: No point is a certified saddle.
    """
    sources = [r for r, status in enumerate(points.status) if status is Status.SADDLE]
    if not sources:
        raise InputError(f"points must contain a certified saddle, found {', '.join(sorted(set(points.status)))}")
    starts, labels = [], []
    for r in sources:
        vectors = problem.modes(points.theta[r : r + 1])[1][0]
        for mode in range(min(modes, int(points.certificate.negative[r]))):
            for sign in (1, -1):
                starts.append(points.theta[r] + sign * push * vectors[:, mode])
                labels.append((r, mode, sign))
    found = follow(problem, torch.stack(starts), 0, steps=steps, radius=push, longest=SHORT, label="descending")
    ends = certify(problem, found)
    fine = [i for i, status in enumerate(ends.status) if status is Status.MINIMUM]
    merged, place = _merged(points, ends.only(fine))
    edges = tuple(Edge(labels[i][0], place[n], labels[i][1], labels[i][2]) for n, i in enumerate(fine))
    return SolutionLandscape(merged, edges, len(labels) - len(fine))


def lower_saddles(problem: Problem, points: CriticalPoints, *, push: float = 1e-1, steps: int = 300) -> CriticalPoints:
    """Finds generic saddles below given ones: for each lower index k, pushed along the modes given up, then followed.

    From embedded saddles, which lie on symmetric strata, this leads to saddles that do not.

    Args:
        problem: The function.
        points: Certified saddles; others are skipped.
        push: Displacement along each of the modes given up, the lowest ones.
        steps: Budget of each search.
    """
    starts, wanted = [], []
    for r, status in enumerate(points.status):
        if status is not Status.SADDLE:
            continue
        vectors = problem.modes(points.theta[r : r + 1])[1][0]
        for k in range(int(points.certificate.negative[r])):
            starts.append(points.theta[r] + push * vectors[:, : int(points.certificate.negative[r]) - k].sum(1))
            wanted.append(k)
    if not starts:
        raise InputError(f"points must contain a certified saddle, found {', '.join(sorted(set(points.status)))}")
    return certify(problem, follow(problem, torch.stack(starts), torch.tensor(wanted), steps=steps))


def same_points(a: CriticalPoints, r: int, b: CriticalPoints, s: int, *, tolerance: float = 1e-7) -> bool:
    """Whether two points are the same up to a symmetry of the network: equal losses and equal spectra.

    Permutations and sign flips of units change neither; that two different orbits agree in both is possible but would
    take a coincidence in every eigenvalue.
    """
    x, y = a.certificate, b.certificate
    scale = float(torch.maximum(x.largest[r], y.largest[s])) + 1e-300
    close = abs(float(x.loss[r] - y.loss[s])) <= tolerance * max(abs(float(x.loss[r])), 1e-12)
    gap = (x.eigenvalues[r] - y.eigenvalues[s]).abs().nan_to_num()
    return close and bool(gap.amax() <= tolerance * scale)


def _merged(points: CriticalPoints, ends: CriticalPoints) -> tuple[CriticalPoints, list[int]]:
    """Appends the ends that are new; returns the place of each end among all."""
    unique: list[int] = []
    place: list[int] = []
    count = len(points.status)
    with progress.track("comparing end points", total=len(ends.status)) as advance:
        for s in range(len(ends.status)):
            old = next((r for r in range(count) if same_points(points, r, ends, s)), None)
            new = next((n for n, u in enumerate(unique) if same_points(ends, u, ends, s)), None)
            if old is not None:
                place.append(old)
            elif new is not None:
                place.append(count + new)
            else:
                place.append(count + len(unique))
                unique.append(s)
            advance(s + 1)
    return points.joined(ends.only(unique)), place

"""Downhill from saddles: which saddle leads to which minimum, as a graph; and saddles of lower index on the way."""

from __future__ import annotations

import torch
from torch import Tensor

from thalweg.critical.certificate import certify
from thalweg.critical.following import follow
from thalweg.critical.landscapes import Descents, Edge, SolutionLandscape
from thalweg.critical.points import CriticalPoints, Status, as_points
from thalweg.critical.problem import Problem, as_problem
from thalweg.critical.searches import Search
from thalweg.critical.steepest import steepest_descent
from thalweg.declared import declared
from thalweg.errors import InputError

__all__ = ["solution_landscape", "descend", "distinct", "lower_saddles", "same_points"]

HALVINGS = 14  # of the first displacement
LAST, SHORT = 300, 0.05  # budget and longest step of Newton's method at the end of a descent, so that it stays there


@declared
def descend(
    problem: Problem, points: CriticalPoints, *, modes: int = 4, push: float = 1e-2, steps: int = 2000
) -> Descents:
    """Follows the path of steepest descent from every certified saddle, to both sides of each of its lowest modes.

    Args:
        problem: The function that the points belong to.
        points: Only those certified as saddles are left.
        modes: At most so many of the lowest modes of each saddle.
        push: First displacement along the mode; half of it, and so on, where that is not yet below the saddle.
        steps: Budget of a descent, of `steepest_descent`.

    Raises:
        InputError: No point is a certified saddle.

    Example:
        >>> from thalweg.critical import FunctionProblem
        >>> problem = FunctionProblem(lambda x: (x[0] ** 2 - 1) ** 2 + x[1] ** 2, 2)
        >>> saddle = certify(problem, torch.zeros(1, 2).double())
        >>> descend(problem, saddle).ends.theta[:, 0].abs().tolist()
        [1.0, 1.0]
    """
    problem = as_problem(problem)
    directions, labels = [], []
    for r in _saddles(points):
        vectors = problem.modes(points.theta[r : r + 1])[1][0]
        for mode in range(min(modes, int(points.certificate.negative[r]))):
            for sign in (1, -1):
                directions.append(sign * vectors[:, mode])
                labels.append((r, mode, sign))
    source = [r for r, _, _ in labels]
    starts = _lower(problem, points.theta[source], torch.stack(directions), push)
    down = steepest_descent(problem, starts, steps=steps, label="descending")
    last = follow(problem, down.theta, 0, steps=LAST, radius=SHORT, longest=SHORT, label="Newton")
    ends = Search(last.theta, down.iterations + last.iterations, last.index)
    return Descents(certify(problem, ends), *torch.tensor(labels).unbind(1))


@declared
def solution_landscape(points: CriticalPoints, descents: Descents) -> SolutionLandscape:
    """The graph of points and of the descents from them; every point that has copies appears once.

    Args:
        points: Those from which the descents were made, and any others, minima for example.
        descents: Made from these points.
    """
    as_points(points)
    if not isinstance(descents, Descents):
        raise InputError(f"descents must be Descents (of descend), found {type(descents).__name__}")
    fine = [i for i, status in enumerate(descents.ends.status) if status is Status.MINIMUM]
    count = len(points.status)
    merged, place = distinct(points.joined(descents.ends.only(fine)))
    edges = tuple(
        Edge(place[int(descents.source[i])], place[count + n], int(descents.mode[i]), int(descents.sign[i]))
        for n, i in enumerate(fine)
    )
    return SolutionLandscape(merged, tuple(place[:count]), edges, len(descents.ends.status) - len(fine))


@declared
def lower_saddles(problem: Problem, points: CriticalPoints, *, push: float = 1e-1, steps: int = 300) -> CriticalPoints:
    """Finds generic saddles below given ones: for each lower index k, pushed along the modes given up, then followed.

    From embedded saddles, which lie on symmetric strata, this leads to saddles that do not.

    Args:
        problem: The function.
        points: Certified saddles; others are skipped.
        push: Displacement along each of the modes given up, the lowest ones.
        steps: Budget of each search.

    Raises:
        InputError: No point is a certified saddle.
    """
    problem = as_problem(problem)
    starts, wanted = [], []
    for r in _saddles(points):
        vectors, index = problem.modes(points.theta[r : r + 1])[1][0], int(points.certificate.negative[r])
        for k in range(index):
            starts.append(points.theta[r] + push * vectors[:, : index - k].sum(1))
            wanted.append(k)
    return certify(problem, follow(problem, torch.stack(starts), torch.tensor(wanted), steps=steps))


def _lower(problem: Problem, theta: Tensor, directions: Tensor, push: float) -> Tensor:
    """Starts below the saddles θ (D, P): along a shallow mode the loss may rise again within `push`."""
    length = theta.new_full((len(theta), 1), push)
    top = problem.value_and_gradient(theta)[0]
    for _ in range(HALVINGS):
        high = problem.value_and_gradient(theta + length * directions)[0] >= top
        if not bool(high.any()):
            break
        length[high] *= 0.5
    return theta + length * directions


def _saddles(points: CriticalPoints) -> list[int]:
    rows = [r for r, status in enumerate(as_points(points).status) if status is Status.SADDLE]
    if not rows:
        raise InputError(f"points must contain a certified saddle, found {', '.join(sorted(set(points.status)))}")
    return rows


@declared
def same_points(a: CriticalPoints, r: int, b: CriticalPoints, s: int, *, tolerance: float = 1e-7) -> bool:
    """Whether two points are the same up to a symmetry of the network: equal losses and equal spectra.

    Permutations and sign flips of units change neither; that two different orbits agree in both is possible but would
    take a coincidence in every eigenvalue.

    Args:
        a: Points, of which number `r` is meant.
        r: Position.
        b: Points, of which number `s` is meant.
        s: Position.
        tolerance: On the losses, relative to them, and on the eigenvalues, relative to the largest.
    """
    return bool(_same(as_points(a, "a"), [r], as_points(b, "b"), s, tolerance)[0])


@declared
def distinct(points: CriticalPoints, *, tolerance: float = 1e-7) -> tuple[CriticalPoints, list[int]]:
    """The points without copies (see `same_points`), in order, and for each of the points its position among them."""
    as_points(points)
    unique: list[int] = []
    place: list[int] = []
    for s in range(len(points.status)):
        copies = _same(points, unique, points, s, tolerance).nonzero()[:, 0].tolist()
        if not copies:
            unique.append(s)
        place.append(copies[0] if copies else len(unique) - 1)
    return points.only(unique), place


def _same(a: CriticalPoints, rows: list[int], b: CriticalPoints, s: int, tolerance: float) -> Tensor:
    """Which of these rows of a (U,) are copies of point s of b."""
    x, y = a.certificate, b.certificate
    close = (x.loss[rows] - y.loss[s]).abs() <= tolerance * x.loss[rows].abs().clamp(min=1e-12)
    gap = (x.eigenvalues[rows] - y.eigenvalues[s]).abs().nan_to_num().amax(1)
    return close & (gap <= tolerance * torch.maximum(x.largest[rows], y.largest[s]).clamp(min=1e-300))

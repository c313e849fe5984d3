"""The searches of `zero-gradient`: the course's method, and certified points beside it."""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from thalweg import critical
from thalweg.critical import CriticalPoints, Status
from thalweg.critical.modes import symmetric_modes
from thalweg.curvature import exact_curvature, minimal_ratio, neighbour_ratio
from thalweg.errors import InputError
from thalweg.experiments._zero_landscape import Walks
from thalweg.experiments._zero_points import Group, pack, searched, unpack

if TYPE_CHECKING:
    from thalweg.experiments.zero_gradient import Config
    from thalweg.objective import Objective
    from thalweg.runs import Run

__all__ = ["embedded", "end_points", "followed", "minima", "narrower", "walks"]


def end_points(config: Config, run: Run, objective: Objective, theta: Tensor, starts: np.ndarray) -> Group:
    """The course's method from where training stopped: the norm of the gradient as the objective.

    Args:
        config: The settings.
        run: Where chunks are kept.
        objective: The training loss.
        theta: Starts (R, P), float64.
        starts: Their numbers (R,).
    """
    problem = critical.as_problem(objective)
    method, options = _method(config)

    def search(place: slice) -> dict[str, Tensor]:
        return pack(critical.certify(problem, method(problem, theta[place], **options), polish=False), history=True)

    points, history = unpack(searched(run, "end-points", len(theta), config.chunk, search))
    return _measured(config, run, objective, "end point", points, starts, history, single=True)


def minima(config: Config, run: Run, objective: Objective, theta: Tensor, starts: np.ndarray) -> Group:
    """Minima of the loss with weight decay, from where training stopped."""
    problem = critical.as_problem(objective)

    def search(place: slice) -> dict[str, Tensor]:
        return pack(critical.certify(problem, critical.minimise(problem, theta[place])))

    points, _ = unpack(searched(run, "minima", len(theta), config.chunk, search))
    return _measured(config, run, objective, "minimum", points, starts, None)


def followed(config: Config, run: Run, objective: Objective, theta: Tensor, starts: np.ndarray, index: int) -> Group:
    """Saddles of a prescribed index by eigenvector following, from where training was early on."""
    problem = critical.as_problem(objective)

    def search(place: slice) -> dict[str, Tensor]:
        return pack(critical.certify(problem, critical.follow(problem, theta[place], index)))

    points, _ = unpack(searched(run, f"index-{index}", len(theta), config.chunk, search))
    return _measured(config, run, objective, f"index-{index} search", points, starts, None)


def embedded(config: Config, run: Run, objective: Objective) -> tuple[Group | None, str]:
    """Minima of narrower networks, padded with dead units: exact saddles of the whole network.

    Returns:
        The group, and why there is none.
    """
    try:
        hidden = critical.widths(objective)[1:-1]
        sizes = narrower(hidden, config.narrower)
        # A refusal (no stack of layers, an activation that is not zero at zero) is one for all widths.
        if sizes:
            small = critical.subnetwork(objective, sizes[0])
            critical.embed(small, objective, small.initial(1).double())
    except InputError as error:
        return None, str(error)
    if not sizes:
        return None, "the network has no narrower one of the same depth"
    problem = critical.as_problem(objective)
    parts = []
    for size in sizes:
        small = critical.subnetwork(objective, size)
        starts = small.initial(config.embedded, config.seed).double()
        inner = critical.as_problem(small)

        def search(
            place: slice, small: Objective = small, starts: Tensor = starts, inner: Any = inner
        ) -> dict[str, Tensor]:
            found = critical.minimise(inner, starts[place])
            padded = critical.embed(small, objective, found.theta)
            return pack(critical.certify(problem, padded, kind="embedded"))

        parts += searched(run, f"embedded-{'-'.join(map(str, size))}", config.embedded, config.chunk, search)
    points, _ = unpack(parts)
    return _measured(config, run, objective, "embedded", points, np.arange(len(points.status)), None), ""


def walks(config: Config, run: Run, objective: Objective, groups: list[Group]) -> Walks | None:
    """Walks downhill from every distinct saddle, to both sides of its lowest modes; None where there is no saddle.

    Args:
        config: The settings.
        run: Where chunks are kept.
        objective: The loss to which the points belong.
        groups: Certified points; those that are no minimum and no saddle are left out.
    """
    parts, keys = [], []
    for group in groups:
        rows = [r for r, status in enumerate(group.points.status) if status in (Status.MINIMUM, Status.SADDLE)]
        parts.append(group.points.only(rows))
        keys += [group.keys[r] for r in rows]
    every = functools.reduce(CriticalPoints.joined, parts)
    points, place = critical.distinct(every)
    names = [keys[place.index(position)] for position in range(len(points.status))]
    saddles = [r for r, status in enumerate(points.status) if status is Status.SADDLE]
    if not saddles:
        return None
    problem = critical.as_problem(objective)

    def search(chosen: slice) -> dict[str, Tensor]:
        found = critical.descend(problem, points.only(saddles[chosen]), modes=config.downhill)
        return pack(found.ends) | {"source": found.source + chosen.start, "mode": found.mode, "sign": found.sign}

    found = searched(run, "downhill", len(saddles), config.chunk, search)
    source, mode, sign = (torch.cat([part[name] for part in found]) for name in ("source", "mode", "sign"))
    descents = critical.Descents(unpack(found)[0], torch.tensor(saddles)[source], mode, sign)
    graph = critical.solution_landscape(points, descents)
    rows = list(range(len(names), len(graph.points.status)))
    met = None
    if rows:
        met = _measured(config, run, objective, "downhill", graph.points.only(rows), np.arange(len(rows)), None)
        names += met.keys
    nodes = Group(
        "point", objective.l2, graph.points, np.arange(len(names)), None, {}, np.array([]), names=tuple(names)
    )
    return Walks(graph, nodes, met, sum(status is Status.SADDLE for status in every.status))


def narrower(hidden: tuple[int, ...], most: int) -> list[tuple[int, ...]]:
    """Widths of at most so many narrower networks, from the widest to the narrowest, spread evenly.

    >>> narrower((4, 4), 3)
    [(3, 4), (3, 2), (1, 1)]
    >>> narrower((1,), 3)
    []
    """
    ranges = (range(width, 0, -1) for width in hidden)
    sizes = sorted(itertools.product(*ranges), key=lambda size: (-sum(size), size))[1:]
    if len(sizes) <= most or most < 2:
        return sizes[:most]
    places = np.unique(np.rint(np.linspace(0, len(sizes) - 1, most)).astype(int))
    return [sizes[place] for place in places.tolist()]


def _method(config: Config) -> tuple[Any, dict[str, Any]]:
    if config.method == "adam":
        return critical.gradient_norm_adam, {"steps": config.norm_steps, "lr": config.norm_lr}
    if config.method == "lbfgs":
        return critical.gradient_norm_lbfgs, {"steps": config.norm_steps}
    return critical.levenberg_on_gradient, {"steps": config.norm_steps}


def _measured(
    config: Config,
    run: Run,
    objective: Objective,
    name: str,
    points: CriticalPoints,
    starts: np.ndarray,
    history: tuple[np.ndarray, np.ndarray] | None,
    *,
    single: bool = False,
) -> Group:
    """Neighbours of every point; for the course's method also its counts, and the spectrum of a float32 script."""
    objective = objective.double()
    radii = sorted({*config.radii, config.radius})

    def measure(place: slice) -> dict[str, Tensor]:
        theta = points.theta[place]
        found = neighbour_ratio(
            objective, theta, radii, samples=config.neighbours, scale=config.scale, seed=config.seed, first=place.start
        )
        out = {"ratio": found.ratio, "low": found.low, "high": found.high}
        out["undecided"] = found.undecided / config.neighbours
        if single:
            rough = objective.to(dtype=torch.float32)
            matrix = exact_curvature(rough, theta.float(), dtype=torch.float32).matrix
            counts = minimal_ratio(objective, theta, permute=True, seed=config.seed)
            out |= {"counted.low": counts.low, "counted.high": counts.high, "counted.band": counts.band}
            out["single"] = symmetric_modes(matrix)[0]  # in float32 too
        return out

    parts = searched(run, f"{name.replace(' ', '-')}-measured", len(points.status), config.chunk, measure)
    joined = {key: torch.cat([part[key] for part in parts]).numpy() for key in parts[0]}
    rough = joined.pop("single", None)
    counted = None
    if single:
        counted = (joined.pop("counted.low"), joined.pop("counted.high"), joined.pop("counted.band"))
    return Group(name, objective.l2, points, starts, history, joined, np.array(radii), rough, counted)

"""Part 4 of `error-surface`: the planes, what lies in them, and what they hide."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from thalweg import landscape
from thalweg.errors import InputError
from thalweg.experiments._path_figures import run_name
from thalweg.experiments.shared.words import typeset
from thalweg.landscape import Grid
from thalweg.landscape.exporting import PREFIX
from thalweg.landscape.saved import SavedSurface

if TYPE_CHECKING:
    from torch import Tensor

    from thalweg.experiments._surface_look import Look
    from thalweg.landscape import Directions

__all__ = ["PLANES", "Plane", "plane"]

MARGIN = 0.25
"""Share of the extent of what is drawn in a plane that is added on every side."""


@dataclass(frozen=True, eq=False)
class Plane:
    """A surface with what is marked on it.

    Args:
        key: "random", "trajectory", …
        title: In words.
        saved: Axes, metrics and the path, if it is drawn.
        notes: Sentences on what it hides.
        places: Words -> coordinates (K,) of single points.
        explained: Share of the trajectory's variance that lies in it; NaN where it is not made from one.
        away: (S,) distance of every snapshot from its end, for the share that is off the plane; empty without a path.
    """

    key: str
    title: str
    saved: SavedSurface
    notes: tuple[str, ...]
    places: dict[str, np.ndarray]
    explained: float = float("nan")
    away: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @property
    def labels(self) -> list[str]:
        """Of the axes, as a figure writes them."""
        return [typeset(label) for label in self.saved.labels]

    @property
    def loss(self) -> np.ndarray:
        """(n₀, n₁)."""
        return self.saved.values["loss"]

    @property
    def centre(self) -> float:
        """The loss at the coordinates zero."""
        return float(self.loss[tuple(int(np.flatnonzero(axis == 0)[0]) for axis in self.saved.axes)])


@dataclass(frozen=True, eq=False)
class _Frame:
    """A plane before anything is evaluated in it."""

    title: str
    directions: Directions
    center: Tensor
    grid: Grid
    places: dict[str, np.ndarray]
    with_path: bool = False


def plane(look: Look, key: str) -> Plane:
    """Chooses directions and range, evaluates the surface, and keeps it in the run.

    Raises:
        InputError: There is no such plane here, such as one of three solutions when only two trainings completed.
    """
    frame = PLANES[key](look)
    metrics = ("loss", *look.objective.metric_functions)
    options = {"metrics": metrics, "run": look.run, "name": f"grid-{key}"}
    found = landscape.surface(look.objective, frame.center, frame.directions, frame.grid, **options)
    path, explained, away = _path(look, frame) if frame.with_path else ({}, float("nan"), np.zeros(0))
    saved = SavedSurface.of(found, path)
    look.run.save(PREFIX + key, saved.arrays())
    notes = tuple(typeset(note) for note in found.notes)
    return Plane(key, frame.title, saved, notes, frame.places, explained, away)


def _path(look: Look, frame: _Frame) -> tuple[dict[str, np.ndarray], float, np.ndarray]:
    """The training in the plane: columns of the path, the share of its variance there, distances from its centre."""
    found = landscape.path_on_plane(look.objective, look.path, frame.center, frame.directions)
    centred = look.path.double() - look.path.double().mean(dim=0)
    lost = frame.directions.project(centred)[1]
    columns = {
        "coordinates": found.coordinates.numpy(),
        "loss": found.plane["loss"].numpy(),
        "true loss": found.true["loss"].numpy(),
        "off-plane": found.off_plane.numpy(),
        "step": look.steps,
        "epoch": look.epochs,
    }
    return columns, 1 - float(lost.square().sum() / centred.square().sum()), found.distance.numpy()


def _random(look: Look) -> _Frame:
    config = look.config
    directions = landscape.random_directions(
        look.objective,
        look.theta,
        seed=config.seed,
        normalize=config.normalize,
        biases=config.biases,
        normalization=config.normalization,
    )
    grid = Grid(points=config.points, span=config.span)
    return _Frame("Two random directions", directions, look.theta, grid, {"end": np.zeros(2)})


def _trajectory(look: Look) -> _Frame:
    directions = landscape.pca_directions(look.path)
    coordinates = directions.project(look.path.double() - look.theta.double())[0].numpy()
    places = {"start": coordinates[0], "end": coordinates[-1]}
    grid = Grid(points=look.config.points, span=_around(coordinates))
    return _Frame("The plane of the trajectory", directions, look.theta, grid, places, with_path=True)


def _curvature(which: str, title: str) -> Callable[[Look], _Frame]:
    def frame(look: Look) -> _Frame:
        directions = landscape.hessian_directions(look.objective, look.theta, which, seed=look.config.seed)  # type: ignore[arg-type]
        grid = Grid(points=look.config.points, rise=_rise(look))
        return _Frame(title, directions, look.theta, grid, {"end": np.zeros(len(directions.vectors))})

    return frame


def _solutions(look: Look) -> _Frame:
    if len(look.replicas) < 3:
        raise InputError(f"the plane of three solutions needs 3 completed trainings, found {len(look.replicas)}")
    a, b, c = look.last[:3]
    directions = landscape.solution_directions(a, b, c)
    corners = directions.project(look.last[:3].double() - a.double())[0].numpy()
    places = {f"{name} ({run_name(r)})": corner for name, r, corner in zip("abc", look.replicas, corners, strict=False)}
    grid = Grid(points=look.config.points, span=_around(corners))
    return _Frame("The plane of three solutions", directions, a, grid, places)


def _around(coordinates: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Two ends per axis: everything inside, with a margin; zero is inside too."""
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    margin = MARGIN * (high - low)
    return tuple((float(a), float(b)) for a, b in zip(low - margin, high + margin, strict=True))


def _rise(look: Look) -> float:
    """By how much the loss may rise along the axes of a curvature plane."""
    if look.config.rise is not None:
        return look.config.rise
    lowered = float(look.loss[0] - look.loss[-1])
    return lowered if np.isfinite(lowered) and lowered > 0 else 1.0


PLANES: dict[str, Callable[[Look], _Frame]] = {
    "random": _random,
    "trajectory": _trajectory,
    "curvature": _curvature("top", "Two leading eigenvectors of the Hessian"),
    "saddle": _curvature("mixed", "Leading and lowest eigenvector of the Hessian"),
    "solutions": _solutions,
}
"""Key -> directions, centre, range and marks of a plane."""

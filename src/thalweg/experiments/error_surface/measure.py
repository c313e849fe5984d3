"""What `error-surface` trains and measures: weights visited, each parameter alone, a line, and planes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from thalweg import landscape
from thalweg.errors import InputError
from thalweg.experiments.error_surface.config import Config
from thalweg.experiments.shared.trained import run_name
from thalweg.experiments.shared.training import Setup
from thalweg.experiments.shared.weights import recorded
from thalweg.landscape import Directions, Grid, PathOnPlane, Perturbation, Profile, ScatterSurface, Surface
from thalweg.landscape.exporting import PREFIX
from thalweg.landscape.saved import SavedSurface
from thalweg.objective import Objective
from thalweg.objective.seeds import generator
from thalweg.results import Stored
from thalweg.runs import Recording, Run
from thalweg.training import train

__all__ = ["CLOSE", "Measured", "Plane", "Visited", "measure", "train_all"]

CLOSE = 0.1
"""Half-width of a close-up as a share of the range shown."""

MARGIN = 0.25
"""Share of the extent of what is drawn in a plane that is added on every side."""


@dataclass(frozen=True, eq=False)
class Visited(Stored):
    """Weights visited and near, by principal components and by t-SNE; ``lower`` is the share that lies lower."""

    pca: ScatterSurface
    tsne: ScatterSurface


@dataclass(frozen=True, eq=False)
class Plane(Stored):
    """A surface with what is marked on it.

    Args:
        key: "random", "trajectory", …
        title: In words.
        surface: The loss, and further metrics, in the plane.
        places: Name -> coordinates of what is marked.
        path: The training in the plane, if it is drawn.
        explained: Share of the variance of the path in the plane; NaN without a path.
    """

    key: str
    title: str
    surface: Surface
    places: dict[str, list[float]]
    path: PathOnPlane | None = None
    explained: float = float("nan")


@dataclass(frozen=True, eq=False)
class Measured:
    """The parts that were asked for, None or empty for the others; ``replicas`` completed, the first is looked at."""

    replicas: tuple[int, ...]
    visited: Visited | None
    parameters: Perturbation | None
    line: Profile | None
    planes: list[Plane]
    refused: list[str]


@dataclass(frozen=True, eq=False)
class _Subject:
    """The completed training that is looked at, and the others beside it."""

    config: Config
    run: Run
    sets: dict[str, Objective]
    path: Tensor
    epochs: Tensor
    steps: Tensor
    lowered: float
    first: Tensor
    last: Tensor
    replicas: tuple[int, ...]

    @property
    def objective(self) -> Objective:
        return self.sets["train"]

    @property
    def theta(self) -> Tensor:
        return self.path[-1]


def train_all(config: Config, setup: Setup, run: Run) -> Recording:
    """Trains all replicas, or takes the checkpoints."""
    if config.checkpoint:
        return recorded(config, setup, run.recording())
    return train(
        setup.objective,
        None,
        config.training,
        replicas=config.replicas,
        seed=config.seed,
        recording=run.recording(),
        evaluate=setup.evaluate,
    )


def measure(config: Config, setup: Setup, recording: Recording, replicas: tuple[int, ...], run: Run) -> Measured:
    """Every part that was asked for, around the first training that completed; each is kept as soon as it is known."""
    losses = recording.history.at(recording.steps.tolist()).values["train_loss"][:, replicas[0]]
    subject = _Subject(
        config=config,
        run=run,
        sets={name: objective.with_batchnorm("recomputed") for name, objective in setup.evaluate.items()},
        path=recording.snapshots[:, replicas[0]],
        epochs=recording.epochs,
        steps=recording.steps,
        lowered=float(losses[0] - losses[-1]),
        first=recording.snapshots[0][list(replicas)],
        last=recording.snapshots[-1][list(replicas)],
        replicas=replicas,
    )
    makers: dict[str, Callable[[_Subject], Any]] = {"visited": _visited, "parameters": _parameters, "line": _line}
    several = {"visited", "line"} & set(config.parts)
    asked = set(config.parts) - (several if len(subject.path) < 2 else set())
    parts = {
        name: run.cached(name, lambda make=make: make(subject)) if name in asked else None
        for name, make in makers.items()
    }
    planes, refused = [], []
    if several - asked:
        refused.append("The weights visited and the line between them need several checkpoints, found one.")
    for key in config.planes if "planes" in config.parts else ():
        try:
            planes.append(run.cached(f"plane-{key}", lambda key=key: _plane(subject, key)))
        except InputError as error:  # the other planes do not depend on it
            refused.append(f"There is no plane '{key}': {error}.")
    return Measured(replicas, parts["visited"], parts["parameters"], parts["line"], planes, refused)


def _visited(subject: _Subject) -> Visited:
    config = subject.config
    shared = {"last": config.last, "neighbours": config.neighbours, "spread": config.spread, "seed": config.seed}
    found = landscape.scatter_surface(subject.objective, subject.path, method="pca", **shared)
    return Visited(found, found.embedded("tsne", perplexity=config.perplexity, seed=config.seed))


def _parameters(subject: _Subject) -> Perturbation:
    config, objective = subject.config, subject.objective
    offsets = landscape.fine_offsets(config.reach, CLOSE * config.reach, config.offsets)
    order = torch.randperm(objective.size, generator=generator(config.seed, 0, "parameters"))
    return landscape.perturb(objective, subject.theta, offsets, parameters=order[: config.curves])


def _line(subject: _Subject) -> Profile:
    alphas = landscape.with_ends(-0.5, 1.5, subject.config.line_points)
    return landscape.interpolate(subject.sets, subject.first, subject.last, alphas, subsets=0)


@dataclass(frozen=True, eq=False)
class _Frame:
    """A plane before anything is evaluated in it."""

    title: str
    directions: Directions
    center: Tensor
    grid: Grid
    places: dict[str, list[float]]
    with_path: bool = False


def _plane(subject: _Subject, key: str) -> Plane:
    """Chooses directions and range, evaluates the surface, and keeps it for export.

    Raises:
        InputError: There is no such plane here, such as one of three solutions when only two trainings completed.
    """
    frame = _FRAMES[key](subject)
    metrics = ("loss", *subject.objective.metric_functions)
    options = {"metrics": metrics, "run": subject.run, "name": f"grid-{key}"}
    surface = landscape.surface(subject.objective, frame.center, frame.directions, frame.grid, **options)
    path, explained, columns = None, float("nan"), {}
    if frame.with_path:
        path = landscape.path_on_plane(subject.objective, subject.path, frame.center, frame.directions)
        path = replace(path, epochs=subject.epochs)
        centred = subject.path.double() - subject.path.double().mean(dim=0)
        lost = frame.directions.project(centred)[1]
        explained = 1 - float(lost.square().sum() / centred.square().sum())
        kept = {"coordinates": path.coordinates, "loss": path.plane["loss"], "true loss": path.true["loss"]}
        kept |= {"off-plane": path.off_plane, "step": subject.steps, "epoch": subject.epochs}
        columns = {name: value.numpy() for name, value in kept.items()}
    subject.run.save(PREFIX + key, SavedSurface.of(surface, columns).arrays())
    return Plane(key, frame.title, surface, frame.places, path, explained)


def _random(subject: _Subject) -> _Frame:
    config = subject.config
    directions = landscape.random_directions(
        subject.objective,
        subject.theta,
        seed=config.seed,
        normalize=config.normalize,
        biases=config.biases,
        normalization=config.normalization,
    )
    grid = Grid(points=config.points, span=config.span)
    return _Frame("Two random directions", directions, subject.theta, grid, {"end": [0.0, 0.0]})


def _trajectory(subject: _Subject) -> _Frame:
    directions = landscape.pca_directions(subject.path)
    coordinates = directions.project(subject.path.double() - subject.theta.double())[0].numpy()
    places = {"start": coordinates[0].tolist(), "end": coordinates[-1].tolist()}
    grid = Grid(points=subject.config.points, span=_around(coordinates))
    return _Frame("The plane of the trajectory", directions, subject.theta, grid, places, with_path=True)


def _curvature(which: Literal["top", "mixed"], title: str) -> Callable[[_Subject], _Frame]:
    def frame(subject: _Subject) -> _Frame:
        config, theta = subject.config, subject.theta
        directions = landscape.hessian_directions(subject.objective, theta, which, seed=config.seed)
        lowered = subject.lowered if np.isfinite(subject.lowered) and subject.lowered > 0 else 1.0
        grid = Grid(points=config.points, rise=lowered if config.rise is None else config.rise)
        return _Frame(title, directions, theta, grid, {"end": [0.0] * len(directions.vectors)})

    return frame


def _solutions(subject: _Subject) -> _Frame:
    if len(subject.replicas) < 3:
        raise InputError(f"the plane of three solutions needs 3 completed trainings, found {len(subject.replicas)}")
    a, b, c = subject.last[:3]
    directions = landscape.solution_directions(a, b, c)
    corners = directions.project(subject.last[:3].double() - a.double())[0].numpy()
    names = [f"{name} ({run_name(r)})" for name, r in zip("abc", subject.replicas[:3], strict=True)]
    grid = Grid(points=subject.config.points, span=_around(corners))
    places = dict(zip(names, corners.tolist(), strict=True))
    return _Frame("The plane of three solutions", directions, a, grid, places)


def _around(coordinates: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Two ends per axis: everything inside, with a margin; zero is inside too."""
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    margin = MARGIN * (high - low)
    return tuple((float(a), float(b)) for a, b in zip(low - margin, high + margin, strict=True))


_FRAMES: dict[str, Callable[[_Subject], _Frame]] = {
    "random": _random,
    "trajectory": _trajectory,
    "curvature": _curvature("top", "Two leading eigenvectors of the Hessian"),
    "saddle": _curvature("mixed", "Leading and lowest eigenvector of the Hessian"),
    "solutions": _solutions,
}
"""Key -> directions, centre, range and marks of a plane."""

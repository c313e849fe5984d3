"""Trajectories in one frame beside their control: what `trajectory` trains and measures."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg import landscape, progress
from thalweg.errors import InputError
from thalweg.experiments.shared.training import Setup
from thalweg.experiments.shared.weights import recorded
from thalweg.experiments.trajectory.config import Config, matching
from thalweg.landscape import PCA, TSNE
from thalweg.objective.seeds import replica_seed
from thalweg.results.words import counted
from thalweg.runs import Recording, Run
from thalweg.training import train

__all__ = ["SPECTRUM", "View", "look", "measure", "train_all"]

SPECTRUM = 10
"""Components whose explained variance is drawn."""

EMBEDDED = 10_000
"""Points of a t-SNE: their distances from each other take a gigabyte, and its steps some minutes."""


@dataclass(frozen=True, eq=False)
class View:
    """The trajectories through some of the parameters: their frame, neighbourhoods and control.

    Args:
        key: "layer" or "whole", for names of results.
        name: In words: "first layer", "whole model".
        found: Joint principal components.
        placed: t-SNE; None if it cannot be made, and `refused` says why.
        refused: As `placed`.
        control: (S, R used, 3) coordinates of one random walk with the same starts and step lengths in its own
            principal components.
        control_ratio: (W, K) explained variances of W such walks, the first that of `control`.
        alone: (R used, K) explained variances of each trajectory alone; NaN for one that does not move.
        control_alone: (R used, K) the same of each walk of `control` alone.
    """

    key: str
    name: str
    found: PCA
    placed: TSNE | None
    refused: str
    control: Tensor
    control_ratio: np.ndarray
    alone: np.ndarray
    control_alone: np.ndarray

    @property
    def title(self) -> str:
        """Name and size, as a panel is titled."""
        return f"{self.name} ({counted(self.found.size, 'parameter')})"

    @property
    def used(self) -> list[int]:
        """The replicas that completed."""
        return list(self.found.replicas)

    @property
    def ratio(self) -> np.ndarray:
        """(K,) explained variances of the trajectories jointly."""
        return self.found.ratio(SPECTRUM).numpy()

    @property
    def lengths(self) -> tuple[np.ndarray, np.ndarray]:
        """Length of the way from snapshot to snapshot, and of the straight line from start to end: (R used,) each."""
        scores = self.found.scores[:, self.used]
        return self.found.steps[:, self.used].sum(dim=0).numpy(), (scores[-1] - scores[0]).norm(dim=-1).numpy()

    def apart(self, snapshot: int) -> tuple[np.ndarray, np.ndarray]:
        """Distance of every run to the nearest other one in the full space, and which that is: (R used,) each.

        NaN where there is one run only.
        """
        points = self.found.scores[snapshot, self.used].numpy()
        if len(points) < 2:
            return np.full(1, np.nan), np.zeros(1, dtype=np.int64)
        # row by row: all differences at once are gigabytes for hundreds of runs
        distances = np.stack([np.linalg.norm(points - point, axis=-1) for point in points])
        np.fill_diagonal(distances, np.inf)
        return distances.min(axis=1), distances.argmin(axis=1)

    def arrays(self) -> dict[str, Tensor]:
        """What is worth keeping, by name."""
        out = {
            "coordinates": self.found.coordinates(3),
            "distance": self.found.distance,
            "off_plane": self.found.off_plane(2),
            "explained": self.found.ratio(SPECTRUM),
            "step_lengths": self.found.steps,
            "control_coordinates": self.control,
            "control_explained": torch.from_numpy(self.control_ratio),
            "alone_explained": torch.from_numpy(self.alone),
            "control_alone_explained": torch.from_numpy(self.control_alone),
        }
        out |= {} if self.placed is None else {"tsne": self.placed.coordinates}
        return {f"{self.key}_{name}": value.contiguous() for name, value in out.items()}


def train_all(config: Config, setup: Setup, run: Run) -> Recording:
    """Trains all replicas, or takes the checkpoints."""
    if config.checkpoint:
        return recorded(config, setup, run.recording())
    shared = setup.objective.initial(1, config.seed).expand(config.replicas, -1) if config.start == "shared" else None
    return train(
        setup.objective,
        shared,
        config.training,
        replicas=config.replicas,
        seed=config.seed,
        recording=run.recording(),
        evaluate=setup.evaluate,
    )


def measure(config: Config, setup: Setup, recording: Recording, replicas: tuple[int, ...], run: Run) -> list[View]:
    """Projects the trajectories of one layer and of the whole model, the last of the list."""
    options = {"replicas": replicas, "perplexity": config.perplexity, "walks": config.control_walks}
    chosen = [*_layer(config, setup), ("whole", "whole model", None)]
    views = [
        look(recording.snapshots, key, name, columns=columns, seed=config.seed, **options)
        for key, name, columns in chosen
    ]
    run.save("projections", {name: array for view in views for name, array in view.arrays().items()})
    return views


def _layer(config: Config, setup: Setup) -> list[tuple[str, str, Tensor]]:
    """The layer drawn beside the whole model; none if it is the whole model."""
    layout = setup.objective.layout
    first = layout.names[0].rpartition(".")[0]
    glob = config.layer or (f"{first}.*" if first else "*")
    columns = matching(glob, layout)
    name = "first layer" if config.layer is None else f"layer {glob}"
    return [] if len(columns) == layout.size else [("layer", name, columns)]


def look(
    snapshots: Any,
    key: str,
    name: str,
    *,
    columns: Tensor | None,
    replicas: tuple[int, ...],
    perplexity: float | None,
    walks: int,
    seed: int,
) -> View:
    """Projects the trajectories of some parameters and draws their controls.

    Args:
        snapshots: (S, R, P), lazy or not.
        key: Its name among the results.
        name: Its name in words.
        columns: The parameters, None for all.
        replicas: Those to use.
        perplexity: Of t-SNE; None for the rule of :func:`thalweg.landscape.tsne`.
        walks: Number of control walks.
        seed: Of the start of t-SNE and of the walks.
    """
    found = landscape.pca(snapshots, columns=columns, replicas=replicas)
    placed, refused = None, ""
    try:
        if (count := found.scores.shape[0] * len(found.replicas)) > EMBEDDED:
            raise InputError(f"t-SNE compares every point with every other, of at most {EMBEDDED:,}, found {count:,}")
        placed = landscape.tsne(found, perplexity=perplexity, seed=seed)
    except InputError as error:  # too few or too many points for it: the other figures do not depend on it
        refused = str(error)
    first = _walk(found, key, seed, 0)
    drawn = landscape.pca(first)
    control, ratios = drawn.coordinates(3).clone(), [drawn.ratio(SPECTRUM).numpy()]
    control_alone = _alone(first, None, tuple(range(first.shape[1])))
    del first, drawn  # gigabytes for hundreds of runs
    with progress.track(f"control walks, {name}", total=walks) as advance:
        advance(1)
        for walk in range(1, walks):  # of each only a few numbers are wanted
            ratios.append(landscape.explained_ratio(_walk(found, key, seed, walk), SPECTRUM).numpy())
            advance(walk + 1)
    return View(
        key=key,
        name=name,
        found=found,
        placed=placed,
        refused=refused,
        control=control,
        control_ratio=np.stack(ratios),
        alone=_alone(snapshots, columns, found.replicas),
        control_alone=control_alone,
    )


def _walk(found: PCA, key: str, seed: int, number: int) -> Tensor:
    return landscape.matched_walk(found, seed=replica_seed(seed, number, f"control {key}"))


def _alone(snapshots: Any, columns: Tensor | None, replicas: tuple[int, ...]) -> np.ndarray:
    """(R, K) explained variances of every trajectory in a frame of its own: numbers, never a picture.

    From the snapshots, not from the joint scores: these hold nothing of a run that moves by less than the rounding of
    the distance between the runs.
    """
    out = np.full((len(replicas), SPECTRUM), np.nan)
    for row, replica in zip(out, replicas, strict=True):
        with suppress(InputError):  # it never moved
            row[:] = landscape.explained_ratio(snapshots, SPECTRUM, columns=columns, replicas=[replica]).numpy()
    return out

"""Curvature at the first and the last weights: densities, largest eigenvalues, signs; each kept as it is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from thalweg._short import short
from thalweg.checkpoints import with_buffers
from thalweg.curvature import (
    Eigenpairs,
    MinimalRatio,
    Operator,
    SpectralDensity,
    eigenpairs,
    exact_curvature,
    ggn_operator,
    hessian,
    hessian_operator,
    minimal_ratio,
    spectral_density,
)
from thalweg.experiments.shared.training import Setup
from thalweg.experiments.shared.weights import recorded
from thalweg.experiments.spectrum.config import Config
from thalweg.objective import Objective
from thalweg.objective.stack_hessian import Curvature
from thalweg.progress import track
from thalweg.results import Stored
from thalweg.results.words import counted
from thalweg.runs import Recording, Run
from thalweg.training import train

__all__ = ["MATRICES", "Density", "Measured", "measure"]

Make = Callable[[Objective, Tensor], Operator]

MATRICES: dict[Curvature, tuple[str, Make]] = {
    "hessian": ("Hessian", hessian_operator),
    "ggn": ("Gauss–Newton matrix", ggn_operator),
}
"""What is measured: name in files -> name in words, and how its operator is made."""


def matrices(objective: Objective) -> dict[Curvature, tuple[str, Make]]:
    """Those that the loss has: a loss of (model, batch) does not say what the model's outputs are."""
    return {kind: of for kind, of in MATRICES.items() if kind == "hessian" or objective.loss_on != "batch"}


@short
@dataclass(frozen=True, eq=False)
class Density(Stored):
    """An estimated density, and all eigenvalues where they are known.

    Attributes:
        estimate: The density.
        eigenvalues: Ascending (P,), or None.
    """

    estimate: SpectralDensity
    eigenvalues: Tensor | None


@dataclass(frozen=True, eq=False)
class Measured:
    """All that the figures and the report read.

    Attributes:
        fine: Numbers of the runs that completed; densities and eigenvalues are those of the first.
        size: P.
        densities: Place -> matrix in words -> its density; empty if no run completed, like the others.
        layers: Layer in words -> density of its block of the Hessian at the end.
        largest: Matrix ("hessian", "ggn") -> its largest eigenpairs at the end.
        signs: Place -> the signs at every fine run.
    """

    fine: tuple[int, ...]
    size: int
    densities: dict[str, dict[str, Density]]
    layers: dict[str, Density]
    largest: dict[Curvature, Eigenpairs]
    signs: dict[str, list[MinimalRatio]]


def measure(config: Config, setup: Setup, run: Run) -> Measured:
    """Trains, then measures."""
    recording = _trained(config, setup, run)
    objective = setup.objective.double()
    fine = [r for r, entry in enumerate(recording.status) if entry["status"] == "completed"]
    if not fine:
        return Measured((), objective.size, {}, {}, {}, {})
    places = {place: _at(objective, recording, fine, place) for place in config.places}
    objective, end = places["end"][0]
    densities = {
        place: {
            words: run.cached(f"density-{kind}-{place}", partial(_whole, config, *networks[0], kind, make))
            for kind, (words, make) in matrices(objective).items()
        }
        for place, networks in places.items()
    }
    layers = _layers(config, objective, end, run)
    largest = {
        kind: run.cached(f"largest-{kind}", partial(_largest, config, objective, end, make))
        for kind, (_, make) in matrices(objective).items()
    }
    return Measured(tuple(fine), objective.size, densities, layers, largest, _signs(places, run))


def _trained(config: Config, setup: Setup, run: Run) -> Recording:
    if config.checkpoint:
        return recorded(config, setup, run.recording())
    return train(
        setup.objective,
        setup.objective.initial(config.replicas, config.seed),
        config.training,
        seed=config.seed,
        recording=run.recording(),
        evaluate=setup.evaluate,
    )


def _at(objective: Objective, recording: Recording, fine: list[int], place: str) -> list[tuple[Objective, Tensor]]:
    """Loss and weights of every network at the first or the last snapshot, each with its own running statistics."""
    snapshot = 0 if place == "start" else len(recording.snapshots) - 1
    return [
        (
            with_buffers(objective, recording, snapshot, r),
            recording.snapshots[snapshot, r].double().to(objective.device),
        )
        for r in fine
    ]


def _whole(config: Config, objective: Objective, theta: Tensor, kind: Curvature, make: Make) -> Density:
    known = objective.size <= config.exact_up_to
    matrix = exact_curvature(objective, theta, kind=kind).matrix if known else None
    return _density(config, make(objective, theta), matrix)


def _layers(config: Config, objective: Objective, theta: Tensor, run: Run) -> dict[str, Density]:
    """Densities of the Hessian's diagonal blocks, one per layer with parameters."""
    found: dict[str, Density] = {}
    for layer in dict.fromkeys(name.rpartition(".")[0] for name in objective.layout.names):
        glob = f"{layer}.*" if layer else "*"
        words = f"layer {len(found) + 1} ({counted(objective.layout.only(glob).size, 'parameter')})"
        found[words] = run.cached(f"density-layer-{layer or 'all'}", partial(_block, config, objective, theta, glob))
    return found


def _block(config: Config, objective: Objective, theta: Tensor, glob: str) -> Density:
    operator = hessian_operator(objective, theta, glob)
    exact = operator.size <= config.exact_up_to
    return _density(config, operator, hessian(objective, theta, parameters=glob) if exact else None)


def _density(config: Config, operator: Operator, matrix: Tensor | None) -> Density:
    estimate = spectral_density(operator, probes=config.probes, steps=config.steps, seed=config.seed)
    return Density(estimate, None if matrix is None else torch.linalg.eigvalsh(matrix).cpu())


def _largest(config: Config, objective: Objective, theta: Tensor, make: Make) -> Eigenpairs:
    operator = make(objective, theta)
    pairs = eigenpairs(operator, config.largest, tolerance=1e-3, relative_to="norm", seed=config.seed)
    return replace(pairs, vectors=pairs.vectors[:0])  # as large as the network each, and nobody reads them


def _signs(places: dict[str, list[tuple[Objective, Tensor]]], run: Run) -> dict[str, list[MinimalRatio]]:
    """Signs of every network at both places; each is kept as soon as it is known, for it may take minutes."""
    found: dict[str, list[MinimalRatio]] = {place: [] for place in places}
    keys = [(place, r, *network) for place, networks in places.items() for r, network in enumerate(networks)]
    with track("signs of the networks at both ends", total=len(keys)) as advance:
        for done, (place, r, objective, theta) in enumerate(keys, 1):
            found[place].append(run.cached(f"signs-{place}-{r + 1}", partial(minimal_ratio, objective, theta)))
            advance(done)
    return found

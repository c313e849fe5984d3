"""Trains the networks of `sharpness` and takes every measure of each; the counter-example on one of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from thalweg import generalization
from thalweg.experiments.shared import measures
from thalweg.experiments.shared.members import Member, Members, members, table
from thalweg.experiments.shared.training import Setup
from thalweg.experiments.sharpness.config import Config
from thalweg.objective import Objective
from thalweg.objective.seeds import generator
from thalweg.progress import track
from thalweg.results.words import counted
from thalweg.runs import Run

Part = Callable[[], dict[str, Any]]
Keep = Callable[[str, Callable[[], dict[str, np.ndarray]]], dict[str, np.ndarray]]

__all__ = ["ERRORS", "SHARPNESS", "WORDS", "counter_example", "measure", "measured_on"]

SHARPNESS = {
    "lambda_max": "λmax of the Hessian",
    "trace": "trace of the Hessian",
    "epsilon": "ε-sharpness",
    "keskar": "Keskar (whole box)",
    "keskar_subspace": "Keskar (subspace)",
    "sam": "SAM sharpness",
    "asam": "adaptive sharpness (ASAM)",
    "average": "average sharpness",
    "average_relative": "average sharpness (relative)",
}
"""Column of the table -> the measure in figures, tables and sentences."""

WORDS = SHARPNESS | {
    "sensitivity_loss": "sensitivity (loss)",
    "sensitivity_outputs": "sensitivity (outputs)",
    "distance": "distance from the start",
    "frobenius_product": "product of Frobenius norms",
    "spectral_product": "product of spectral norms",
    "path_norm": "path norm",
    "margin": "margin (10th percentile)",
    "normalized_margin": "margin / spectral product",
}
"""The same of all measures."""

ERRORS = {
    "lambda_max": "residual",
    "trace": "trace_error",
    "average": "average_error",
    "average_relative": "average_relative_error",
    "sensitivity_loss": "sensitivity_loss_error",
    "sensitivity_outputs": "sensitivity_outputs_error",
}
"""Column -> the column of its error."""


def measure(config: Config, run: Run) -> pl.DataFrame:
    """One row per setting and run: loss, accuracy and every measure, where it has one with its error."""
    trained = Members(members(config), run)

    def kept(member: Member, setup: Setup, theta: Tensor, _: object) -> dict[str, np.ndarray]:
        return _columns(config, setup, theta, partial(_keep, run, member.name))

    frame = table(trained, kept)
    if config.checkpoint:  # where they started is not known
        return measures.described(trained, frame)
    travelled = []
    for member in trained.members:
        snapshots = run.recording(member.name).snapshots
        travelled += generalization.distance(snapshots[-1], snapshots[0]).tolist()
    return measures.described(trained, frame.with_columns(distance=pl.Series(travelled, dtype=pl.Float64)))


def _keep(run: Run, member: str, name: str, compute: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """What a measure has found of a member's networks, kept as soon as it is known: all of them take minutes."""
    return {key: np.asarray(values) for key, values in run.cached(f"{name}-{member}"[:100], compute).items()}


def counter_example(config: Config, run: Run, best: pl.DataFrame) -> generalization.Rescaling | None:
    """The rescaling of the network in the first row; None if it has no layers that can be rescaled."""
    trained = Members(members(config), run)
    member = next(one for one in trained.members if one.label == best["member"][0])
    objective = measured_on(config, trained.setup(member))
    if not generalization.rescalable_pairs(objective):
        return None
    theta = run.recording(member.name).snapshots[-1][int(best["replica"][0])].double().to(objective.device)

    def compute() -> generalization.Rescaling:
        return generalization.rescaling(objective, theta, tolerance=config.tolerance, seed=config.seed)

    return run.cached("rescaling", compute)


def measured_on(config: Config, setup: Setup) -> Objective:
    """The loss whose sharpness is measured: on the training data or a part of it, without l2, in float64.

    Normalisation layers take the statistics of these data at every θ, since those of training belong to one θ only.
    """
    objective = setup.objective.with_l2(0.0)
    if config.samples is not None and config.samples < objective.samples:
        order = torch.randperm(objective.samples, generator=generator(config.seed, 0, "sharpness:samples"))
        objective = objective.subset(order[: config.samples].sort().values)
    if setup.normalized:
        objective = objective.with_batchnorm("recomputed")
    return objective.double()


def _columns(config: Config, setup: Setup, theta: Tensor, keep: Keep) -> dict[str, np.ndarray]:
    """All measures that exist for this task and network: name -> (R,).

    Args:
        config: Radii, ε and the effort.
        setup: The task and network.
        theta: The weights at the end of training, (R, P).
        keep: Called with the name of a measure and what computes it; returns what it has found, now or before.
    """
    objective, theta = measured_on(config, setup), theta.double()
    found: dict[str, np.ndarray] = {}
    parts = _parts(config, setup, objective, theta)
    with track(f"sharpness of {counted(len(theta), 'network')}, measures", total=len(parts)) as advance:
        for done, (name, compute) in enumerate(parts.items(), 1):
            found |= keep(name, partial(_arrays, compute))
            advance(done)
    if "margin" in found:
        found["normalized_margin"] = found["margin"] / found["spectral_product"]
    return found


def _arrays(compute: Part) -> dict[str, np.ndarray]:
    return {name: np.asarray(torch.as_tensor(values).cpu()) for name, values in compute().items()}


def _parts(config: Config, setup: Setup, objective: Objective, theta: Tensor) -> dict[str, Part]:
    """Every measure by name: what computes its columns."""
    seed, boxes = config.seed, {"epsilon": config.box_epsilon, "seed": config.seed}
    small = min(config.box_dimension, objective.size)

    def hessian() -> dict[str, Any]:
        found = generalization.hessian_sharpness(
            objective, theta, tolerance=config.tolerance, trace_products=config.trace_products, seed=seed
        )
        return {
            "lambda_max": found.largest,
            "residual": found.residual,
            "lambda_min": found.smallest,
            "unconverged": np.array([state != "converged" for state in found.status], dtype=np.float64),
            "trace": found.trace,
            "trace_error": found.trace_error,
            "epsilon": generalization.epsilon_sharpness(found.spectral, found.loss, config.epsilon),
        }

    def box(name: str, **dimension: int) -> dict[str, Any]:
        return {name: generalization.keskar_sharpness(objective, theta, **dimension, **boxes).value}

    def average(name: str, scale: Any, sigma: float) -> dict[str, Any]:
        found = generalization.average_sharpness(
            objective, theta, sigma=sigma, pairs=config.pairs, scale=scale, seed=seed
        )
        return {name: found.mean, f"{name}_error": found.standard_error}

    def sensitivity(of: Any) -> dict[str, Any]:
        found = generalization.sensitivity(objective, theta, of=of)
        return {f"sensitivity_{of}": found.mean, f"sensitivity_{of}_error": found.standard_error}

    def norms() -> dict[str, Any]:
        found = {"frobenius_product": generalization.frobenius_product(objective, theta)}
        found["spectral_product"] = generalization.spectral_product(objective, theta)
        if not setup.normalized:
            found["path_norm"] = generalization.path_norm(objective, theta)
        if setup.task.kind == "classification" and objective.loss_kind == "cross_entropy":
            found["margin"] = generalization.margins(objective, theta).percentile()
        return found

    found = {
        "hessian": hessian,
        "box": partial(box, "keskar"),
        "subspace": partial(box, "keskar_subspace", dimension=small),
        "sam": lambda: {"sam": generalization.sam_sharpness(objective, theta, radius=config.sam_radius, seed=seed)},
        "asam": lambda: {"asam": generalization.asam_sharpness(objective, theta, radius=config.asam_radius, seed=seed)},
        "average": partial(average, "average", "coordinate", config.sigma),
        "relative": partial(average, "average_relative", "relative", config.relative_sigma),
    }
    if objective.loss_on == "batch":  # which tells neither inputs nor outputs from the rest
        return found
    return found | {
        "inputs-loss": partial(sensitivity, "loss"),
        "inputs-outputs": partial(sensitivity, "outputs"),
        "norms": norms,
    }

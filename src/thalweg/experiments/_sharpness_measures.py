"""Every measure of `sharpness` at the end of training, as columns of its table."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg._lazy import torch
from thalweg.progress import track
from thalweg.results.words import counted

if TYPE_CHECKING:
    from torch import Tensor

    from thalweg.experiments.shared.training import Setup
    from thalweg.experiments.sharpness import Config
    from thalweg.objective import Objective

    Part = Callable[[], dict[str, Any]]
    Keep = Callable[[str, Callable[[], dict[str, np.ndarray]]], dict[str, np.ndarray]]

__all__ = ["ERRORS", "SHARPNESS", "WORDS", "columns", "measured_on"]

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


def measured_on(config: Config, setup: Setup) -> Objective:
    """The loss whose sharpness is measured: on the training data or a part of it, without l2, in float64.

    Normalisation layers take the statistics of these data at every θ, since those of training belong to one θ only.
    """
    from thalweg.objective.seeds import generator

    objective = setup.objective.with_l2(0.0)
    if config.samples is not None and config.samples < objective.samples:
        order = torch.randperm(objective.samples, generator=generator(config.seed, 0, "sharpness:samples"))
        objective = objective.subset(order[: config.samples].sort().values)
    if setup.normalized:
        objective = objective.with_batchnorm("recomputed")
    return objective.double()


def columns(config: Config, setup: Setup, theta: Tensor, keep: Keep) -> dict[str, np.ndarray]:
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
    from thalweg import generalization as measures

    seed, boxes = config.seed, {"epsilon": config.box_epsilon, "seed": config.seed}
    small = min(config.box_dimension, objective.size)

    def hessian() -> dict[str, Any]:
        found = measures.hessian_sharpness(
            objective, theta, tolerance=config.tolerance, trace_products=config.trace_products, seed=seed
        )
        return {
            "lambda_max": found.largest,
            "residual": found.residual,
            "lambda_min": found.smallest,
            "unconverged": np.array([state != "converged" for state in found.status], dtype=np.float64),
            "trace": found.trace,
            "trace_error": found.trace_error,
            "epsilon": measures.epsilon_sharpness(found.spectral, found.loss, config.epsilon),
        }

    def box(name: str, **dimension: int) -> dict[str, Any]:
        return {name: measures.keskar_sharpness(objective, theta, **dimension, **boxes).value}

    def average(name: str, scale: Any, sigma: float) -> dict[str, Any]:
        found = measures.average_sharpness(objective, theta, sigma=sigma, pairs=config.pairs, scale=scale, seed=seed)
        return {name: found.mean, f"{name}_error": found.standard_error}

    def sensitivity(of: Any) -> dict[str, Any]:
        found = measures.sensitivity(objective, theta, of=of)
        return {f"sensitivity_{of}": found.mean, f"sensitivity_{of}_error": found.standard_error}

    def norms() -> dict[str, Any]:
        found = {"frobenius_product": measures.frobenius_product(objective, theta)}
        found["spectral_product"] = measures.spectral_product(objective, theta)
        if not setup.normalized:
            found["path_norm"] = measures.path_norm(objective, theta)
        if setup.task.kind == "classification" and objective.loss_kind == "cross_entropy":
            found["margin"] = measures.margins(objective, theta).percentile()
        return found

    found = {
        "hessian": hessian,
        "box": partial(box, "keskar"),
        "subspace": partial(box, "keskar_subspace", dimension=small),
        "sam": lambda: {"sam": measures.sam_sharpness(objective, theta, radius=config.sam_radius, seed=seed)},
        "asam": lambda: {"asam": measures.asam_sharpness(objective, theta, radius=config.asam_radius, seed=seed)},
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

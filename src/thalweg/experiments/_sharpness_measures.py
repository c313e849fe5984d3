"""Every measure of `sharpness` at the end of training, as columns of its table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from thalweg.experiments._training import Setup
    from thalweg.experiments.sharpness import Config
    from thalweg.objective import Objective

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
    import torch

    from thalweg.objective.seeds import generator

    objective = setup.objective.with_l2(0.0)
    if config.samples is not None and config.samples < objective.samples:
        order = torch.randperm(objective.samples, generator=generator(config.seed, 0, "sharpness:samples"))
        objective = objective.subset(order[: config.samples].sort().values)
    if config.model.batchnorm:
        objective = objective.with_batchnorm("recomputed")
    return objective.double()


def columns(config: Config, setup: Setup, theta: Tensor) -> dict[str, np.ndarray]:
    """All measures that exist for this task and network: name -> (R,).

    Args:
        config: Radii, ε and the effort.
        setup: The task and network.
        theta: The weights at the end of training, (R, P).
    """
    import torch

    from thalweg import generalization as measures

    objective, theta, seed = measured_on(config, setup), theta.double(), config.seed
    hessian = measures.hessian_sharpness(
        objective, theta, tolerance=config.tolerance, trace_products=config.trace_products, seed=seed
    )
    unconverged = [state != "converged" for state in hessian.status]
    found = {
        "lambda_max": hessian.largest,
        "residual": hessian.residual,
        "lambda_min": hessian.smallest,
        "unconverged": np.array(unconverged, dtype=np.float64),
        "trace": hessian.trace,
        "trace_error": hessian.trace_error,
        "epsilon": measures.epsilon_sharpness(hessian.spectral, hessian.loss, config.epsilon),
    }
    box = {"epsilon": config.box_epsilon, "seed": seed}
    small = min(config.box_dimension, objective.size)
    found["keskar"] = measures.keskar_sharpness(objective, theta, **box).value
    found["keskar_subspace"] = measures.keskar_sharpness(objective, theta, dimension=small, **box).value
    found["sam"] = measures.sam_sharpness(objective, theta, radius=config.sam_radius, seed=seed)
    found["asam"] = measures.asam_sharpness(objective, theta, radius=config.asam_radius, seed=seed)
    for name, scale, sigma in (
        ("average", "coordinate", config.sigma),
        ("average_relative", "relative", config.relative_sigma),
    ):
        average = measures.average_sharpness(objective, theta, sigma=sigma, pairs=config.pairs, scale=scale, seed=seed)
        found |= {name: average.mean, f"{name}_error": average.standard_error}
    for of in ("loss", "outputs"):
        sensitivity = measures.sensitivity(objective, theta, of=of)
        found |= {f"sensitivity_{of}": sensitivity.mean, f"sensitivity_{of}_error": sensitivity.standard_error}
    found["frobenius_product"] = measures.frobenius_product(objective, theta)
    found["spectral_product"] = measures.spectral_product(objective, theta)
    if not config.model.batchnorm:
        found["path_norm"] = measures.path_norm(objective, theta)
    if setup.task.kind == "classification" and objective.loss_kind == "cross_entropy":
        found["margin"] = measures.margin_percentile(measures.margins(objective, theta))
        found["normalized_margin"] = found["margin"] / found["spectral_product"]
    return {name: np.asarray(torch.as_tensor(values).cpu()) for name, values in found.items()}

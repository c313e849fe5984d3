"""Norms of the weights as measures of capacity (surveyed by Jiang et al. 2020, appendix C).

All are of the whole network, constant parameters outside θ included, but for the distance. A layer's weight is taken
as a matrix with one row per output; the kernel of a convolution as (channels, rest), which is not the norm of the map
between images that it makes. Biases count in the distance and the path norm only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.objective.arguments import as_objective, as_theta, as_thetas
from thalweg.objective.normalization import layers

__all__ = ["distance", "frobenius_product", "path_norm", "spectral_product"]


@declared
def distance(theta: Any, initial: Any, *, objective: Objective | None = None) -> Tensor:
    """‖θ − θ₀‖₂, the distance that training has travelled (Nagarajan & Kolter 2019): (…, P), (…, P) -> (…), float64.

    Args:
        theta: (…, P): a tensor, an array, or a model, whose trainable parameters are taken.
        initial: As theta.
        objective: Says which names of a state_dict, and which parameters of a model, make up θ.

    Example:
        >>> distance(torch.tensor([3.0, 4.0]), torch.zeros(2)).item()
        5.0
    """
    both = as_thetas({"theta": theta, "initial": initial}, objective)
    theta, initial = both["theta"], both["initial"]
    lengths = [one.shape[-1] if one.dim() else 0 for one in (theta, initial)]
    if lengths[0] != lengths[1]:
        raise InputError(f"theta and initial must have one length, found {lengths[0]} and {lengths[1]}")
    return torch.linalg.vector_norm(theta.double() - initial.double(), dim=-1)


@declared
def spectral_product(objective: Objective, theta: Tensor) -> Tensor:
    """Π‖W_l‖₂, a bound on how much the network stretches (Bartlett et al. 2017): (…, P) -> (…), float64.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(1, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1))
        >>> objective = Objective(model, torch.nn.MSELoss(), (torch.ones(1, 1), torch.ones(1, 1)))
        >>> theta = torch.tensor([3.0, 4.0, 9.0, 9.0, 0.0, 2.0, 9.0])  # ‖(3, 4)‖ · ‖(0, 2)‖
        >>> round(spectral_product(objective, theta).item(), 12)
        10.0
    """
    return _product(objective, theta, 2)


@declared
def frobenius_product(objective: Objective, theta: Tensor) -> Tensor:
    """Π‖W_l‖_F: (…, P) -> (…), float64."""
    return _product(objective, theta, "fro")


def _product(objective: Objective, theta: Tensor, order: int | str) -> Tensor:
    theta = as_theta(objective, theta)
    out = torch.ones(theta.shape[:-1], dtype=torch.float64, device=theta.device)
    for matrix in _matrices(objective, theta):
        out = out * torch.linalg.matrix_norm(matrix.nan_to_num(), order)
    return torch.where(theta.isfinite().all(-1), out, math.nan)


def _matrices(objective: Objective, theta: Tensor) -> Iterator[Tensor]:
    """Weights of all layers, (…, outputs, rest), float64."""
    lead = theta.shape[:-1]
    outside = {name: value.double().expand(*lead, *value.shape) for name, value in _outside(objective).items()}
    weights = {**outside, **objective.layout.unravel(theta.double())}.values()
    matrices = [weight.flatten(len(lead) + 1) for weight in weights if weight.dim() >= len(lead) + 2]
    if not matrices:
        raise InputError("the model must have at least one weight with two axes for a product of norms, found none")
    yield from matrices


def _outside(objective: Objective) -> dict[str, Tensor]:
    """The parameters that are constants: the network has them as well."""
    names = [name for name, _ in objective.program.model.named_parameters() if name not in objective.layout.slices]
    return {name: objective.program.fixed[name] for name in names}


@declared
def path_norm(objective: Objective, theta: Tensor) -> Tensor:
    """√ of the sum over all paths of the product of squared weights (Neyshabur et al. 2015).

    Computed as Jiang et al. do: the network with squared parameters, biases too, at an input of ones. Means something
    for networks of ReLU, pooling and linear layers; it does not change when layers are rescaled without changing the
    function.

    Args:
        objective: Its model must give one tensor and take one, and have no normalisation layers.
        theta: (…, P); or what `Objective.as_theta` takes: a model, a state_dict, an array, a list of these.

    Returns:
        (…), float64.

    Raises:
        InputError: Normalisation layers, or inputs that are not one floating-point tensor.
    """
    exact = as_objective(objective).double()
    theta = as_theta(exact, theta)
    inputs = exact.batches.first(1)[0]
    if layers(exact.module(exact.theta)):
        raise InputError("path_norm needs a model without normalisation layers, found some")
    if not (isinstance(inputs, Tensor) and inputs.is_floating_point()):
        raise InputError(f"path_norm needs one floating-point input, found {type(inputs).__name__}")
    squared = theta.detach().double().square().reshape(-1, exact.size)
    outside = {name: value.square() for name, value in _outside(exact).items()}
    ones = torch.ones_like(inputs[:1]), None
    with torch.no_grad():
        outputs = [exact.program.output_one({**outside, **exact.layout.unravel(row)}, ones) for row in squared]
    return torch.stack([output.sum() for output in outputs]).sqrt().reshape(theta.shape[:-1])

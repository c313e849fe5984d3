"""Norms of the weights as measures of capacity (surveyed by Jiang et al. 2020, appendix C).

All are of the whole network, constant parameters outside θ included, but for the distance. A layer's weight is taken
as a matrix with one row per output; the kernel of a convolution as (channels, rest), which is not the norm of the map
between images that it makes. Biases count in the distance and the path norm only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from thalweg._short import short
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.objective.arguments import as_objective, as_theta, as_thetas
from thalweg.objective.normalization import layers
from thalweg.results import BaseResult
from thalweg.results.networks import Quantity, flat, pictured, tabled
from thalweg.results.words import counted, range_words

if TYPE_CHECKING:
    import polars as pl

    from thalweg.figures import Figure

__all__ = ["Norms", "distance", "norms", "frobenius_product", "path_norm", "spectral_product"]


@short
@dataclass(frozen=True, eq=False)
class Norms(BaseResult):
    """Norms of networks at every θ (…), float64.

    Args:
        frobenius_product: (…), see the function of this name, as for the others.
        spectral_product: (…).
        path_norm: (…); None for networks where it means nothing (normalization layers, inputs that are not one tensor).
        distance: (…), from where training began; None where that was not given.
    """

    frobenius_product: Tensor
    spectral_product: Tensor
    path_norm: Tensor | None = None
    distance: Tensor | None = None

    @property
    def known(self) -> dict[str, Tensor]:
        """Those that there are, by their words."""
        named = {"distance from the start": self.distance, "product of spectral norms": self.spectral_product}
        named |= {"product of Frobenius norms": self.frobenius_product, "path norm": self.path_norm}
        return {name: value for name, value in named.items() if value is not None}

    def plot(self) -> Figure:
        """Every norm of every network."""
        quantities = [Quantity(name, flat(value)) for name, value in self.known.items()]
        return pictured("norms", "Norms of the weights", "Norms of the weights of every network.", quantities)

    def table(self) -> pl.DataFrame:
        """One row per network."""
        return tabled(self.known)

    def summary(self) -> str:
        """Every norm; of several networks the median and the range."""
        told = ", ".join(f"{name} {range_words(flat(value))}" for name, value in self.known.items())
        return f"{told[:1].upper()}{told[1:]} ({counted(self.spectral_product.numel(), 'network')})."


@declared
def norms(objective: Objective, theta: Tensor, initial: Any = None) -> Norms:
    """All norms of this module that exist for a network.

    Args:
        objective: Says which network.
        theta: (…, P); or what `Objective.as_theta` takes: a model, a state_dict, an array, a list of these.
        initial: Where training began, as theta; None leaves the distance out.

    Example:
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> objective = Objective(model, torch.nn.MSELoss(), (torch.ones(1, 2), torch.ones(1, 1)))
        >>> norms(objective, torch.tensor([3.0, 4.0]), torch.zeros(2)).summary()
        'Distance from the start 5, product of spectral norms 5, product of Frobenius norms 5, path norm 5 (1 network).'
    """
    theta = as_theta(as_objective(objective), theta)
    try:
        paths = path_norm(objective, theta)
    except InputError:  # it means nothing for this network
        paths = None
    start = None if initial is None else distance(theta, initial, objective=objective)
    return Norms(frobenius_product(objective, theta), spectral_product(objective, theta), paths, start)


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
        InputError: Normalisation layers, a loss on whole batches, or inputs that are not one floating-point tensor.
    """
    exact = as_objective(objective).double()
    theta = as_theta(exact, theta)
    if exact.loss_on == "batch":
        raise InputError("path_norm needs an objective whose loss takes (output, target), found loss_on='batch'")
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

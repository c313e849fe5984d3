"""The counter-example of Dinh et al. 2017 on a trained network: one function, any sharpness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from thalweg._short import short
from thalweg.curvature import eigenpairs, hessian_operator
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.figures import Axis, Figure, Line, Panel, Scatter
from thalweg.figures.scales import number
from thalweg.generalization.neighbourhood import asam_sharpness, average_sharpness
from thalweg.generalization.reparametrization import multipliers, rescaled_hessian
from thalweg.generalization.sharpness import hessian_sharpness
from thalweg.objective import Objective
from thalweg.objective.arguments import as_objective, as_vector
from thalweg.results import BaseResult
from thalweg.results.networks import tabled

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Rescaling", "rescaling"]


@short
@dataclass(frozen=True, eq=False)
class Rescaling(BaseResult):
    """Sharpness along a family of networks that compute the same function, all float64 of shape (A,), A odd.

    Args:
        alpha: By what the first layer is multiplied and the second divided; 1 in the middle.
        measured: λmax of the Hessian there.
        predicted: The same from the Hessian at α = 1.
        adaptive: Adaptive sharpness (ASAM with η = 0).
        relative: Average sharpness over steps relative to each weight.
        change: Greatest change of an output, relative to the greatest output.
    """

    alpha: np.ndarray
    measured: np.ndarray
    predicted: np.ndarray
    adaptive: np.ndarray
    relative: np.ndarray
    change: np.ndarray

    def plot(self) -> Figure:
        """Sharpness against α, relative to that at α = 1, above the change of the outputs."""
        names = ("measured", "predicted", "adaptive", "relative")
        share = {name: self._share(getattr(self, name)) for name in names}
        sharp = (
            Line(self.alpha, share["predicted"], label="λmax predicted from the Hessian at α = 1"),
            Scatter(self.alpha, share["measured"], label="λmax measured", size=6.0),
            Line(self.alpha, share["adaptive"], label="adaptive sharpness (ASAM, η = 0)", style="dashed", width=2.2),
            Line(self.alpha, share["relative"], label="average sharpness, relative steps", style="dotted", width=2.2),
        )
        x, change = Axis("α", scale="log"), Axis("relative change of outputs", scale="log", limits=(1e-17, 1.0))
        noise = np.maximum(self.change, np.finfo(np.float64).eps / 4)  # equal outputs have no place on a log axis
        panels = (
            Panel(x, Axis("sharpness / that at α = 1", scale="log"), sharp),
            Panel(x, change, (Line(self.alpha, noise, symbol="circle"),)),
        )
        caption = (
            "The first layer multiplied by α, the weights of the next divided by α. The function stays as it is, to "
            "rounding (below); the Hessian does not (Dinh et al. 2017). Measures that scale with the weights stay."
        )
        title = "Same function, any sharpness"
        return Figure("rescaling", title, caption, panels, columns=1, share_x=True, size=(6.4, 3.0))

    def table(self) -> pl.DataFrame:
        """One row for each α."""
        columns = {
            "α": self.alpha,
            "λmax": self.measured,
            "λmax predicted": self.predicted,
            "adaptive sharpness": self.adaptive,
            "relative average sharpness": self.relative,
            "relative change of outputs": self.change,
        }
        return tabled(columns, "network")

    def summary(self) -> str:
        """By how much λmax changes, and how little the function and the adaptive sharpness do."""
        if not np.isfinite(self.measured).all():
            return "The sharpness of the rescaled networks is not finite."
        ends = [float(self._share(self.measured)[k]) for k in (0, -1)]
        low, high = (number(float(self.alpha[k])) for k in (0, -1))
        off = float(np.max(np.abs(self.measured / self.predicted - 1)))
        still = float(np.max(np.abs(self._share(self.adaptive) - 1)))
        return (
            f"The same function, rescaled between layers (Dinh et al. 2017), has {number(ends[0])} times its λmax at "
            f"α = {low} and {number(ends[1])} times at α = {high}. λmax is within {number(off)} (relative) of the "
            f"prediction; the outputs change by {number(float(self.change.max()))} and the adaptive sharpness (η = 0) "
            f"by {number(still)}."
        )

    def _share(self, values: np.ndarray) -> np.ndarray:
        return values / values[len(self.alpha) // 2]


@declared
def rescaling(
    objective: Objective, theta: Tensor, *, span: float = 100.0, count: int = 13, tolerance: float = 1e-3, seed: int = 0
) -> Rescaling:
    """Sharpness of networks that compute the function of θ, one layer multiplied by α and the next divided by it.

    Args:
        objective: Its model must have a pair of layers that can be rescaled (`rescalable_pairs`); the first is taken.
            An objective in float64 shows best that the outputs stay.
        theta: (P,).
        span: The largest α; the smallest is its reciprocal.
        count: Number of α, an odd one, evenly spaced in the logarithm.
        tolerance: Of the eigenvalues.
        seed: Of random vectors.

    Raises:
        InputError: No such pair of layers, several θ, or an argument out of range.

    Example:
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)).double()
        >>> objective = Objective(model, nn.MSELoss(), (torch.rand(9, 2).double(), torch.rand(9, 1).double()))
        >>> found = rescaling(objective, objective.theta, count=5)
        >>> bool(found.change.max() < 1e-12)
        True
    """
    objective = as_objective(objective)
    theta = as_vector(objective, theta)
    if not span > 1:
        raise InputError(f"span must be greater than 1, found {span}")
    if count < 3 or count % 2 == 0:
        raise InputError(f"count must be an odd number from 3, found {count}")
    alpha = np.logspace(-np.log10(span), np.log10(span), count)
    factors = multipliers(objective, torch.as_tensor(alpha, device=objective.device))
    family = theta * factors  # (A, P)
    operator = hessian_operator(objective, theta)
    options = {"tolerance": tolerance, "check": False, "seed": seed}
    tops = [eigenpairs(rescaled_hessian(operator, row), 1, **options) for row in factors]
    hessian = hessian_sharpness(objective, family, tolerance=tolerance, trace_products=6, seed=seed)
    # One draw of steps for the whole family: what remains between its members is rounding.
    relative = [
        average_sharpness(objective, row, sigma=0.05, pairs=20, scale="relative", seed=seed).mean for row in family
    ]
    outputs, reference = objective.outputs(family), objective.outputs(theta)
    change = (outputs - reference).abs().flatten(1).amax(1) / reference.abs().amax()
    found = {
        "measured": hessian.largest,
        "predicted": torch.cat([top.values for top in tops]),
        "adaptive": asam_sharpness(objective, family, eta=0.0, steps=5, seed=seed),
        "relative": torch.stack(relative),
        "change": change,
    }
    return Rescaling(alpha, **{name: values.double().cpu().numpy() for name, values in found.items()})

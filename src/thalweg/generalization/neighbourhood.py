"""Sharpness by what the loss does nearby: at worst within a ball (SAM, ASAM), and on average over Gaussian steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor

from thalweg._short import short
from thalweg.declared import declared
from thalweg.errors import InputError, nearest
from thalweg.objective import Objective
from thalweg.objective.arguments import as_theta
from thalweg.objective.from_modules import from_modules
from thalweg.objective.seeds import generator
from thalweg.progress import each
from thalweg.results import BaseResult
from thalweg.results.networks import Quantity, flat, pictured, tabled
from thalweg.results.words import counted, estimated

if TYPE_CHECKING:
    import polars as pl

    from thalweg.figures import Figure

__all__ = ["AverageSharpness", "StepScale", "asam_sharpness", "average_sharpness", "sam_sharpness"]

StepScale = Literal["coordinate", "relative"]


@short
@dataclass(frozen=True, eq=False)
class AverageSharpness(BaseResult):
    """Mean rise of the loss over random steps from every θ (…).

    Args:
        mean: Of L(θ + δ) − L(θ), float64, (…); NaN where the loss at θ is not finite.
        standard_error: Of the mean, (…).
        sigma: Size of the steps.
        scale: What it means.
        pairs: Antithetic pairs ±δ that were evaluated.
    """

    mean: Tensor
    standard_error: Tensor
    sigma: float
    scale: StepScale
    pairs: int

    def plot(self) -> Figure:
        """The mean rise of the loss of every network, with its error."""
        column = Quantity("mean rise of the loss", flat(self.mean), flat(self.standard_error))
        caption = f"The mean rise of the loss over Gaussian steps, {self._steps}."
        return pictured("average-sharpness", "Average sharpness", caption, [column])

    def table(self) -> pl.DataFrame:
        """One row per network."""
        return tabled({"mean rise": self.mean, "standard error": self.standard_error})

    def summary(self) -> str:
        """The mean rise with its standard error."""
        rise = estimated(flat(self.mean), flat(self.standard_error))
        count = counted(len(flat(self.mean)), "network")
        return f"Over Gaussian steps, {self._steps}, the loss rises by {rise} on average ({count})."

    @property
    def _steps(self) -> str:
        size = "of every weight" if self.scale == "relative" else "in every parameter"
        return f"σ = {self.sigma:g} {size}, {counted(self.pairs, 'pair')} ±δ"


@from_modules()
@declared
def sam_sharpness(
    objective: Objective, theta: Tensor, *, radius: float = 0.05, steps: int = 20, seed: int = 0, first: int = 0
) -> Tensor:
    """SAM sharpness, max L(θ + δ) − L(θ) over ‖δ‖₂ ≤ radius (Foret et al. 2021, eq. 1): (…, P) -> (…), float64.

    Each step goes to the point of the sphere that lies in the direction of the gradient at the last one. The first is
    the solution of the paper, δ = radius·∇L/‖∇L‖; where L is convex every further one rises (for a quadratic it is the
    power iteration, with limit ½·radius²·λmax). The largest value seen counts: a lower bound of the maximum.

    Args:
        objective: The loss; evaluated in float64 whatever its dtype.
        theta: (…, P); or what `Objective.as_theta` takes: a model, a state_dict, an array, a list of these.
        radius: The paper's ρ, default 0.05.
        steps: Steps; 1 is what the optimiser SAM does.
        seed: Of the first direction where the gradient is zero.
        first: Number of the first θ.

    Example:
        >>> model = torch.nn.Linear(1, 1, bias=False).double()
        >>> objective = Objective(model, torch.nn.MSELoss(), (torch.ones(1, 1).double(), torch.ones(1, 1).double()))
        >>> round(sam_sharpness(objective, torch.ones(1).double(), radius=0.1).item(), 12)  # L = (θ − 1)²
        0.01
    """
    return _ascend(objective, theta, None, radius, steps, seed, first)


@from_modules()
@declared
def asam_sharpness(
    objective: Objective,
    theta: Tensor,
    *,
    radius: float = 0.5,
    eta: float = 0.01,
    steps: int = 20,
    seed: int = 0,
    first: int = 0,
) -> Tensor:
    """Adaptive sharpness (ASAM, Kwon et al. 2021): (…, P) -> (…), float64.

    The maximum of L(θ + δ) − L(θ) over ‖T⁻¹δ‖₂ ≤ radius with T = diag(|θ| + η).

    For η = 0 it does not change when layers are rescaled without changing the function. As `sam_sharpness`, a lower
    bound.

    Args:
        objective: As for `sam_sharpness`, like theta, seed and first.
        theta: See there.
        radius: The paper's ρ, default 0.5.
        eta: The paper's η, which lets weights at zero move; default 0.01.
        steps: Steps; 1 is what the optimiser ASAM does.
        seed: See there.
        first: See there.
    """
    if not 0 <= eta < math.inf:
        raise InputError(f"eta must be finite and not negative, found {eta}")
    return _ascend(objective, theta, eta, radius, steps, seed, first)


def _ascend(
    objective: Objective, theta: Tensor, eta: float | None, radius: float, steps: int, seed: int, first: int
) -> Tensor:
    """The largest rise seen on the way, for the ball (`eta` None) or the ellipsoid."""
    theta = as_theta(objective, theta)
    _positive("radius", radius)
    if steps < 1:
        raise InputError(f"steps must be at least 1, found {steps}")
    exact = objective.double()
    flat = theta.detach().reshape(-1, objective.size).double()
    scale = torch.ones_like(flat) if eta is None else flat.abs() + eta
    base, gradient = exact.value_and_gradient(flat)
    best = torch.zeros_like(base)  # δ = 0 belongs to the ball
    for _ in each("sharpness in a ball, steps", range(steps)):
        direction = scale * gradient
        still = (direction == 0).all(1)  # an exact critical point has no direction of its own: draw one
        for r in still.nonzero().flatten().tolist():
            source = generator(seed, first + r, "ascent")
            direction[r] = torch.randn(objective.size, generator=source, dtype=torch.float64).to(flat.device)
        unit = direction / torch.linalg.vector_norm(direction, dim=1, keepdim=True)
        value, gradient = exact.value_and_gradient(flat + radius * scale * unit)
        best = torch.fmax(best, value - base)
    return torch.where(base.isfinite(), best, math.nan).reshape(theta.shape[:-1])


@from_modules()
@declared
def average_sharpness(
    objective: Objective,
    theta: Tensor,
    *,
    sigma: float = 0.01,
    pairs: int = 100,
    scale: StepScale = "coordinate",
    seed: int = 0,
    first: int = 0,
    memory: int = 2**28,
) -> AverageSharpness:
    """E[L(θ + δ) − L(θ)] over Gaussian δ (Andriushchenko et al. 2023, §2), which tends to ½σ² tr ∇²L for small σ.

    Every δ is taken with its opposite, so that the slope at θ cancels exactly instead of on average.

    Args:
        objective: The loss; evaluated in float64 whatever its dtype.
        theta: (…, P); or what `Objective.as_theta` takes: a model, a state_dict, an array, a list of these.
        sigma: σ, default 0.01.
        pairs: Pairs ±δ, at least 2.
        scale: "coordinate": δᵢ ~ N(0, σ²). "relative": δᵢ ~ |θᵢ|·N(0, σ²), which knows no rescaling of layers.
        seed: Of the steps.
        first: Number of the first θ: replica 7 of 100 draws the steps of replica 7 alone (`first=7`).
        memory: Bytes of neighbours evaluated at once; default 256 MiB. Changes nothing but speed.

    Raises:
        InputError: An argument is out of range.

    Example:
        >>> model = torch.nn.Linear(1, 1, bias=False).double()
        >>> objective = Objective(model, torch.nn.MSELoss(), (torch.ones(1, 1).double(), torch.ones(1, 1).double()))
        >>> found = average_sharpness(objective, torch.ones(1).double(), sigma=0.1, pairs=2000)  # ½σ² tr H = 0.01
        >>> bool((found.mean - 0.01).abs() < 4 * found.standard_error)
        True
    """
    theta = as_theta(objective, theta)
    _positive("sigma", sigma)
    if pairs < 2:
        raise InputError(f"pairs must be at least 2 to show an error, found {pairs}")
    if scale not in get_args(StepScale):
        options = get_args(StepScale)
        raise InputError(f"scale must be one of {', '.join(options)}, found '{scale}'{nearest(scale, options)}")
    exact = objective.double()
    lead, flat = theta.shape[:-1], theta.detach().reshape(-1, objective.size).double()
    base = exact.value(flat)
    together = max(1, min(pairs, memory // (16 * objective.size)))
    rises = torch.full((len(flat), pairs), math.nan, dtype=torch.float64, device=flat.device)
    for r in each("average sharpness, points", base.isfinite().nonzero().flatten().tolist()):
        source = generator(seed, first + r, "average-sharpness")
        size = sigma * (flat[r].abs() if scale == "relative" else torch.ones_like(flat[r]))
        for start in each("average sharpness, pieces", range(0, pairs, together)):
            count = min(together, pairs - start)
            drawn = [torch.randn(objective.size, generator=source, dtype=torch.float64) for _ in range(count)]
            step = size * torch.stack(drawn).to(flat.device)
            both = exact.value(torch.stack([flat[r] + step, flat[r] - step]))
            rises[r, start : start + count] = both.mean(0) - base[r]
    error = rises.std(1) / math.sqrt(pairs)
    return AverageSharpness(rises.mean(1).reshape(lead), error.reshape(lead), sigma, scale, pairs)


def _positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise InputError(f"{name} must be positive and finite, found {value}")

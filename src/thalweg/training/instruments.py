"""Ready-made instruments for `Recorder(measure=…)`: each is a function of the model as it is at a step.

Those that need the loss take an :class:`~thalweg.objective.Objective`, made once before the loop, with `model.eval()`
if the model has dropout: the numbers are then those of one function, on all of its data, at the weights (and with the
running statistics) of that step. Give the objective a subset of the data where one measurement takes too long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.curvature import eigenpairs, hessian_operator
from thalweg.curvature import trace as estimated
from thalweg.declared import declared, whole
from thalweg.objective import Objective
from thalweg.objective.copying import plain
from thalweg.training.coverage import Coverage
from thalweg.training.measuring import Instrument

__all__ = ["at", "distance_from", "gradient_norm", "hessian_trace", "loss", "sharpness"]


@declared
def at(objective: Objective, function: Callable[[Objective, Tensor], Any]) -> Instrument:
    """The instrument that evaluates any function of (objective, theta) at the model's weights and buffers.

    Args:
        objective: The loss that is looked at; its data are those that it was made with.
        function: Of the objective and θ (P,): returns a number, (number, its error) or a dict of these.

    Example:
        >>> model = nn.Linear(1, 1)
        >>> objective = Objective(model, nn.MSELoss(), (torch.ones(4, 1), torch.zeros(4, 1)))
        >>> largest = at(objective, lambda objective, theta: objective.gradient(theta).abs().max())
        >>> bool(largest(model) == 2 * model(torch.ones(1, 1)).abs())
        True
    """
    own = {name for name, _ in objective.module(objective.theta).named_buffers()}

    def instrument(model: nn.Module) -> Any:
        buffers = {name: value for name, value in plain(model).named_buffers() if name in own}
        here = objective.with_buffers(buffers) if buffers else objective
        return function(here, here.ravel(model))

    return instrument


@declared
def loss(objective: Objective) -> Instrument:
    """L on all data and every metric of the objective: kept as `name_loss`, `name_accuracy` and so on."""
    return at(objective, lambda objective, theta: objective.metrics(theta))


@declared
def gradient_norm(objective: Objective) -> Instrument:
    """‖∇L(θ)‖₂ on all data."""
    return at(objective, lambda objective, theta: torch.linalg.vector_norm(objective.gradient(theta)))


@declared
def sharpness(objective: Objective, *, tolerance: float = 1e-2, max_products: int = 200) -> Instrument:
    """The largest eigenvalue of ∇²L(θ), by Lanczos, with its residual as error (Cohen et al. 2021).

    Args:
        objective: The loss; in the precision that it has (`objective.double()` for float64).
        tolerance: Relative residual at which it has converged; the error of the value is far smaller (its square over
            the gap to the next).
        max_products: Hessian-vector products that one measurement may take; what has not converged says so by its
            error.
    """

    def largest(objective: Objective, theta: Tensor) -> tuple[float, float]:
        operator = hessian_operator(objective, theta)
        found = eigenpairs(operator, 1, tolerance=tolerance, max_products=max_products, check=False)
        return float(found.values[0]), float(found.residuals[0])

    return at(objective, largest)


@declared
def hessian_trace(objective: Objective, *, products: int = 20, seed: int = 0) -> Instrument:
    """The trace of ∇²L(θ), estimated, with its standard error.

    Args:
        objective: The loss.
        products: Hessian-vector products that one measurement takes.
        seed: Of the random vectors: the same at every step, so that the estimates differ by the trace alone.
    """
    whole("products", products, 6)

    def value(objective: Objective, theta: Tensor) -> tuple[float, float]:
        found = estimated(hessian_operator(objective, theta), products=products, seed=seed)
        return found.value, found.standard_error

    return at(objective, value)


@declared
def distance_from(model: nn.Module, parameters: str | Sequence[str] | None = None) -> Instrument:
    """‖θ − θ₀‖₂ from where a model is now, in the parameters that are trained.

    Args:
        model: Its weights at this moment are θ₀: call it before the loop.
        parameters: Glob or globs over parameter names; default: those that require gradients.

    Example:
        >>> model = nn.Linear(2, 1, bias=False)
        >>> distance = distance_from(model)
        >>> with torch.no_grad():
        ...     unused = model.weight.add_(1.0)
        >>> print(f"{float(distance(model)):.3f}")
        1.414
    """
    coverage = Coverage.of(plain(model), parameters)
    start = coverage.theta(plain(model))
    return lambda model: torch.linalg.vector_norm((coverage.theta(plain(model)) - start).double())

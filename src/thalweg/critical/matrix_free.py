"""Minima and saddles of index 1 where a dense Hessian does not fit: Hessian-vector products only.

*Minimise*: trust-region Newton with conjugate gradients cut off at the region's border or at negative curvature
(Steihaug 1983). *Index 1*: climb along the lowest mode, by Lanczos, Newton–CG across it (Munro & Wales 1999).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg import progress
from thalweg.critical.searches import LargeSearch, LargeStatus
from thalweg.curvature import Operator, eigenpairs
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.objective.arguments import as_objective

__all__ = ["newton_cg"]

Product = Callable[[Tensor], Tensor]


@declared
def newton_cg(
    objective: Objective,
    theta: Tensor,
    index: int = 0,
    *,
    steps: int = 200,
    tolerance: float = 1e-8,
    radius: float = 0.1,
    products: int = 200,
    seed: int = 0,
) -> LargeSearch:
    """Searches a minimum (index 0) or a saddle of index 1 from each start, without a Hessian.

    Args:
        objective: Computed in float64.
        theta: Starts (R, P).
        index: 0 or 1.
        steps: Budget of iterations of each replica.
        tolerance: On ‖g‖₂.
        radius: First trust radius.
        products: Budget of products in one inner solve.
        seed: Of the Lanczos starts.

    Raises:
        InputError: Another index.
    """
    if index not in (0, 1):
        raise InputError(f"index must be 0 or 1 without a dense Hessian, found {index}")
    objective = as_objective(objective).double()
    theta = torch.atleast_2d(objective.as_theta(theta)).detach().double()
    ends = []
    with progress.track("Newton–CG", total=len(theta)) as advance:
        for r, start in enumerate(theta):
            ends.append(_search(objective, start, index, steps, tolerance, radius, products, seed))
            advance(r + 1)
    return LargeSearch(
        torch.stack([e.theta for e in ends]),
        tuple(e.status for e in ends),
        torch.tensor([e.gradient for e in ends], dtype=torch.float64),
        torch.stack([e.lowest for e in ends]),
        torch.stack([e.residuals for e in ends]),
        torch.tensor([e.products for e in ends]),
        tuple(tuple(e.history) for e in ends),
    )


@dataclass(frozen=True)
class _End:
    theta: Tensor
    status: LargeStatus
    gradient: float
    lowest: Tensor
    residuals: Tensor
    products: int
    history: list[tuple[float, float]]


def _search(
    objective: Objective, theta: Tensor, index: int, steps: int, tolerance: float, radius: float, budget: int, seed: int
) -> _End:
    value, gradient = objective.value_and_gradient(theta)
    spent, history, mode = 0, [(float(value), float(gradient.norm()))], None
    for _ in range(steps):
        if not bool(gradient.isfinite().all()) or float(gradient.norm()) <= tolerance or radius < 1e-13:
            break
        product = _Counted(objective.products(theta))
        climb = theta.new_zeros(0, len(theta))
        if index:
            pairs = eigenpairs(
                Operator(len(theta), theta.dtype, theta.device, product),
                1,
                which="smallest",
                tolerance=1e-3,
                relative_to="norm",
                check=False,
                max_products=budget,
                start=mode,
                seed=seed,
            )
            mode = pairs.vectors[0]
            climb = mode[None]
        step, predicted, inside = _step(product, gradient, climb, radius, budget)
        spent += product.count
        new_value, new_gradient = objective.value_and_gradient(theta + step)
        work = -0.5 * float((_flipped(gradient, climb) + _flipped(new_gradient, climb)) @ step)
        resolved = index == 0 and predicted > 1e-11 * abs(float(value))
        gain = float(value - new_value) if resolved else work
        ratio = gain / (predicted + 1e-300) if bool(new_gradient.isfinite().all()) else -1.0
        newton = inside and float(new_gradient.norm()) <= 0.9 * float(gradient.norm()) and ratio >= 0
        if ratio < 0.25 and not newton:
            radius = 0.25 * min(radius, float(step.norm()))
        elif ratio > 0.75 and float(step.norm()) > 0.8 * radius:
            radius = min(2 * radius, 1e3)
        if ratio > 1e-3 or newton:
            theta, value, gradient = theta + step, new_value, new_gradient
        history.append((float(value), float(gradient.norm())))
    return _judged(objective, theta, gradient, index, tolerance, spent, history, seed)


def _judged(
    objective: Objective,
    theta: Tensor,
    gradient: Tensor,
    index: int,
    tolerance: float,
    spent: int,
    history: list[tuple[float, float]],
    seed: int,
) -> _End:
    norm = float(gradient.norm())
    nothing = theta.new_full((2,), torch.nan)
    if not norm < float("inf"):
        return _End(theta, LargeStatus.DIVERGED, norm, nothing, nothing, spent, history)
    product = _Counted(objective.products(theta))
    operator = Operator(len(theta), theta.dtype, theta.device, product)
    pairs = eigenpairs(operator, 2, which="smallest", tolerance=1e-6, relative_to="norm", max_products=2000, seed=seed)
    lowest = torch.cat([pairs.values, nothing])[:2]
    residuals = torch.cat([pairs.residuals, nothing])[:2]
    status = LargeStatus.BUDGET
    if norm <= tolerance:
        below = lowest + residuals < 0
        above = lowest - residuals > 0
        fits = bool(above[0]) if index == 0 else bool(below[0] & (above[1] | lowest[1].isnan()))
        wrong = bool(below[0]) if index == 0 else bool(above[0] | below[1])
        status = LargeStatus.CONVERGED if fits else LargeStatus.WRONG_INDEX if wrong else LargeStatus.UNDECIDED
    return _End(theta, status, norm, lowest, residuals, spent + product.count, history)


class _Counted:
    """Counts the products that pass through."""

    def __init__(self, product: Product) -> None:
        self._product = product
        self.count = 0

    def __call__(self, v: Tensor) -> Tensor:
        self.count += v[..., 0].numel()
        return self._product(v)


def _flipped(vector: Tensor, climb: Tensor) -> Tensor:
    return vector - 2 * climb.mT @ (climb @ vector)


def _step(product: Product, gradient: Tensor, climb: Tensor, radius: float, budget: int) -> tuple[Tensor, float, bool]:
    """The step, the gain that the flipped model promises, and whether it is an interior Newton step.

    Along the climbed mode the model's curvature is −λ; across it Steihaug's conjugate gradients.
    """
    across = gradient - climb.mT @ (climb @ gradient)
    step, inside = _steihaug(lambda v: (lambda h: h - climb.mT @ (climb @ h))(product(v)), across, radius, budget)
    if len(climb):
        mode = climb[0]
        curvature = -float(mode @ product(mode))
        slope = -float(mode @ gradient)
        length = -slope / curvature if curvature > 0 else (radius if slope < 0 else -radius)
        inside &= curvature > 0 and abs(length) <= radius
        step = step + max(-radius, min(radius, length)) * mode
    pushed = product(step)
    flipped = _flipped(gradient, climb)
    promised = -float(flipped @ step + 0.5 * step @ _flipped(pushed, climb))
    return step, promised, inside


def _steihaug(product: Product, gradient: Tensor, radius: float, budget: int) -> tuple[Tensor, bool]:
    """Conjugate gradients on H s = −g until the region's border, negative curvature, or a small residual."""
    s = torch.zeros_like(gradient)
    residual, direction = gradient.clone(), -gradient
    size = float(gradient.norm())
    target = min(0.5, size**0.5) * size  # superlinear convergence (Dembo, Eisenstat & Steihaug 1982)
    for _ in range(budget):
        pushed = product(direction)
        curvature = float(direction @ pushed)
        square = float(residual @ residual)
        if curvature <= 0:
            return s + _to_border(s, direction, radius) * direction, False
        length = square / curvature
        if float((s + length * direction).norm()) >= radius:
            return s + _to_border(s, direction, radius) * direction, False
        s = s + length * direction
        residual = residual + length * pushed
        if float(residual.norm()) <= target:
            return s, True
        direction = -residual + (float(residual @ residual) / square) * direction
    return s, True


def _to_border(s: Tensor, direction: Tensor, radius: float) -> float:
    """The t ≥ 0 with ‖s + t·direction‖ = radius."""
    a, b, c = float(direction @ direction), float(s @ direction), float(s @ s) - radius**2
    if a == 0:
        return 0.0
    root = max(b * b - a * c, 0.0) ** 0.5
    return (-b + root) / a if b <= 0 else -c / (b + root)

"""Sharpness as the largest loss in a box around θ (Keskar et al. 2017, metric 2.1), by L-BFGS-B."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from thalweg._short import short
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.objective.arguments import as_theta
from thalweg.objective.from_modules import from_modules
from thalweg.objective.seeds import generator
from thalweg.progress import Advance, track
from thalweg.results import BaseResult
from thalweg.results.networks import Quantity, flat, pictured, tabled
from thalweg.results.words import counted, range_words

if TYPE_CHECKING:
    import polars as pl
    from scipy.optimize import Bounds

    from thalweg.figures import Figure

__all__ = ["BoxSharpness", "keskar_sharpness"]


@short
@dataclass(frozen=True, eq=False)
class BoxSharpness(BaseResult):
    """The largest loss found in a box around every θ (…), as a share of 1 + L.

    Args:
        value: 100·(max L(θ + Ay) − L(θ)) / (1 + L(θ)), in per cent, float64, (…). A lower bound, since no search over
            a box of many dimensions is exhaustive; inf where the loss overflows inside.
        epsilon: ε of the box.
        dimension: p, of the subspace.
        evaluations: Gradients spent on each θ, int64, (…).
        status: Per θ, in the order of the flattened leading axes: "converged" (the best search satisfied L-BFGS-B),
            "iterations" (it was cut off, as in the paper), "stopped" (its line search found no further rise), or
            "nonfinite".
    """

    value: Tensor
    epsilon: float
    dimension: int
    evaluations: Tensor
    status: tuple[str, ...]

    def plot(self) -> Figure:
        """The largest rise of the loss of every network."""
        column = Quantity("largest rise in the box (% of 1 + loss)", flat(self.value))
        caption = (
            f"The largest loss found in a box of ε = {self.epsilon:g} in {counted(self.dimension, 'dimension')} around "
            "every network: a lower bound."
        )
        return pictured("box-sharpness", "Sharpness in a box (Keskar et al. 2017)", caption, [column])

    def table(self) -> pl.DataFrame:
        """One row per network."""
        columns = {"rise (%)": self.value, "gradients": self.evaluations, "status": list(self.status)}
        return tabled(columns)

    def summary(self) -> str:
        """The largest rise found, and how many searches came to their end."""
        done = self.status.count("converged")
        return (
            f"In a box of ε = {self.epsilon:g} in {counted(self.dimension, 'dimension')} the loss rises by at least "
            f"{range_words(flat(self.value))} % of 1 + loss ({counted(len(self.status), 'network')}; "
            f"{done} of {len(self.status)} searches converged)."
        )


class _NotFinite(Exception):
    """Ends a search; no error."""


@from_modules()
@declared
def keskar_sharpness(
    objective: Objective,
    theta: Tensor,
    *,
    epsilon: float = 1e-3,
    dimension: int | None = None,
    iterations: int = 10,
    starts: int = 3,
    seed: int = 0,
    first: int = 0,
) -> BoxSharpness:
    """Searches the maximum of L(θ + Ay) over |yᵢ| ≤ ε(|(A⁺θ)ᵢ| + 1) (Keskar et al. 2017, eq. 3 and metric 2.1).

    Args:
        objective: The loss; evaluated in float64 whatever its dtype.
        theta: (…, P); or what `Objective.as_theta` takes: a model, a state_dict, an array, a list of these.
        epsilon: ε, in the paper 1e-3 (default) and 5e-4.
        dimension: p: A is P × p with standard normal entries, the same for all θ (the paper takes p = 100); None is the
            whole space, A = I.
        iterations: Most iterations of each search; default 10, as in the paper.
        starts: Searches from different points: the first from θ itself, as in the paper, the others from random points
            of the box, without which an exact minimum, whose gradient is zero, would look flat.
        seed: Of A and the starts.
        first: Number of the first θ.

    Raises:
        InputError: An argument is out of range.

    Example:
        >>> model = torch.nn.Linear(1, 1, bias=False).double()
        >>> objective = Objective(model, torch.nn.MSELoss(), (torch.ones(1, 1).double(), torch.ones(1, 1).double()))
        >>> found = keskar_sharpness(objective, torch.ones(1).double(), epsilon=0.1)  # L = (θ − 1)², box ±0.2
        >>> round(found.value.item(), 9), found.status
        (4.0, ('converged',))
    """
    theta = as_theta(objective, theta)
    if not 0 < epsilon < math.inf:
        raise InputError(f"epsilon must be positive and finite, found {epsilon}")
    for name, count in (("iterations", iterations), ("starts", starts)):
        if count < 1:
            raise InputError(f"{name} must be at least 1, found {count}")
    if dimension is not None and not 1 <= dimension <= objective.size:
        raise InputError(f"dimension must be from 1 to the {objective.size} parameters, found {dimension}")
    exact = objective.double()
    lead, flat = theta.shape[:-1], theta.detach().reshape(-1, objective.size).double()
    basis = None if dimension is None else _basis(objective.size, dimension, seed).to(flat.device)
    base = exact.value(flat)
    values, evaluations, status = [], [], []
    for r, point in enumerate(flat):
        search = _Search(exact, point, float(base[r]), basis, epsilon)
        if math.isfinite(search.base):
            search.run(iterations, starts, generator(seed, first + r, "box"))
        values.append(search.value)
        evaluations.append(search.evaluations)
        status.append(search.status)
    return BoxSharpness(
        torch.tensor(values, dtype=torch.float64, device=flat.device).reshape(lead),
        epsilon,
        dimension or objective.size,
        torch.tensor(evaluations, dtype=torch.int64, device=flat.device).reshape(lead),
        tuple(status),
    )


def _basis(size: int, dimension: int, seed: int) -> Tensor:
    return torch.randn(size, dimension, generator=generator(seed, 0, "box:subspace"), dtype=torch.float64)


class _Search:
    """Searches from several starts around one θ; what is best so far, whatever becomes of the next."""

    def __init__(self, objective: Objective, theta: Tensor, base: float, basis: Tensor | None, epsilon: float) -> None:
        self.objective, self.theta, self.base, self.basis = objective, theta, base, basis
        self.best, self.evaluations, self.status = (0.0 if math.isfinite(base) else math.nan), 0, "nonfinite"
        if math.isfinite(base):
            inside = theta if basis is None else torch.linalg.lstsq(basis, theta[:, None]).solution[:, 0]
            self.width = epsilon * (inside.abs() + 1)  # y = width · t with t in [−1, 1]: one unit for all coordinates

    @property
    def value(self) -> float:
        return 100 * self.best / (1 + self.base)

    def run(self, iterations: int, starts: int, source: torch.Generator) -> None:
        from scipy.optimize import Bounds

        size = len(self.width)
        box = Bounds(-np.ones(size), np.ones(size))
        options = {"maxiter": iterations, "gtol": 0.0, "ftol": 1e-12}
        with track("sharpness in a box, iterations", iterations * starts, start=0, at_most=True) as advance:
            self._run(box, options, starts, source, advance)

    def _run(
        self, box: Bounds, options: dict[str, Any], starts: int, source: torch.Generator, advance: Advance
    ) -> None:
        from scipy.optimize import minimize

        size, taken = len(self.width), itertools.count(1)
        for number in range(starts):
            begin = np.zeros(size) if number == 0 else self._drawn(source, size)
            before = self.best
            try:
                found = minimize(
                    self._fallen,
                    begin,
                    jac=True,
                    method="L-BFGS-B",
                    bounds=box,
                    options=options,
                    callback=lambda _: advance(next(taken)),
                )
            except _NotFinite:
                self.status = "nonfinite"
                return
            if number == 0 or self.best > before:
                self.status = {0: "converged", 1: "iterations"}.get(found.status, "stopped")

    @staticmethod
    def _drawn(source: torch.Generator, size: int) -> np.ndarray:
        return (2 * torch.rand(size, generator=source, dtype=torch.float64) - 1).numpy()

    def _fallen(self, t: np.ndarray) -> tuple[float, np.ndarray]:
        """−(L(θ + Ay) − L(θ)) and its gradient in t."""
        y = self.width * torch.as_tensor(t, device=self.width.device)
        step = y if self.basis is None else self.basis @ y
        value, gradient = self.objective.value_and_gradient(self.theta + step)
        self.evaluations += 1
        rise = float(value) - self.base
        if not math.isfinite(rise) or not bool(gradient.isfinite().all()):
            self.best = math.inf if rise == math.inf else math.nan if math.isnan(rise) else max(self.best, rise)
            raise _NotFinite
        self.best = max(self.best, rise)
        slope = self.width * (gradient if self.basis is None else self.basis.mT @ gradient)
        return -rise, -slope.cpu().numpy()

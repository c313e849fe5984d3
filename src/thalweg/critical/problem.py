"""What a search for critical points needs of a function: value, gradient, curvature, symmetries; many θ at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor

from thalweg.critical.modes import symmetric_modes
from thalweg.critical.narrow_outputs import narrow_outputs, one_pass
from thalweg.critical.symmetry import Symmetry, symmetry_of
from thalweg.curvature.exact import exact_curvature
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.objective.arguments import as_objective, floating

__all__ = ["FunctionProblem", "ObjectiveProblem", "Problem", "as_problem", "as_search", "as_starts"]


class Problem(ABC):
    """A twice differentiable function of θ (R, P), in float64.

    Attributes:
        size: P.
        has_ggn: Whether `gauss_newton` gives a positive semidefinite approximation of the Hessian.
        symmetry: Continuous symmetries whose orbits make the Hessian singular at every critical point, or None.
        epsilon: Relative rounding error of the function.
    """

    size: int
    has_ggn: bool = False
    symmetry: Symmetry | None = None
    epsilon: float = torch.finfo(torch.float64).eps

    @abstractmethod
    def value_and_gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """θ (R, P) -> f (R,), ∇f (R, P)."""

    @abstractmethod
    def hessian(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """θ (R, P) -> f (R,), ∇f (R, P), ∇²f (R, P, P)."""

    @abstractmethod
    def value_gradient_product(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """θ (R, P) -> f (R,), ∇f (R, P), ∇²f ∇f (R, P), the gradient of ½‖∇f‖²; without a Hessian."""

    def gauss_newton(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """θ (R, P) -> f (R,), ∇f (R, P), Gauss–Newton matrix (R, P, P), the l2 term included."""
        raise InputError("this function has no Gauss–Newton matrix: it is no loss of a network's outputs")

    def modes(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """θ (R, P) -> eigenvalues (R, P) and modes (R, P, P) of ∇²f, and whether they exist (R,)."""
        return symmetric_modes(self.hessian(theta)[2])


@final
class ObjectiveProblem(Problem):
    """The loss of a network, in float64 and on the CPU, where small eigenvalue problems are solved fastest.

    Attributes:
        objective: The objective of that dtype and device.
    """

    def __init__(self, objective: Objective) -> None:
        objective = as_objective(objective).double()
        self.objective = objective if objective.device.type == "cpu" else objective.to(device="cpu")
        self.size, self.epsilon = objective.size, self.objective.epsilon()
        self.has_ggn = objective.loss_on == "output"
        self.symmetry = symmetry_of(self.objective)
        self._narrow = self.has_ggn and narrow_outputs(self.objective)

    def value_and_gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """See `Problem`."""
        return self.objective.value_and_gradient(theta)

    def hessian(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `Problem`."""
        found = exact_curvature(self.objective, theta)
        return found.value, found.gradient, found.matrix

    def value_gradient_product(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `Problem`."""
        return self.objective.value_gradient_product(theta)

    def gauss_newton(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `Problem`."""
        theta = as_starts(self, theta)
        if self._narrow:
            return one_pass(self.objective, theta)
        found = exact_curvature(self.objective, theta, kind="ggn")
        return found.value, found.gradient, found.matrix


@final
class FunctionProblem(Problem):
    """A function f: (P,) -> scalar of torch operations, differentiated by autograd.

    Example:
        >>> problem = FunctionProblem(lambda x: x[0] ** 2 - x[1] ** 2, 2)
        >>> problem.hessian(torch.zeros(1, 2, dtype=torch.float64))[2].tolist()
        [[[2.0, 0.0], [0.0, -2.0]]]
    """

    def __init__(self, function: Callable[[Tensor], Tensor], size: int) -> None:
        if not callable(function):
            raise InputError(f"function must take (P,) and return a number, found {type(function).__name__}")
        self.size = size
        self._both = torch.func.vmap(torch.func.grad_and_value(function))
        # Reverse twice: no operation needs a forward-mode rule.
        self._hessian = torch.func.vmap(torch.func.jacrev(torch.func.grad(function)))

    def value_and_gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """See `Problem`."""
        gradient, value = self._both(as_starts(self, theta))
        return value, gradient

    def value_gradient_product(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `Problem`."""
        value, gradient, matrix = self.hessian(theta)
        return value, gradient, (matrix @ gradient[..., None])[..., 0]

    def hessian(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `Problem`."""
        theta = as_starts(self, theta)
        matrix = self._hessian(theta)
        return *self.value_and_gradient(theta), 0.5 * (matrix + matrix.mT)


@declared
def as_problem(target: Objective | Problem) -> Problem:
    """An objective as a problem; a problem stays as it is.

    Raises:
        InputError: Something else.
    """
    if isinstance(target, Objective):
        return ObjectiveProblem(target)
    if isinstance(target, Problem):
        return target
    raise InputError(f"objective must be an Objective or a Problem, found {type(target).__name__}")


def as_starts(problem: Problem, theta: Any) -> Tensor:
    """Starts (R, P) of a search, float64 on the CPU.

    Args:
        problem: The function.
        theta: (R, P) or (P,); for the loss of a network whatever `Objective.as_theta` takes.

    Raises:
        InputError: Another shape.
    """
    named = isinstance(problem, ObjectiveProblem) and not isinstance(theta, Tensor)
    theta = problem.objective.as_theta(theta) if named else floating(theta, "theta")
    theta = theta.detach().double().cpu()
    theta = theta[None] if theta.dim() == 1 else theta
    if theta.dim() != 2 or theta.shape[1] != problem.size:
        raise InputError(f"theta must have shape (R, {problem.size}), found {tuple(theta.shape)}")
    return theta


def as_search(target: Any, theta: Any) -> tuple[Problem, Tensor]:
    """The problem and the starts (R, P) of a search; see `as_problem` and `as_starts`."""
    problem = as_problem(target)
    return problem, as_starts(problem, theta)

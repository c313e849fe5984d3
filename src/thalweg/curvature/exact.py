"""Dense curvature matrices at any θ: Hessian, Gauss–Newton and empirical Fisher, exact to rounding.

Stacks of linear layers take closed formulas (`stack_hessian`), every other model the general way: rows of a retained
graph (`rows`) for the Hessian, products with unit vectors (`gauss_newton`) for the other two. The result says which.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from thalweg._short import short
from thalweg.curvature.gauss_newton import dense_factor_matrix
from thalweg.curvature.inertia import all_finite
from thalweg.curvature.rows import row_hessian
from thalweg.curvature.stack_hessian import Curvature, stack_curvature, stack_supports
from thalweg.declared import declared
from thalweg.errors import InputError, nearest
from thalweg.objective import Objective, checks
from thalweg.objective.arguments import as_theta
from thalweg.objective.derivatives import penalty
from thalweg.objective.work import ARITHMETIC, sized_by

__all__ = ["ExactCurvature", "exact_curvature", "fisher", "ggn", "hessian", "layer_blocks"]

Method = Literal["auto", "stack", "general"]
KINDS: dict[Curvature, str] = {"hessian": "Hessian", "ggn": "Gauss–Newton matrix", "fisher": "empirical Fisher matrix"}
TILE = 1024  # rows of the tiles in which a large matrix is symmetrised in place


@short
@dataclass(frozen=True)
class ExactCurvature:
    """A curvature matrix with what came from the same pass.

    Args:
        matrix: (…, p, p), symmetric; all NaN where the loss or any entry is not finite.
        value: L(θ) with the penalty, (…).
        gradient: ∇L(θ) on the same parameters, with the penalty, (…, p).
        asymmetry: ‖H − Hᵀ‖_F / 2 before symmetrisation, (…): the rounding error that rows show. Zero where the formulas
            of a stack make the matrix symmetric by construction, which says nothing about their rounding.
        finite: Whether the loss and the matrix are finite, (…).
        kind: "hessian", "ggn" or "fisher".
        method: "stack" (closed formulas), "rows" or "products" (general).
    """

    matrix: Tensor
    value: Tensor
    gradient: Tensor
    asymmetry: Tensor
    finite: Tensor
    kind: Curvature
    method: Literal["stack", "rows", "products"]


def _seconds(objective: Objective, _rows: int) -> float:
    """What the largest product takes with one thread: a block of the matrix from the derivatives of some samples."""
    largest = max(place.stop - place.start for place in objective.layout.slices.values())
    return 2.0 * largest**2 * min(objective.samples, 256) / ARITHMETIC


@declared
@sized_by(_seconds)
def exact_curvature(
    objective: Objective,
    theta: Tensor,
    *,
    kind: Curvature = "hessian",
    parameters: str | Sequence[str] = "*",
    dtype: torch.dtype = torch.float64,
    memory: int = 8 * 2**30,
    method: Method = "auto",
) -> ExactCurvature:
    """Evaluates a dense curvature matrix with loss and gradient at every θ.

    Args:
        objective: Any; `kind` "ggn" and "fisher" need a loss on (output, target).
        theta: (…, P); or what `Objective.as_theta` takes: a model, a state_dict, an array, a list of these.
        kind: "hessian": ∇²L. "ggn": (1/N) Σ_n J_nᵀ (∇²_f ℓ_n) J_n + l2·I with J_n the Jacobian of the outputs
            (Schraudolph 2002); for cross-entropy it is the Fisher matrix under the model's own predictions, for a
            squared error the same up to a factor. "fisher": the empirical Fisher matrix (1/N) Σ_n g_n g_nᵀ of the
            gradients g_n of the per-sample losses, without the penalty.
        parameters: Glob or globs: the diagonal block of these p parameters, in the order of θ; the others are constant.
        dtype: float64 by default, since float32 loses the signs of small eigenvalues.
        memory: Budget in bytes for the matrices; default 8 GiB. Activations have the objective's own budget.
        method: "auto" takes closed formulas where the model is a stack of linear layers; "stack" insists on them;
            "general" works for every model.

    Returns:
        The matrix with loss, gradient and asymmetry. A θ at which the loss is NaN gives a NaN matrix, and only there.

    Raises:
        InputError: The matrices exceed `memory`, an operation has no second derivative, or the objective does not have
            what `kind` or `method` needs.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
        >>> objective = Objective(model, torch.nn.MSELoss(), (torch.randn(7, 2), torch.randn(7, 1)))
        >>> result = exact_curvature(objective, objective.initial(replicas=5))
        >>> result.matrix.shape, result.matrix.dtype, result.method
        (torch.Size([5, 13, 13]), torch.float64, 'stack')
    """
    for name, found, options in (("kind", kind, tuple(KINDS)), ("method", method, ("auto", "stack", "general"))):
        if found not in options:
            near = nearest(str(found), options)
            raise InputError(f"{name} must be one of {', '.join(options)}, found '{found}'{near}")
    return exact_with_distance(objective, theta, kind, parameters, dtype, memory, method)[0]


def exact_with_distance(
    objective: Objective,
    theta: Tensor,
    kind: Curvature = "hessian",
    parameters: str | Sequence[str] = "*",
    dtype: torch.dtype = torch.float64,
    memory: int = 8 * 2**30,
    method: Method = "auto",
    permuted: Objective | None = None,
) -> tuple[ExactCurvature, Tensor | None]:
    """The matrix, and the Frobenius norm of its difference to that of `permuted` (…).

    None without `permuted`, and where the difference cannot be told without a second matrix: for other models than
    stacks of linear layers, and for data that several processes share.
    """
    theta = as_theta(objective, theta)
    checks.vector(theta, "theta", torch.float64, objective.device)
    objective = objective.to(dtype=dtype) if objective.dtype != checks.floating(dtype, "dtype") else objective
    layout = objective.layout.only(parameters)
    lead = theta.shape[:-1]
    _check_memory(math.prod(lead), layout.size, dtype, memory, kind)
    flat = theta.detach().to(dtype).reshape(-1, objective.size)
    distance = None
    use_stack = stack_supports(objective, layout) if method == "auto" else method == "stack"
    if use_stack and not stack_supports(objective, layout):
        raise InputError(
            "method must be 'auto' or 'general' unless the model is a stack of linear layers under a mean "
            "squared error or cross-entropy, found 'stack'"
        )
    if use_stack:
        if permuted is not None:
            permuted = permuted.to(dtype=dtype) if objective.batches.held_samples == objective.samples else None
        value, gradient, matrix, distance = stack_curvature(objective, flat, layout, kind, permuted)
        asymmetry, taken = torch.zeros_like(value), "stack"
    else:
        with objective.second_derivatives():
            if kind == "hessian":
                value, gradient, matrix = row_hessian(objective, flat, layout)
            else:
                value, gradient, matrix = dense_factor_matrix(objective, flat, layout, kind)
        asymmetry, taken = _symmetrise(matrix), "rows" if kind == "hessian" else "products"
    chosen = flat[:, objective.layout.select(parameters).to(flat.device)]
    value = value + penalty(objective.l2, flat)
    gradient = gradient + objective.l2 * chosen
    if kind != "fisher":
        matrix.diagonal(dim1=-2, dim2=-1).add_(objective.l2)
    distance = None if distance is None else distance.reshape(lead)
    finite = torch.isfinite(value) & torch.tensor([all_finite(one) for one in matrix], device=value.device)
    matrix[~finite] = torch.nan
    p = layout.size
    found = ExactCurvature(
        matrix.reshape(*lead, p, p),
        value.reshape(lead),
        gradient.reshape(*lead, p),
        asymmetry.reshape(lead),
        finite.reshape(lead),
        kind,
        taken,
    )
    return found, distance


@declared
def hessian(
    objective: Objective,
    theta: Tensor,
    *,
    parameters: str | Sequence[str] = "*",
    dtype: torch.dtype = torch.float64,
    memory: int = 8 * 2**30,
) -> Tensor:
    """Returns ∇²L(θ): (…, P) -> (…, p, p). See `exact_curvature`.

    Example:
        >>> objective = Objective(torch.nn.Linear(1, 1), torch.nn.MSELoss(), (torch.ones(4, 1), torch.zeros(4, 1)))
        >>> hessian(objective, objective.theta)
        tensor([[2., 2.],
                [2., 2.]], dtype=torch.float64)
    """
    return exact_curvature(objective, theta, parameters=parameters, dtype=dtype, memory=memory).matrix


@declared
def ggn(
    objective: Objective,
    theta: Tensor,
    *,
    parameters: str | Sequence[str] = "*",
    dtype: torch.dtype = torch.float64,
    memory: int = 8 * 2**30,
) -> Tensor:
    """Returns the generalised Gauss–Newton matrix of L: (…, P) -> (…, p, p). See `exact_curvature`."""
    return exact_curvature(objective, theta, kind="ggn", parameters=parameters, dtype=dtype, memory=memory).matrix


@declared
def fisher(
    objective: Objective,
    theta: Tensor,
    *,
    parameters: str | Sequence[str] = "*",
    dtype: torch.dtype = torch.float64,
    memory: int = 8 * 2**30,
) -> Tensor:
    """Returns the empirical Fisher matrix (1/N) Σ_n g_n g_nᵀ: (…, P) -> (…, p, p). See `exact_curvature`."""
    return exact_curvature(objective, theta, kind="fisher", parameters=parameters, dtype=dtype, memory=memory).matrix


@declared
def layer_blocks(
    objective: Objective,
    theta: Tensor,
    *,
    kind: Curvature = "hessian",
    dtype: torch.dtype = torch.float64,
    memory: int = 8 * 2**30,
) -> dict[str, Tensor]:
    """Returns the diagonal block of every layer: name of the module -> (…, p, p).

    Args:
        objective: As in `exact_curvature`.
        theta: (…, P).
        kind: "hessian", "ggn" or "fisher".
        dtype: Of the result.
        memory: Budget in bytes for each block.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
        >>> objective = Objective(model, torch.nn.MSELoss(), (torch.randn(7, 2), torch.randn(7, 1)))
        >>> {name: tuple(block.shape) for name, block in layer_blocks(objective, objective.theta).items()}
        {'0': (9, 9), '2': (4, 4)}
    """
    theta = as_theta(objective, theta)
    objective = objective.to(dtype=dtype) if objective.dtype != checks.floating(dtype, "dtype") else objective
    layers: dict[str, list[str]] = {}
    for name in objective.layout.names:
        layers.setdefault(name.rpartition(".")[0], []).append(name)
    return {
        layer: exact_curvature(objective, theta, kind=kind, parameters=names, dtype=dtype, memory=memory).matrix
        for layer, names in layers.items()
    }


def _check_memory(replicas: int, size: int, dtype: torch.dtype, memory: int, kind: Curvature) -> None:
    """One matrix more than the result: sums over samples come in another order than the entries."""
    needed = (replicas + 1) * size * size * (torch.finfo(dtype).bits // 8)
    if needed > memory:
        call = {
            "hessian": "objective.products(theta)",
            "ggn": "curvature.ggn_operator",
            "fisher": "curvature.fisher_operator",
        }[kind]
        raise InputError(
            f"memory must hold the dense {KINDS[kind]}: {needed:,} bytes for {replicas} × {size}² numbers and one "
            f"matrix of work, found {memory:,}; take {call}, which never forms it, or fewer theta at once"
        )


def _symmetrise(matrix: Tensor) -> Tensor:
    """Averages a matrix (B, p, p) with its transpose in place; returns ‖H − Hᵀ‖_F / 2 before, (B,)."""
    squares = matrix.new_zeros(len(matrix))
    size = matrix.shape[-1]
    for start in range(0, size, TILE):
        rows = slice(start, start + TILE)
        for other in range(start, size, TILE):
            columns = slice(other, other + TILE)
            upper, lower = matrix[:, rows, columns], matrix[:, columns, rows].mT
            difference = (upper - lower).square().sum((-2, -1))
            squares += difference if other == start else 2 * difference
            mean = 0.5 * (upper + lower)
            upper.copy_(mean)
            lower.copy_(mean)
    return 0.5 * squares.sqrt()

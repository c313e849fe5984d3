"""A dense curvature matrix at many θ: by the closed formulas of a stack of linear layers, or by any general way."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeVar

import torch
from torch import Tensor

from thalweg.errors import InputError
from thalweg.objective import checks
from thalweg.objective.checked import Checked
from thalweg.objective.derivatives import penalty
from thalweg.objective.layout import ParameterLayout
from thalweg.objective.stack_hessian import Curvature, stack_curvature, stack_supports
from thalweg.objective.tensors import all_finite
from thalweg.objective.work import ARITHMETIC

__all__ = ["MEMORY", "Dense", "Method", "dense_curvature", "seconds"]

Kind = TypeVar("Kind", bound=Checked)
Method = Literal["auto", "stack", "general"]
KINDS: dict[Curvature, str] = {"hessian": "Hessian", "ggn": "Gauss–Newton matrix", "fisher": "empirical Fisher matrix"}
MEMORY = 8 * 2**30  # bytes for the matrices
TILE = 1024  # rows of the tiles in which a large matrix is symmetrised in place


class Dense(NamedTuple):
    """The matrix (…, p, p) with loss (…), gradient (…, p), ‖H − Hᵀ‖_F / 2 before symmetrisation (…), finiteness (…).

    `stack` says whether closed formulas gave it; `distance` is that to the matrix of `permuted` (…), or None.
    """

    matrix: Tensor
    value: Tensor
    gradient: Tensor
    asymmetry: Tensor
    finite: Tensor
    stack: bool
    distance: Tensor | None


def seconds(objective: Checked, _rows: int) -> float:
    """What the largest product takes with one thread: a block of the matrix from the derivatives of some samples."""
    largest = max(place.stop - place.start for place in objective.layout.slices.values())
    return 2.0 * largest**2 * min(objective.samples, 256) / ARITHMETIC


def dense_curvature(
    objective: Kind,
    theta: Tensor,
    kind: Curvature,
    general: Callable[[Kind, Tensor, ParameterLayout], tuple[Tensor, Tensor, Tensor]],
    *,
    parameters: str | Sequence[str] = "*",
    dtype: torch.dtype = torch.float64,
    memory: int = MEMORY,
    method: Method = "auto",
    permuted: Kind | None = None,
) -> Dense:
    """Evaluates a curvature matrix; see `thalweg.curvature.exact_curvature`.

    Args:
        objective: Any.
        theta: (…, P).
        kind: Which matrix.
        general: The way for models that are no stack of linear layers: (objective, θ (B, P), layout) -> data loss (B,),
            gradient (B, p), matrix (B, p, p), without l2 and not yet symmetrised.
        parameters: Globs of the p parameters.
        dtype: Of the matrix.
        memory: Bytes for the matrices.
        method: Whether closed formulas are taken.
        permuted: The objective with its samples in another order.
    """
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
        asymmetry = torch.zeros_like(value)
    else:
        with objective.second_derivatives():
            value, gradient, matrix = general(objective, flat, layout)
        asymmetry = _symmetrise(matrix)
    chosen = flat[:, objective.layout.select(parameters).to(flat.device)]
    value = value + penalty(objective.l2, flat)
    gradient = gradient + objective.l2 * chosen
    if kind != "fisher":
        matrix.diagonal(dim1=-2, dim2=-1).add_(objective.l2)
    distance = None if distance is None else distance.reshape(lead)
    finite = torch.isfinite(value) & torch.tensor([all_finite(one) for one in matrix], device=value.device)
    matrix[~finite] = torch.nan
    p = layout.size
    return Dense(
        matrix.reshape(*lead, p, p),
        value.reshape(lead),
        gradient.reshape(*lead, p),
        asymmetry.reshape(lead),
        finite.reshape(lead),
        use_stack,
        distance,
    )


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

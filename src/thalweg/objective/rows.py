"""Exact Hessians of any model, row by row through one retained graph of the gradient.

Row i is the gradient of ∂L/∂θ_i: one backward pass through a graph that is built once. Several rows share a pass
(`is_grads_batched`) where that graph is small; measured on a CPU, 2–4 times faster for small networks and no gain once
a pass fills the cache. Forward-over-reverse is no faster there, refuses some operations (SiLU), and is silently wrong
for the scale of LayerNorm (torch 2.13 to 2.15: the forward mode of its backward pass misses a term).
"""

from __future__ import annotations

import warnings
from functools import partial

import torch
from torch import Tensor

from thalweg.objective.assembly import Assembly
from thalweg.objective.layout import ParameterLayout
from thalweg.objective.planning import PRODUCT
from thalweg.objective.surroundings import ALONE
from thalweg.progress import Advance, track

__all__ = ["row_hessian"]

ROWS_WORKING_SET = 2**23  # bytes of activations that one batched backward pass may touch
ROWS_AT_ONCE = 32


def row_hessian(objective: Assembly, theta: Tensor, layout: ParameterLayout) -> tuple[Tensor, Tensor, Tensor]:
    """Evaluates data loss, gradient and Hessian, not yet symmetrised, at many θ.

    Args:
        objective: Any.
        theta: (B, P).
        layout: The parameters that the gradient and the Hessian are about: p of the P.

    Returns:
        Data loss (B,), its gradient (B, p) and its Hessian (B, p, p); l2 is not part of them.
    """
    evaluation, program = objective.evaluation, objective.program
    value = theta.new_zeros(len(theta))
    gradient = theta.new_zeros(len(theta), layout.size)
    matrix = theta.new_zeros(len(theta), layout.size, layout.size)
    cut = evaluation.plan(len(theta), PRODUCT)
    done = 0.0  # θ, in parts of their data
    with track("Hessian, rows", total=len(theta) * layout.size, start=0) as advance:
        for start in range(0, len(theta), cut.replicas):
            part = slice(start, min(start + cut.replicas, len(theta)))
            leaves, params = evaluation.leaves(theta[part], layout)
            params |= evaluation.extra(theta[part])
            for batch, count in objective.batches.summands(cut.samples):
                weight = count / objective.samples
                with torch.enable_grad(), program.surroundings(twice=True):
                    losses = program.losses(params, batch)
                    first = torch.autograd.grad(
                        losses.sum(), leaves, create_graph=True, allow_unused=True, materialize_grads=True
                    )
                    flat = torch.cat([g.reshape(len(losses), -1) for g in first], dim=1)
                value[part] += weight * losses.detach()
                gradient[part] += weight * flat.detach()
                touched = evaluation.pair_bytes * count * len(losses)
                together = max(1, min(ROWS_AT_ONCE, ROWS_WORKING_SET // max(1, touched)))
                share = len(losses) * count / objective.batches.held_samples
                said = partial(_said, advance, done * layout.size, share)
                if flat.requires_grad:
                    with program.surroundings(twice=True):
                        _add_rows(matrix[part], flat, leaves, weight, together, said)
                done += share
    value, gradient, matrix = objective.batches.reduced(value, gradient, matrix)
    return value, gradient, matrix


def _add_rows(matrix: Tensor, flat: Tensor, leaves: list[Tensor], weight: float, together: int, said: Advance) -> None:
    """Adds to matrix (B, p, p): weight · dflat/dleaves; replicas do not mix, so that one pass serves all of them."""
    replicas, size = flat.shape
    for start in range(0, size, together):
        rows = min(together, size - start)
        if rows > 1:
            chosen = torch.zeros(rows, replicas, size, dtype=flat.dtype, device=flat.device)
            chosen[torch.arange(rows), :, torch.arange(start, start + rows)] = 1.0
            second = _batched(flat, leaves, chosen)
            if second is None:  # an operation without a batching rule: one row at a time from here on
                return _add_rows_from(matrix, flat, leaves, weight, start, said)
            filled = [
                leaf.new_zeros(rows, *leaf.shape) if g is None else g for g, leaf in zip(second, leaves, strict=True)
            ]
            block = torch.cat([g.reshape(rows, replicas, -1) for g in filled], dim=2)
            matrix[:, start : start + rows] += weight * block.transpose(0, 1)
        else:
            _add_row(matrix, flat, leaves, weight, start)
        said(start + rows)
    return None


def _add_rows_from(
    matrix: Tensor, flat: Tensor, leaves: list[Tensor], weight: float, start: int, said: Advance
) -> None:
    for row in range(start, flat.shape[1]):
        _add_row(matrix, flat, leaves, weight, row)
        said(row + 1)


def _said(advance: Advance, before: float, share: float, rows: float) -> None:
    """Rows of this piece, which is a share of the data of some θ, are done after others."""
    advance(round(before + share * rows, 1))


def _add_row(matrix: Tensor, flat: Tensor, leaves: list[Tensor], weight: float, row: int) -> None:
    second = torch.autograd.grad(
        flat[:, row].sum(), leaves, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    matrix[:, row] += weight * torch.cat([g.reshape(len(flat), -1) for g in second], dim=1)


def _batched(flat: Tensor, leaves: list[Tensor], chosen: Tensor) -> tuple[Tensor | None, ...] | None:
    try:
        with ALONE, warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*batching rule")
            return torch.autograd.grad(
                flat,
                leaves,
                chosen,
                retain_graph=True,
                is_grads_batched=True,
                allow_unused=True,  # None, not zeros: torch materialises them without the axis of rows
            )
    except (RuntimeError, NotImplementedError, UserWarning):
        return None

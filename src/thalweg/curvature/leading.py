"""The largest Hessian eigenvalue at many θ at once: Lanczos processes in lock-step, one batched product a step.

Every process begins with the same random vector and takes the steps that `eigenpairs` takes alone, up to its first
restart, and stops by the same rule, so that the values are the same to rounding. The few that need a restart are left
to it, one by one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from thalweg.curvature.lanczos import eigenpairs
from thalweg.curvature.operator import hessian_operator
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.objective.arguments import as_theta
from thalweg.objective.work import sized
from thalweg.progress import Advance, track

__all__ = ["leading_eigenvalues"]

VECTORS = 2**20  # bytes of one vector for every θ at once on a CPU: measured, more leave the cache and gain nothing


@declared
@sized
def leading_eigenvalues(
    objective: Objective,
    theta: Tensor,
    *,
    tolerance: float = 1e-4,
    steps: int = 100,
    memory: int = 2**30,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Finds the largest eigenvalue of ∇²L at every θ; missed copies of it are not looked for, they have the same value.

    Args:
        objective: The loss; in float64 where small eigenvalues matter.
        theta: (B, P); or what `Objective.as_theta` takes, such as a list of models.
        tolerance: Relative residual at which a value has converged.
        steps: Lanczos vectors held for one θ; what has not converged then is done by `eigenpairs`.
        memory: Bytes for these vectors: decides how many θ advance together.
        seed: Of the start vector, the same for all θ.

    Returns:
        Values and residuals ‖H v − λ v‖, (B,) float64; NaN where a product is not finite. H has an eigenvalue at most a
        residual away from each value.

    Example:
        >>> from torch import nn
        >>> objective = Objective(nn.Linear(1, 1), nn.MSELoss(), (torch.ones(4, 1), torch.zeros(4, 1))).double()
        >>> values, residuals = leading_eigenvalues(objective, torch.zeros(3, 2, dtype=torch.float64))
        >>> torch.allclose(values, torch.full_like(values, 4.0)), bool((residuals < 1e-3).all())
        (True, True)
    """
    theta = as_theta(objective, theta)
    if objective.dtype.itemsize < 4:
        raise InputError(
            "objective must be float32 or float64 for Lanczos processes in lock-step, found "
            f"{str(objective.dtype).removeprefix('torch.')}: take eigenpairs, or objective.double()"
        )
    if theta.dim() != 2:
        raise InputError(f"theta must have shape (B, {objective.size}), found {tuple(theta.shape)}")
    steps, vector = min(steps, objective.size), objective.size * objective.dtype.itemsize
    together = max(1, memory // (2 * steps * vector))
    if objective.device.type == "cpu":
        together = min(together, max(1, VECTORS // vector))
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    with track("largest eigenvalues, points", total=len(theta), start=0) as advance:
        for part in theta.split(together):
            before = sum(len(one[0]) for one in found)

            def settled_here(count: float, before: int = before) -> None:
                advance(before + count)

            found.append(_lockstep(objective, part, tolerance, steps, seed, settled_here))
    values, residuals, settled = (torch.cat(column) for column in zip(*found, strict=True))
    for row in (~settled).nonzero().flatten().tolist():
        operator = hessian_operator(objective, theta[row])
        pairs = eigenpairs(operator, tolerance=tolerance, check=False, memory=memory, seed=seed)
        values[row], residuals[row] = pairs.values[0], pairs.residuals[0]
    return values, residuals


def _lockstep(
    objective: Objective, theta: Tensor, tolerance: float, steps: int, seed: int, advance: Advance
) -> tuple[Tensor, Tensor, Tensor]:
    """Values, residuals and whether they have settled (converged, or are not finite), each (B,)."""
    count, size = theta.shape
    epsilon = objective.epsilon()
    draw = torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(theta)
    current = (draw / torch.linalg.vector_norm(draw)).expand(count, size)
    values = torch.full((count,), torch.nan, dtype=torch.float64, device=theta.device)
    residuals, settled = values.clone(), torch.zeros_like(values, dtype=torch.bool)
    rows = torch.arange(count, device=theta.device)  # the θ that are still at it
    basis = theta.new_empty(count, steps, size)
    projected = values.new_zeros(count, steps, steps)
    before, scale, asymmetry = values.new_zeros(count), values.new_zeros(count), values.new_zeros(count)
    product = objective.products(theta)
    for j in range(steps):
        basis[:, j] = current
        seen = basis[:, : j + 1]
        rest = product(current)
        lengths = _lengths(rest)
        rest, column = _projected_out(rest, seen)
        projected[:, : j + 1, j] = projected[:, j, : j + 1] = column.double()
        expected = torch.zeros_like(column[:, :j]).double()
        expected[:, j - 1 :] = before[:, None]
        before = _lengths(rest)
        scale = torch.maximum(scale, lengths)
        asymmetry = torch.maximum(asymmetry, _lengths(column[:, :j] - expected))
        finite = lengths.isfinite() & column.isfinite().all(1) & before.isfinite()
        ritz, vectors = torch.linalg.eigh(projected[:, : j + 1, : j + 1].where(finite[:, None, None], 0.0))
        residual = torch.hypot(before * vectors[:, -1, -1].abs(), torch.hypot(asymmetry, epsilon * scale))
        limit = torch.maximum(tolerance * ritz[:, -1].abs(), 10.0 * epsilon * scale)
        done = ~settled[rows] & ((residual <= limit) | ~finite | (before <= 10.0 * epsilon * scale))
        values[rows[done]] = ritz[done, -1].where(finite[done], torch.nan)
        residuals[rows[done]] = residual[done].where(finite[done], torch.nan)
        settled[rows[done]] = True
        advance(int(settled.sum()))
        going = ~settled[rows]
        if not bool(going.any()):
            break
        current = rest / before.clamp(min=torch.finfo(theta.dtype).tiny)[:, None].to(rest)
        if 2 * int(going.sum()) <= len(rows):  # what has settled earlier runs along until half has
            rows, basis, projected, current = rows[going], basis[going], projected[going], current[going]
            before, scale, asymmetry = before[going], scale[going], asymmetry[going]
            product = objective.products(theta[rows])
    return values, residuals, settled


def _projected_out(rest: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Removes the span of seen (B, m, P) from rest (B, P), twice; returns the coefficients removed (B, m)."""
    total = rest.new_zeros(seen.shape[:2])
    for _ in range(2):
        share = torch.bmm(seen, rest.unsqueeze(-1)).squeeze(-1)
        rest = rest - torch.bmm(share.unsqueeze(1), seen).squeeze(1)
        total = total + share
    return rest, total


def _lengths(rows: Tensor) -> Tensor:
    """Norms (B,) of rows, in float64: squares of float32 overflow from 2e19 on."""
    return torch.linalg.vector_norm(rows, dim=-1, dtype=torch.float64)

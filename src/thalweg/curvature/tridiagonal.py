"""Plain Lanczos on several start vectors at once: the tridiagonal matrices that quadrature and bounds are made of."""

from __future__ import annotations

import torch
from torch import Tensor

from thalweg.curvature.operator import Operator

__all__ = ["lanczos_block"]


def lanczos_block(
    operator: Operator, vectors: Tensor, steps: int, reorthogonalise: bool = True
) -> tuple[Tensor, Tensor]:
    """Advances K Lanczos processes together.

    Args:
        operator: The symmetric operator.
        vectors: Start vectors, (K, P), of any length.
        steps: m, at most P.
        reorthogonalise: Hold all (K, m, P) Lanczos vectors and keep each new one orthogonal to its own.

    Returns:
        Diagonals (K, m), and off-diagonals with the norm of the last remainder (K, m). Where a process has exhausted
        its invariant subspace, zeros follow. NaN and infinity pass through.

    Example:
        >>> operator = Operator.dense(torch.tensor([[2.0, 1.0], [1.0, 0.0]]))
        >>> lanczos_block(operator, torch.tensor([[1.0, 0.0]]), steps=2)
        (tensor([[2., 0.]]), tensor([[1., 0.]]))
    """
    count, size = vectors.shape
    current = vectors / torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    previous, beta = torch.zeros_like(current), vectors.new_zeros(count)
    basis = vectors.new_empty(count, steps, size) if reorthogonalise else None
    alphas, betas = vectors.new_zeros(count, steps), vectors.new_zeros(count, steps)
    scale = vectors.new_zeros(count)
    alive = torch.ones(count, dtype=torch.bool, device=vectors.device)
    epsilon, largest = torch.finfo(vectors.dtype).eps, torch.finfo(vectors.dtype).max
    for j in range(steps):
        rest = operator(current)
        scale = torch.maximum(scale, _lengths(rest))
        alpha = (rest * current).sum(-1)
        alphas[:, j] = torch.where(alive, alpha, 0.0)
        rest = rest - alpha[:, None] * current - beta[:, None] * previous
        if basis is not None:
            basis[:, j] = current
            seen = basis[:, : j + 1]
            for _ in range(2):
                rest = rest - torch.einsum("kj,kjp->kp", torch.einsum("kjp,kp->kj", seen, rest), seen)
        beta = _lengths(rest)
        # ~(≤) keeps NaN and infinity alive, so that they reach the result. What is exhausted goes on with zeros.
        alive = alive & ~(beta <= 10.0 * epsilon * scale.clamp(max=largest)) & (j + 1 < size)
        beta = torch.where(alive, beta, 0.0)
        betas[:, j] = beta
        previous, current = current, torch.where(alive[:, None], rest / beta[:, None], 0.0)
    return alphas, betas


def _lengths(rows: Tensor) -> Tensor:
    """Norms (K,) of rows (K, P), summed in float64: squares of float32 overflow from 2e19 on."""
    return torch.linalg.vector_norm(rows, dim=-1, dtype=torch.float64).to(rows.dtype)

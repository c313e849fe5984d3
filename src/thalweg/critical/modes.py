"""Eigenvalues and modes of many symmetric matrices; one for which there are none takes no other down."""

from __future__ import annotations

import torch
from scipy import linalg
from torch import Tensor

__all__ = ["symmetric_modes"]


def symmetric_modes(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvalues (R, P), ascending, modes (R, P, P) in columns, and whether they exist (R,).

    LAPACK may give up on a matrix (it happens at hundreds of eigenvalues that are zero), and torch then raises for the
    whole batch. The matrices are then taken one by one, and one that fails again is given to the older QR iteration.
    Where that fails too, or the matrix is not finite, the eigenvalues are NaN and the modes the axes.

    Args:
        matrix: Symmetric (R, P, P); only the lower triangles are read.

    Example:
        >>> values, _, exist = symmetric_modes(torch.tensor([[[2.0, 1.0], [1.0, 2.0]], [[1.0, 0.0], [0.0, torch.inf]]]))
        >>> values[0].tolist(), exist.tolist()
        ([1.0, 3.0], [True, False])
    """
    exist = matrix.isfinite().all(2).all(1)
    axes = torch.eye(matrix.shape[-1]).to(matrix)
    matrix = torch.where(exist[:, None, None], matrix, axes)
    try:
        values, modes = torch.linalg.eigh(matrix)
    except torch.linalg.LinAlgError:
        pairs = [_alone(one) for one in matrix]
        exist = exist & torch.tensor([pair is not None for pair in pairs]).to(exist.device)
        values, modes = (torch.stack(parts) for parts in zip(*(p or (axes[0], axes) for p in pairs), strict=True))
    return values.masked_fill(~exist[:, None], torch.nan), modes, exist


def _alone(matrix: Tensor) -> tuple[Tensor, Tensor] | None:
    try:
        values, modes = torch.linalg.eigh(matrix)
        return values, modes
    except torch.linalg.LinAlgError:
        pass
    try:
        values, modes = linalg.eigh(matrix.cpu().numpy(), driver="ev")
        return torch.from_numpy(values).to(matrix), torch.from_numpy(modes).to(matrix)
    except linalg.LinAlgError:
        return None

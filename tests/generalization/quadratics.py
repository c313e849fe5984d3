"""L(θ) = θᵀHθ/2 + gᵀθ + c as an objective on one sample: everything about its sharpness is known."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from thalweg.objective import Objective


class Quadratic(nn.Module):
    def __init__(self, hessian: Tensor, slope: Tensor, constant: float) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(len(hessian), dtype=torch.float64))
        self.register_buffer("h", hessian.double())
        self.register_buffer("g", slope.double())
        self.constant = constant

    def forward(self, x: Tensor) -> Tensor:
        value = 0.5 * self.theta @ self.h @ self.theta + self.g @ self.theta + self.constant
        return value + 0.0 * x


def quadratic(hessian: Tensor, slope: Tensor | None = None, constant: float = 0.0) -> Objective:
    data = torch.zeros(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    slope = torch.zeros(len(hessian)) if slope is None else slope
    return Objective(Quadratic(hessian, slope, constant), lambda output, target: (output - target).mean(), data)


def with_spectrum(eigenvalues: list[float], seed: int = 0) -> Tensor:
    """A symmetric matrix with these eigenvalues in a random basis."""
    torch.manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(len(eigenvalues), len(eigenvalues), dtype=torch.float64)).Q
    return basis @ torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)) @ basis.mT

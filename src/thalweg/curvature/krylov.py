"""A growing subspace with its projected matrix and its residuals: what Lanczos keeps between two products.

Invariant, for the basis U (m, P), the projected matrix T (m, m) and the frontier F (b, P) with couplings C (b, m):

    A Uᵀ = Uᵀ T + Fᵀ C,      U Uᵀ = I,   F Fᵀ = I,   U Fᵀ = 0.

So the residual of the Ritz pair (θ, s) is Fᵀ C s, and its norm ‖C s‖ costs nothing. With b = 1 and each step taken
along the frontier this is Lanczos with full reorthogonalisation; cutting the basis down to chosen Ritz vectors
(U ← SᵀU, T ← diag θ, C ← C S, the frontier stays) is the thick restart of Wu & Simon (2000). A vector from outside,
such as a fresh random one, adds a direction to the frontier and leaves the invariant: the band Lanczos of Ruhe (1979).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg._short import short
from thalweg.curvature.operator import Operator

__all__ = ["Ritz", "Subspace"]


@short
@dataclass(frozen=True)
class Ritz:
    """Ritz pairs of a subspace, values ascending, float64 on the CPU.

    Args:
        values: (m,).
        coefficients: (m, m), column i holds the Ritz vector i in the basis.
        residuals: ‖A y − θ y‖, (m,).
        couplings: C s, (b, m): the residual vectors in the coordinates of the frontier.
    """

    values: Tensor
    coefficients: Tensor
    residuals: Tensor
    couplings: Tensor


class Subspace:
    """Mutable state of one Lanczos computation.

    Args:
        operator: A.
        capacity: Most basis vectors held at once.
        generator: Source of the random vectors, on the CPU, so that devices agree.
    """

    def __init__(self, operator: Operator, capacity: int, generator: torch.Generator) -> None:
        self.operator = operator
        self.capacity = capacity
        self.generator = generator
        self.size = 0
        self.asymmetry = 0.0
        self.scale = 0.0
        self.finite = True
        self.basis = torch.empty(capacity, operator.size, dtype=operator.dtype, device=operator.device)
        self.projected = torch.zeros(capacity, capacity, dtype=torch.float64)
        self.frontier = self.basis.new_empty(0, operator.size)
        self.couplings = torch.zeros(0, capacity, dtype=torch.float64)
        self.epsilon = operator.epsilon

    @property
    def complete(self) -> bool:
        """Whether the basis spans the whole space."""
        return self.size == self.operator.size

    @property
    def rounding(self) -> float:
        """Length below which a residual is rounding noise of the products so far."""
        return 10.0 * self.epsilon * self.scale

    def ritz(self) -> Ritz:
        """Solves the projected problem."""
        values, coefficients = torch.linalg.eigh(self.projected[: self.size, : self.size])
        couplings = self.couplings[:, : self.size] @ coefficients
        # A non-symmetric product makes the recurrence an idealisation: its measured defect is part of every residual,
        # and none is known better than a product is rounded.
        defect = torch.tensor(math.hypot(self.asymmetry, self.epsilon * self.scale), dtype=torch.float64)
        residuals = torch.hypot(torch.linalg.vector_norm(couplings, dim=0), defect)
        return Ritz(values, coefficients, residuals, couplings)

    def vectors(self, coefficients: Tensor) -> Tensor:
        """Combines the basis: coefficients (m, k) -> rows (k, P)."""
        return coefficients.mT.to(self.basis) @ self.basis[: self.size]

    def start(self, vectors: Tensor) -> None:
        """Seeds an empty frontier with the span of rows (b, P)."""
        self._set_frontier(vectors, torch.zeros(len(vectors), self.capacity, dtype=torch.float64))

    def restart(self, ritz: Ritz, keep: Tensor) -> None:
        """Cuts the basis down to the Ritz vectors with indices `keep` (k,)."""
        kept = len(keep)
        self.basis[:kept] = self.vectors(ritz.coefficients[:, keep])
        self.projected.zero_()
        self.projected.diagonal()[:kept] = ritz.values[keep]
        self.couplings = torch.zeros_like(self.couplings)
        self.couplings[:, :kept] = ritz.couplings[:, keep]
        self.size = kept

    def expand(self, direction: Tensor) -> None:
        """Adds the frontier vector with coordinates `direction` (b,) to the basis; costs one product."""
        rotation = _orthogonal_with_first_row(direction)
        self.frontier = rotation.to(self.frontier) @ self.frontier
        self.couplings = rotation @ self.couplings
        new, self.frontier = self.frontier[0], self.frontier[1:]
        expected, self.couplings = self.couplings[0, : self.size], self.couplings[1:]
        self._append(_orthogonalised(new, self.basis[: self.size])[0], expected)

    def expand_randomly(self) -> None:
        """Adds a random unit vector, uniform on the sphere orthogonal to the basis; costs one product."""
        new = self.frontier.new_zeros(self.operator.size)
        while not float(torch.linalg.vector_norm(new)) > 0.0:
            draw = torch.randn(self.operator.size, generator=self.generator, dtype=torch.float64).to(self.basis)
            new = _orthogonalised(draw, self.basis[: self.size])[0]
        share = self.frontier @ new  # (b,)
        expected = share.to(self.couplings) @ self.couplings[:, : self.size]
        self._set_frontier(self.frontier - share[:, None] * new, self.couplings)
        self._append(new, expected)

    def _append(self, new: Tensor, expected: Tensor) -> None:
        m = self.size
        self.basis[m] = new
        product = self.operator(new)
        rest, column = _project_out(product, self.basis[: m + 1])
        column, length = column.to(self.projected), _length(product)
        if not (math.isfinite(length) and bool(torch.isfinite(column).all())):
            self.finite = False
            return
        self.projected[: m + 1, m] = column
        self.projected[m, : m + 1] = column
        self.scale = max(self.scale, length)
        self.asymmetry = max(self.asymmetry, float(torch.linalg.vector_norm(column[:m] - expected)))
        self.size = m + 1
        if self.complete:  # what is left is rounding
            self.frontier, self.couplings = self.frontier[:0], self.couplings[:0]
            return
        rest, shares = _project_out(rest, self.frontier)
        shares[shares.abs() <= self.rounding] = 0.0
        self.couplings[:, m] = shares.to(self.couplings)
        length = _length(rest)
        if length > self.rounding:
            self.frontier = torch.cat([self.frontier, rest[None] / length])
            row = torch.zeros(1, self.capacity, dtype=torch.float64)
            row[0, m] = length
            self.couplings = torch.cat([self.couplings, row])

    def _set_frontier(self, vectors: Tensor, couplings: Tensor) -> None:
        """Orthonormalises the rows of a frontier, dropping what is linearly dependent."""
        if len(vectors) == 0:
            return
        left, lengths, rows = torch.linalg.svd(vectors, full_matrices=False)
        real = lengths > 1e3 * self.epsilon * max(float(lengths[0]), 1.0)
        self.frontier = rows[real]
        self.couplings = (left * lengths).mT[real].to(couplings) @ couplings


def _length(vector: Tensor) -> float:
    """Norm, in float64: squares of float32 overflow from 2e19 on, where a diverging network's Hessian may well be."""
    return float(torch.linalg.vector_norm(vector, dtype=torch.float64))


def _project_out(vector: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Removes the span of orthonormal rows, twice ("twice is enough"), and returns the coefficients removed."""
    first = rows @ vector
    vector = vector - first @ rows
    second = rows @ vector
    return vector - second @ rows, first + second


def _orthogonalised(vector: Tensor, rows: Tensor) -> tuple[Tensor, float]:
    """Unit vector along the part of `vector` orthogonal to the rows, and that part's length; zeros if there is none."""
    original = float(torch.linalg.vector_norm(vector))
    for _ in range(2):  # the second round cleans what the normalisation of a small remainder has blown up
        vector, _ = _project_out(vector, rows)
        length = float(torch.linalg.vector_norm(vector))
        if not length > 1e3 * torch.finfo(vector.dtype).eps * original:
            return torch.zeros_like(vector), 0.0
        vector = vector / length
        original = 1.0
    return vector, length


def _orthogonal_with_first_row(direction: Tensor) -> Tensor:
    """Householder reflection (b, b) whose first row is along `direction` (b,)."""
    unit = direction / torch.linalg.vector_norm(direction)
    mirror = unit.clone()
    mirror[0] += 1.0 if float(unit[0]) >= 0 else -1.0  # no cancellation
    mirror = mirror / torch.linalg.vector_norm(mirror)
    return torch.eye(len(unit), dtype=unit.dtype) - 2.0 * mirror[:, None] * mirror

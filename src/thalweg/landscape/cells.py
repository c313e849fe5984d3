"""Losses and metrics at many points θ + Σ_k c_k d_k: one forward pass serves all that are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.curvature import eigenpairs, hessian_operator
from thalweg.errors import InputError, nearest
from thalweg.landscape.affine import AffineStack
from thalweg.landscape.directions import Directions
from thalweg.landscape.scores import scores
from thalweg.objective import Objective
from thalweg.objective.derivatives import VALUE

__all__ = ["Cells", "known_metrics"]

CURVATURE = ("lambda_max", "lambda_max_residual")

DENSE = 300
"""Up to this many parameters λmax comes from the whole Hessian, above from a Lanczos search."""


def known_metrics(objective: Objective) -> tuple[str, ...]:
    """Names that can be asked for: "loss", "objective", those of the objective, "gradient_norm" and "lambda_max"."""
    return ("loss", "objective", *objective.metric_functions, "gradient_norm", "lambda_max")


@dataclass(frozen=True, eq=False)
class Cells:
    """What a picture shows of one objective around one θ.

    Args:
        objective: The loss.
        theta: (P,).
        directions: K of them.
        metrics: Names out of :func:`known_metrics`.
        fast: Use what the structure of the model offers; False evaluates every point by itself.

    Raises:
        InputError: Sizes that do not fit, or an unknown metric.
    """

    objective: Objective
    theta: Tensor
    directions: Directions
    metrics: tuple[str, ...]
    fast: bool = True

    def __post_init__(self) -> None:
        size = self.objective.size
        self.objective.layout.check(self.theta)
        if self.theta.dim() != 1:
            raise InputError(f"theta must be one vector of shape ({size},), found {tuple(self.theta.shape)}")
        if self.directions.size != size:
            raise InputError(f"directions must have length {size} like theta, found {self.directions.size}")
        known = known_metrics(self.objective)
        if not self.metrics:
            raise InputError("metrics must name at least one quantity, found none")
        for name in self.metrics:
            if name not in known:
                raise InputError(f"metrics must be among {', '.join(known)}, found '{name}'{nearest(name, known)}")

    @property
    def names(self) -> tuple[str, ...]:
        """What comes back: the metrics, and the residual of λmax where that is one of them."""
        return self.metrics + (CURVATURE[1:] if CURVATURE[0] in self.metrics else ())

    @property
    def together(self) -> int:
        """Number of cells in one call: the same for every call, so that a repeated one gives the same bits."""
        if self._affine is not None:
            return self._affine.together
        # A batch of different convolution kernels is slower on a CPU than one after the other (grouped convolution), so
        # points share a call only while the overhead of a call is what counts.
        evaluation = self.objective.evaluation
        work = evaluation.pair_bytes * self.objective.samples
        small = work < 2**20 or self.theta.device.type != "cpu"
        return evaluation.plan(2**20, VALUE).replicas if small else 1

    def values(self, coordinates: np.ndarray) -> dict[str, np.ndarray]:
        """Evaluates at coordinates (B, K): name -> (B,) float64; NaN and infinities stay what they are."""
        points = torch.from_numpy(np.ascontiguousarray(coordinates, dtype=np.float64)).to(self.theta.device)
        out: dict[str, Tensor] = {}
        forward = [name for name in self.metrics if name not in ("objective", "gradient_norm", "lambda_max")]
        if forward or "objective" in self.metrics:
            asked = tuple(dict.fromkeys([*forward, "loss"] if "objective" in self.metrics else forward))
            out |= self._forward(points, asked)
        if "objective" in self.metrics:
            out["objective"] = out["loss"].double() + 0.5 * self.objective.l2 * self._squares(points)
        if "gradient_norm" in self.metrics:
            gradient = self.objective.gradient(self._thetas(points))
            out["gradient_norm"] = torch.linalg.vector_norm(gradient, dim=-1)
        if "lambda_max" in self.metrics:
            out |= dict(zip(CURVATURE, self._largest(self._thetas(points).double()), strict=True))
        return {name: out[name].detach().cpu().double().numpy() for name in self.names}

    def _thetas(self, coordinates: Tensor) -> Tensor:
        return self.directions.points(self.theta.to(self.objective.dtype), coordinates)

    def _forward(self, coordinates: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        if self._affine is not None:
            return self._affine.values(coordinates, names)
        thetas = self._thetas(coordinates)
        if self.objective.loss_on == "batch":
            found = self.objective.metrics(thetas)
            return {name: found[name] for name in names}
        return metrics_at(self.objective, thetas, names)

    @cached_property
    def _affine(self) -> AffineStack | None:
        usable = self.fast and AffineStack.accepts(self.objective)
        return AffineStack(self.objective, self.theta, self.directions) if usable else None

    def _squares(self, coordinates: Tensor) -> Tensor:
        """‖θ + Σ_k c_k d_k‖², (B,)."""
        theta, vectors = self.theta.double(), self.directions.vectors.to(self.theta.device).double()
        linear, square = 2 * vectors @ theta, vectors @ vectors.T
        return theta @ theta + coordinates @ linear + ((coordinates @ square) * coordinates).sum(-1)

    def _largest(self, thetas: Tensor) -> tuple[Tensor, Tensor]:
        """λmax of the Hessian at θ (B, P) and its residual, in float64: from the whole matrix where it is small."""
        if self.objective.size <= DENSE:
            matrix = self._precise.hessian(thetas)
            finite = matrix.isfinite().all(-1).all(-1)
            values = torch.linalg.eigvalsh(matrix.nan_to_num())
            rounding = torch.finfo(torch.float64).eps * torch.linalg.matrix_norm(matrix)
            return values[:, -1].masked_fill(~finite, torch.nan), rounding
        start = self._leading  # the eigenvector at the centre is a good guess around it
        found = [eigenpairs(hessian_operator(self._precise, theta), 1, check=False, start=start) for theta in thetas]
        return torch.cat([pairs.values for pairs in found]), torch.cat([pairs.residuals for pairs in found])

    @cached_property
    def _precise(self) -> Objective:
        return self.objective.double()

    @cached_property
    def _leading(self) -> Tensor | None:
        found = eigenpairs(hessian_operator(self._precise, self.theta.double()), 1, check=False)
        return None if found.status == "nonfinite" else found.vectors


def metrics_at(objective: Objective, thetas: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """The data loss ("loss") and metrics of an objective with a loss on outputs, from one forward pass.

    Args:
        objective: The loss.
        thetas: (B, P).
        names: "loss" or names of the objective's metrics.

    Returns:
        name -> (B,).
    """
    evaluation, program = objective.evaluation, objective.program
    cut = evaluation.plan(len(thetas), VALUE)
    rows: list[dict[str, Any]] = []
    with torch.no_grad():
        for part in thetas.split(cut.replicas):
            params = {**objective.layout.unravel(part), **evaluation.extra(part)}
            total = {name: torch.zeros(len(part), dtype=part.dtype, device=part.device) for name in names}
            for batch, count in objective.batches.chunks(cut.samples):
                output = program.outputs(params, batch)
                for name, value in scores(objective, names, output, batch[1]).items():
                    total[name] += (count / objective.samples) * value
            rows.append(total)
    return {name: torch.cat([row[name] for row in rows]) for name in names}

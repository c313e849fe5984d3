"""Measures at many points θ + Σ_k c_k d_k, by the fastest way that the model allows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from thalweg.errors import InputError
from thalweg.landscape.affine import AffineStack
from thalweg.landscape.directions import Directions
from thalweg.landscape.measures import columns, is_forward, measure
from thalweg.objective import Objective
from thalweg.objective.planning import VALUE

__all__ = ["Cells"]

SMALL = 2**20
"""Bytes of activations of one point below which the overhead of a call is what counts."""


@dataclass(frozen=True, eq=False)
class Cells:
    """What a picture shows of one objective around one θ.

    Args:
        objective: The loss.
        theta: (P,).
        directions: K of them.
        metrics: Names as :func:`thalweg.landscape.measures.measure` knows them.
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
        columns(self.objective, self.metrics)

    @property
    def names(self) -> tuple[str, ...]:
        """What comes back."""
        return columns(self.objective, self.metrics)

    @cached_property
    def together(self) -> int:
        """Number of points in one call: the same for every call, so that a repeated one gives the same bits."""
        evaluation = self.objective.evaluation
        share = max(1, self.objective.memory // (4 * self.objective.size * self.objective.dtype.itemsize))
        if self._affine is not None:
            return min(64, share)
        # On a CPU a batch of different convolution kernels is slower than one after the other (grouped convolution), so
        # points share a call only where they are small.
        small = evaluation.pair_bytes * self.objective.samples < SMALL or self.objective.device.type != "cpu"
        return min(64, share, evaluation.plan(64, VALUE).replicas) if small else 1

    def values(self, coordinates: np.ndarray) -> dict[str, np.ndarray]:
        """Evaluates at coordinates (B, K): name -> (B,) float64; NaN and infinities stay what they are."""
        points = torch.from_numpy(np.ascontiguousarray(coordinates, dtype=np.float64)).to(self.objective.device)
        out: dict[str, Tensor] = {}
        left = self.metrics
        if self._affine is not None:
            forward = [name for name in self.metrics if is_forward(name)]
            asked = [*forward, *(["loss"] if "objective" in self.metrics and "loss" not in forward else [])]
            out = self._affine.values(points, asked) if asked else {}
            left = tuple(name for name in self.metrics if not is_forward(name))
        if left:
            thetas = self.directions.points(self.theta.to(self.objective.dtype), points)
            out |= measure(self.objective, thetas, left, loss=out.get("loss"))
        return {name: out[name].cpu().double().numpy() for name in self.names}

    @cached_property
    def _affine(self) -> AffineStack | None:
        usable = self.fast and AffineStack.accepts(self.objective)
        return AffineStack(self.objective, self.theta, self.directions) if usable else None

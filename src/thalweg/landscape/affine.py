"""Stacks of linear layers in a plane of parameters: the first layer is computed once for the whole picture.

In z₁ = W₁x + b₁ the weights enter linearly. At θ + Σ_k c_k d_k it is therefore affine in the coordinates,

    z₁ = (W₁x + b₁) + Σ_k c_k (D_k x + e_k),

with D_k, e_k the parts of d_k that belong to W₁, b₁: K + 1 products with the data serve every point of the picture, and
each point costs the layers that follow. No copy of the model is made. Samples are cut so that what one point touches
stays in the cache, and networks too small to fill it are evaluated several points at once, as batched products.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from thalweg.landscape.directions import Directions
from thalweg.landscape.scores import scores
from thalweg.objective import Objective
from thalweg.objective.activations import Activation

__all__ = ["AffineStack"]

WORKING_SET = 2**20
"""Bytes that one layer's inputs and outputs may take on a CPU: the second-level cache of one core."""

IN_PLACE = {"relu": torch.relu_, "tanh": torch.tanh_, "sigmoid": torch.sigmoid_}


class AffineStack:
    """A stack of linear layers in a plane (or on a line, or in a volume) through one θ.

    Args:
        objective: One that is accepted.
        theta: (P,).
        directions: K of them.
    """

    def __init__(self, objective: Objective, theta: Tensor, directions: Directions) -> None:
        stack, layout, dtype = objective.stack, objective.layout, objective.dtype
        if stack is None:
            raise TypeError("AffineStack needs an objective whose model is a stack of linear layers")
        self.objective, self.activations, self.flatten = objective, stack.activations, stack.flatten
        fixed = objective.program.fixed
        centre = {**fixed, **layout.unravel(theta.to(dtype))}
        moves = layout.unravel(directions.vectors.to(theta.device, dtype))
        self.count = len(directions.vectors)

        def pencil(name: str) -> Tensor:
            """(K + 1, *shape): the parameter at θ, then along each direction; zero where it is no part of θ."""
            still = centre[name].expand(self.count, *centre[name].shape) * 0
            return torch.cat([centre[name][None], moves.get(name, still)])

        self.weights = [pencil(name) for name in stack.weights]
        self.biases = [None if name is None else pencil(name) for name in stack.biases]
        self.widths = [weight.shape[1] for weight in self.weights]
        size = theta.element_size() if dtype == theta.dtype else torch.finfo(dtype).bits // 8
        widest = max(a + b for a, b in zip([0, *self.widths], self.widths, strict=False))
        self.room = (WORKING_SET if theta.device.type == "cpu" else objective.memory // 8) // (size * widest)
        self.samples = max(32, min(objective.samples, self.room))
        self.together = 64
        self._kept: list[Tensor] = []  # first layer on every piece of the data
        self.keep = (self.count + 1) * self.widths[0] * objective.samples * size <= objective.memory // 2

    @staticmethod
    def accepts(objective: Objective) -> bool:
        """Whether the model is a stack and every batch fits it."""
        stack, batches = objective.stack, objective.batches
        return stack is not None and batches.loader is None and all(stack.accepts(b[0], 1) for b in batches.held)

    def values(self, coordinates: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        """Losses and metrics at coordinates (B, K): name -> (B,)."""
        batches, total = self.objective.batches, self.objective.samples
        out = {name: coordinates.new_zeros(len(coordinates), dtype=self.weights[0].dtype) for name in names}
        with torch.no_grad():
            coefficients = coordinates.to(self.weights[0].dtype)
            later = [
                (_at(weight, coefficients), None if bias is None else _at(bias, coefficients)[..., None])
                for weight, bias in zip(self.weights[1:], self.biases[1:], strict=True)
            ]
            for number, (batch, count) in enumerate(batches.chunks(self.samples)):
                output = self._outputs(self._first(number, batch[0]), coefficients, later)
                found = scores(self.objective, names, output, batch[1], samples_last=True)
                for name, value in found.items():
                    out[name] += (count / total) * value
        return out

    def _first(self, number: int, inputs: Tensor) -> Tensor:
        """(K + 1, O, n): the first layer on one piece of the data, at θ and along each direction."""
        if number < len(self._kept):
            return self._kept[number]
        x = (inputs.flatten(1) if self.flatten else inputs).mT
        weight, bias = self.weights[0], self.biases[0]
        found = torch.mm(weight.flatten(0, 1), x).view(*weight.shape[:2], -1)
        if bias is not None:
            found += bias[..., None]
        if self.keep:
            self._kept.append(found)
        return found

    def _outputs(self, first: Tensor, coefficients: Tensor, later: list[tuple[Tensor, Tensor | None]]) -> Tensor:
        """(B, C, n) at coefficients (B, K)."""
        points, samples = len(coefficients), first.shape[-1]
        # along a row of the picture all coordinates but one are the same: their part is added once
        same = (coefficients == coefficients[0]).all(0).tolist()
        base = first[0]
        for k in range(self.count):
            if same[k]:
                base = torch.add(base, first[k + 1], alpha=float(coefficients[0, k]))
        moving = [k for k in range(self.count) if not same[k]]
        steps = coefficients.tolist()
        group = max(1, self.room // samples)
        out = first.new_empty(points, self.widths[-1], samples)
        for start in range(0, points, group):
            stop = min(start + group, points)
            z = first.new_empty(stop - start, *base.shape)
            for row, step in zip(z, steps[start:stop], strict=True):
                torch.add(base, first[moving[0] + 1], alpha=step[moving[0]], out=row) if moving else row.copy_(base)
                for k in moving[1:]:
                    row.add_(first[k + 1], alpha=step[k])
            h = _activated(self.activations[0], z)
            for (weight, bias), phi in zip(later, self.activations[1:], strict=True):
                h = _activated(phi, _linear(h, weight[start:stop], None if bias is None else bias[start:stop]))
            out[start:stop] = h
        return out


def _at(pencil: Tensor, coefficients: Tensor) -> Tensor:
    """Parameters at every point: (K + 1, *shape) and (B, K) -> (B, *shape)."""
    moved = coefficients @ pencil[1:].flatten(1)
    return pencil[0] + moved.view(len(coefficients), *pencil.shape[1:])


def _activated(phi: Activation, z: Tensor) -> Tensor:
    return IN_PLACE.get(phi.name, phi.value)(z)


def _linear(h: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(B, I, n) through (B, O, I) -> (B, O, n)."""
    if len(h) == 1:  # a plain product is faster than a batch of one
        h, weight = h[0], weight[0]
        return (torch.mm(weight, h) if bias is None else torch.addmm(bias[0], weight, h))[None]
    return torch.bmm(weight, h) if bias is None else torch.baddbmm(bias, weight, h)

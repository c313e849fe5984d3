"""Stacks of linear layers in a plane of parameters: the first layer is computed once for the whole picture.

In z₁ = W₁x + b₁ the weights enter linearly. At θ + Σ_k c_k d_k it is therefore affine in the coordinates,

    z₁ = (W₁x + b₁) + Σ_k c_k (D_k x + e_k),

with D_k, e_k the parts of d_k that belong to W₁, b₁: K + 1 products with the data serve every point of the picture, and
each point costs the layers that follow. No copy of the model is made. Samples are cut so that what one point touches
stays in the cache, and networks too small to fill it are evaluated several points at once, as batched products.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from thalweg.landscape.directions import Directions
from thalweg.landscape.scores import scores
from thalweg.objective import Objective
from thalweg.objective.activations import Activation

__all__ = ["AffineStack"]

WORKING_SET = 2**21
"""Bytes that a layer's inputs and outputs may take on a CPU: measured, between the second and third level of cache."""

SCORED = 2**18
"""Bytes of outputs that are scored at once: many small points share the overhead of a loss, and stay in the cache."""

IN_PLACE = {"relu": torch.relu_, "tanh": torch.tanh_, "sigmoid": torch.sigmoid_}


class AffineStack:
    """A stack of linear layers on a line, in a plane or in a volume through one θ.

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
        centre = {**objective.program.fixed, **layout.unravel(theta.to(dtype))}
        moves = layout.unravel(directions.vectors.to(theta.device, dtype))
        count = len(directions.vectors)

        def pencil(name: str) -> Tensor:
            """(K + 1, *shape): the parameter at θ, then along each direction; zero where it is no part of θ."""
            still = torch.zeros_like(centre[name]).expand(count, *centre[name].shape)
            return torch.cat([centre[name][None], moves.get(name, still)])

        self.weights = [pencil(name) for name in stack.weights]
        self.biases = [None if name is None else pencil(name) for name in stack.biases]
        self.widths = [weight.shape[1] for weight in self.weights]
        size = self.weights[0].element_size()
        widest = max(a + b for a, b in zip([0, *self.widths], self.widths, strict=False))
        cache = WORKING_SET if theta.device.type == "cpu" else objective.memory // 8
        room = max(1, cache // (size * widest))  # samples, of one point or of several
        self.samples = min(objective.samples, max(32, room))
        self.group = max(1, room // self.samples)  # points in one batched product
        scored = (cache * SCORED // WORKING_SET) // (size * self.widths[-1] * self.samples)
        self.scored = self.group * max(1, scored // self.group)  # points whose outputs are scored together
        self.keep = (count + 1) * self.widths[0] * objective.samples * size <= objective.memory // 2
        self._kept: list[Tensor] = []  # the first layer on every piece of the data

    @staticmethod
    def accepts(objective: Objective) -> bool:
        """Whether the model is a stack and every batch is held here and fits it."""
        stack, batches = objective.stack, objective.batches
        here = batches.loader is None and not batches.sharded
        return stack is not None and here and all(stack.accepts(batch[0], 1) for batch in batches.held)

    def values(self, coordinates: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        """Losses and metrics at coordinates (B, K): name -> (B,)."""
        objective, dtype = self.objective, self.weights[0].dtype
        out = {name: coordinates.new_zeros(len(coordinates), dtype=dtype) for name in names}
        with torch.no_grad():
            later = [
                (self._grouped(points(weight, coordinates)), None if bias is None else points(bias, coordinates))
                for weight, bias in zip(self.weights[1:], self.biases[1:], strict=True)
            ]
            layers = [(w, [None] * len(w) if b is None else self._grouped(b[..., None])) for w, b in later]
            for number, (batch, count) in enumerate(objective.batches.chunks(self.samples)):
                for cells, output in self._outputs(self._first(number, batch[0]), coordinates, layers):
                    found = scores(objective, names, output, batch[1], samples_last=True)
                    for name, value in found.items():
                        out[name][cells] += (count / objective.batches.samples) * value
        return out

    def _grouped(self, points: Tensor) -> tuple[Tensor, ...]:
        """Cuts (B, …) into the groups that are evaluated together; a group of one has no axis of its own."""
        return points.unbind(0) if self.group == 1 else points.split(self.group)

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

    def _outputs(
        self, first: Tensor, coordinates: Tensor, layers: Sequence[tuple[Sequence[Tensor], Sequence[Tensor | None]]]
    ) -> Iterator[tuple[slice, Tensor]]:
        """Yields points and their outputs (b, C, n), which the next ones overwrite.

        Args:
            first: The first layer on one piece of the data, (K + 1, O, n).
            coordinates: (B, K).
            layers: Weights and biases of every other layer, group by group.
        """
        samples = first.shape[-1]
        hidden = [first.new_empty(self.group, width, samples) for width in self.widths[:-1]]
        out = first.new_empty(self.scored, self.widths[-1], samples)
        base, moving = _base(first, coordinates)
        steps = coordinates.tolist()
        for start in range(0, len(steps), self.scored):
            whole = out[: len(steps) - start]
            for number, low in enumerate(range(start, start + len(whole), self.group), start // self.group):
                last = self._grouped(whole)[number - start // self.group]
                rooms = [room[0] if self.group == 1 else room[: len(last)] for room in hidden] + [last]
                rows = rooms[:1] if self.group == 1 else rooms[0].unbind(0)
                _along(base, first, moving, steps[low : low + self.group], rows)
                h = _activated(self.activations[0], rooms[0])
                for (weights, biases), phi, room in zip(layers, self.activations[1:], rooms[1:], strict=True):
                    h = _activated(phi, _linear(h, weights[number], biases[number], room))
                if h is not last:  # an activation that is not computed in place
                    last.copy_(h)
            yield slice(start, start + len(whole)), whole


def points(pencil: Tensor, coordinates: Tensor) -> Tensor:
    """A parameter at every point: (K + 1, *shape) and (B, K) -> (B, *shape)."""
    base, moving = _base(pencil, coordinates)
    out = pencil.new_empty(len(coordinates), *pencil.shape[1:])
    _along(base, pencil, moving, coordinates.tolist(), out.unbind(0))
    return out


def _base(pencil: Tensor, coordinates: Tensor) -> tuple[Tensor, list[int]]:
    """What all points share, and the numbers of the coordinates that differ: one only, along a row of a picture."""
    same = (coordinates == coordinates[0]).all(0).tolist()
    base = pencil[0]
    for k, step in enumerate(coordinates[0].tolist()):
        if same[k] and step:
            base = torch.add(base, pencil[k + 1], alpha=step)
    return base, [k for k, one in enumerate(same) if not one]


def _along(
    base: Tensor, pencil: Tensor, moving: list[int], steps: Sequence[Sequence[float]], rows: Sequence[Tensor]
) -> None:
    """Writes base + Σ_k c_k pencil_k over the moving coordinates of every point into its row."""
    for row, step in zip(rows, steps, strict=True):
        if moving:
            torch.add(base, pencil[moving[0] + 1], alpha=step[moving[0]], out=row)
        else:
            row.copy_(base)
        for k in moving[1:]:
            row.add_(pencil[k + 1], alpha=step[k])


def _activated(phi: Activation, z: Tensor) -> Tensor:
    return IN_PLACE.get(phi.name, phi.value)(z)


def _linear(h: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor) -> Tensor:
    """(I, n) through (O, I) into `out` (O, n), or a batch of them."""
    if bias is None:
        return torch.matmul(weight, h, out=out)
    return torch.addmm(bias, weight, h, out=out) if h.dim() == 2 else torch.baddbmm(bias, weight, h, out=out)

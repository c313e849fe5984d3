"""Blocks of a curvature matrix of linear layers, summed over samples as matrix products and written to their places."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["BlockSums", "StackLayer", "mirror", "outer"]

TILE = 512  # rows of the tiles in which a triangle is mirrored

UNPACKED = 2**26  # bytes of a symmetric block that are unpacked at once


@dataclass(frozen=True)
class StackLayer:
    """One layer whose parameters belong to the matrix: index in the stack, widths, and places in the matrix."""

    index: int
    outputs: int
    inputs: int
    weight: slice | None
    bias: slice | None

    @property
    def columns(self) -> int:
        """Width of the input with the constant 1 of the bias."""
        return (self.inputs if self.weight is not None else 0) + (self.bias is not None)

    def augment(self, a: Tensor) -> Tensor:
        """Inputs (…, I, n) with the constant 1 where the layer has a bias in the matrix."""
        parts = [] if self.weight is None else [a]
        if self.bias is not None:
            parts.append(a.new_ones(1).expand(*a.shape[:-2], 1, a.shape[-1]))
        return torch.cat(parts, dim=-2) if len(parts) > 1 else parts[0]

    def parts(self) -> Iterator[tuple[slice, slice, int]]:
        """Yields (place in the matrix, columns of the augmented input, their number) of the weight and of the bias."""
        if self.weight is not None:
            yield self.weight, slice(0, self.inputs), self.inputs
        if self.bias is not None:
            yield self.bias, slice(self.columns - 1, self.columns), 1


class BlockSums:
    """Sums over samples of every block (l ≤ m), each in the layout in which it is one matrix product.

    Args:
        layers: The layers in the matrix.
        replicas: R.
        like: A tensor with the device of the results.
    """

    def __init__(self, layers: list[StackLayer], replicas: int, like: Tensor) -> None:
        self.layers, self.replicas = layers, replicas
        self.gradients: dict[Any, Tensor] = {}
        self.first: dict[Any, Tensor] = {}  # (R, o·p, i·j); for l = m upper triangles of both
        self.second: dict[Any, Tensor] = {}  # (R, j·o, i·p), or (R, i, o·p) for m = l + 1
        widths = {width for layer in layers for width in (layer.outputs, layer.columns)}
        self.triangles = {width: _triangle(width, like.device) for width in widths}

    def add_gradient(self, layer: StackLayer, delta: Tensor, a: Tensor) -> None:
        """Σ_n δ aᵀ: (R, o, i)."""
        _add(self.gradients, layer.index, delta, a)

    def add_first(self, a: StackLayer, b: StackLayer, mixed: Tensor, augmented: dict[int, Tensor]) -> None:
        """Σ_n M_lm[o, p] a_{l-1}[i] a_{m-1}[j]."""
        left, right = augmented[a.index], augmented[b.index]
        if a is b:
            triangle = self.triangles[a.columns]
            pairs = left.index_select(-2, triangle.rows).mul_(left.index_select(-2, triangle.columns))
            mixed = mixed.index_select(-2, self.triangles[a.outputs].flat)
        else:
            pairs = outer(left, right)
        _add(self.first, (a.index, b.index), mixed, pairs)

    def add_second(
        self, a: StackLayer, b: StackLayer, left: Tensor, delta: Tensor, slope: Tensor, through: Tensor | None
    ) -> None:
        """Σ_n δ_m[p] S_lm[o, j] a_{l-1}[i]; with S_lm = diag(slope), for m = l + 1, only j = o is left."""
        if through is None:
            _add(self.second, (a.index, b.index), left, outer(slope, delta))
        else:
            _add(self.second, (a.index, b.index), through, outer(left, delta))

    def write(self, gradient: Tensor, matrix: Tensor) -> None:
        """Moves the sums to their places in gradient (R, p) and matrix (R, p, p), and forgets them.

        The lower triangle comes first: until the sums are forgotten, nothing has touched the memory of the upper one.
        """
        for a in self.layers:
            for here, columns, _ in a.parts():
                gradient[:, here] = self.gradients[a.index][:, :, columns].flatten(1)
        for place, a in enumerate(self.layers):
            for b in self.layers[place + 1 :]:
                self._write_block(a, b, matrix)
        for a in self.layers:
            self._write_diagonal(a, matrix)
        mirror(matrix)

    def _write_block(self, a: StackLayer, b: StackLayer, matrix: Tensor) -> None:
        block = self._block(a, b)
        for here, rows, i in a.parts():
            for there, columns, j in b.parts():
                piece = block[:, :, rows, :, columns]  # (R, o, i, p, j)
                if here.start > there.start:
                    view = matrix[:, here, there].unflatten(2, (b.outputs, j)).unflatten(1, (a.outputs, i))
                else:
                    view = matrix[:, there, here].unflatten(2, (a.outputs, i)).unflatten(1, (b.outputs, j))
                    piece = piece.permute(0, 3, 4, 1, 2)
                view.copy_(piece)

    def distance(self, other: BlockSums) -> Tensor:
        """Frobenius norm of the difference to the matrix of other sums over the same layers, (R,)."""
        squares: list[Tensor] = []
        for place, a in enumerate(self.layers):
            own, its = self.first[a.index, a.index], other.first[a.index, a.index]
            units, inputs = self.triangles[a.outputs], self.triangles[a.columns]
            twice = 2.0 - (inputs.rows == inputs.columns).to(own.dtype)  # an entry off the diagonal stands for two
            for k, (o, p) in enumerate(zip(units.rows.tolist(), units.columns.tolist(), strict=True)):
                squares.append((1 + (o != p)) * ((own[:, k] - its[:, k]).square_() @ twice))
            for b in self.layers[place + 1 :]:
                pairs = zip(self._joined(a, b).unbind(1), other._joined(a, b).unbind(1), strict=True)
                squares += [2 * (left - right).square_().flatten(1).sum(1) for left, right in pairs]
        return torch.stack(squares).sum(0).sqrt()

    def _write_diagonal(self, a: StackLayer, matrix: Tensor) -> None:
        packed = self.first.pop((a.index, a.index))  # (R, pairs of o ≤ p, pairs of i ≤ j)
        units, inputs = self.triangles[a.outputs].inverse, self.triangles[a.columns].inverse
        row = packed.element_size() * self.replicas * a.outputs * a.columns**2
        group = max(1, UNPACKED // row)
        for start in range(0, a.outputs, group):
            chosen = slice(start, min(start + group, a.outputs))
            block = packed.index_select(1, units[chosen].flatten()).index_select(2, inputs.flatten())
            block = block.view(self.replicas, -1, a.outputs, a.columns, a.columns).permute(0, 1, 3, 2, 4)
            for here, rows, i in a.parts():
                for there, columns, j in a.parts():
                    if here.start < there.start:
                        continue
                    end = chosen.stop if here == there else a.outputs  # what lies above the diagonal is mirrored
                    view = matrix[:, here, there].unflatten(2, (a.outputs, j)).unflatten(1, (a.outputs, i))
                    view[:, chosen, :, :end] = block[:, :, rows, :end, columns]

    def _block(self, a: StackLayer, b: StackLayer) -> Tensor:
        """Takes a block l < m: (R, o, i, p, j)."""
        joined = self._joined(a, b)
        del self.first[a.index, b.index]
        return joined.permute(0, 1, 3, 2, 4)

    def _joined(self, a: StackLayer, b: StackLayer) -> Tensor:
        """Joins both terms of a block l < m, where they are: (R, o, p, i, j)."""
        first = self.first[a.index, b.index].view(self.replicas, a.outputs, b.outputs, a.columns, b.columns)
        second = self.second.pop((a.index, b.index), None)
        if second is not None and b.index == a.index + 1:
            second = second.view(self.replicas, a.columns, a.outputs, b.outputs)
            first[..., : b.inputs].diagonal(dim1=1, dim2=4).add_(second.permute(0, 3, 1, 2))
        elif second is not None:
            second = second.view(self.replicas, b.inputs, a.outputs, a.columns, b.outputs)
            first[..., : b.inputs].add_(second.permute(0, 2, 4, 3, 1))
        return first


def mirror(matrix: Tensor) -> None:
    """Copies the lower triangles of matrices (…, p, p) to their upper ones, in place."""
    size = matrix.shape[-1]
    for start in range(0, size, TILE):
        rows = slice(start, start + TILE)
        corner = matrix[..., rows, rows]
        corner.copy_(corner.tril() + corner.tril(-1).mT)
        for other in range(0, start, TILE):
            columns = slice(other, other + TILE)
            matrix[..., columns, rows] = matrix[..., rows, columns].mT


@dataclass(frozen=True)
class _Triangle:
    """Upper triangle of a symmetric (w, w): its rows, columns, flat places, and where each of the w·w finds its own."""

    rows: Tensor
    columns: Tensor
    flat: Tensor
    inverse: Tensor


def _triangle(width: int, device: torch.device) -> _Triangle:
    rows, columns = torch.triu_indices(width, width, device=device)
    inverse = torch.empty(width, width, dtype=torch.int64, device=device)
    number = torch.arange(len(rows), device=device)
    inverse[rows, columns] = number
    inverse[columns, rows] = number
    return _Triangle(rows, columns, rows * width + columns, inverse)


def outer(left: Tensor, right: Tensor) -> Tensor:
    """(…, i, n) and (…, j, n) -> (…, i·j, n); a factor that all replicas share has no axis R."""
    return (left.unsqueeze(-2) * right.unsqueeze(-3)).flatten(-3, -2)


def _add(sums: dict[Any, Tensor], key: Any, left: Tensor, right: Tensor) -> None:
    """sums[key] += left rightᵀ over samples: (R, a, n), (R, b, n) -> (R, a, b); either may be shared, without R."""
    replicas = max(left.shape[0] if left.dim() == 3 else 1, right.shape[0] if right.dim() == 3 else 1)
    if right.dim() == 2:  # one product for all replicas
        rows = left.reshape(-1, left.shape[-1])
        if key in sums:
            sums[key].view(len(rows), -1).addmm_(rows, right.mT)
        else:
            sums[key] = torch.mm(rows, right.mT).view(replicas, -1, right.shape[0])
        return
    left = left if left.dim() == 3 else left.expand(replicas, *left.shape)
    if key in sums:
        sums[key].baddbmm_(left, right.mT)
    else:
        sums[key] = torch.bmm(left, right.mT)

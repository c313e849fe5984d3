"""Continuous symmetries of a network: directions along which the loss is constant whatever the data.

Along the orbit of a symmetry the loss does not change, so the Hessian is singular at every critical point there, and a
search drifts along it. The tangent of the orbit is projected out of every step, and its dimension is counted apart from
the undecided eigenvalues. Permutations of units are discrete and need nothing.

Between two consecutive linear layers W₂ φ(W₁ x + b₁), with generator X: δ(W₁, b₁) = X (W₁, b₁), δW₂ = −W₂ X.
- φ the identity: any X (GL(k); Baldi & Hornik 1989); with weight decay only antisymmetric X (O(k)).
- φ positively homogeneous (ReLU, leaky ReLU): diagonal X (Dinh et al. 2017); none with weight decay.
Softmax with cross-entropy: adding the same row to all rows of the last layer; none with weight decay.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg._short import short
from thalweg.objective import Objective, ParameterLayout

__all__ = ["Symmetry", "symmetry_of"]

HOMOGENEOUS = ("relu", "leaky_relu")


@dataclass(frozen=True)
class _Pair:
    """Two consecutive layers and the generators that act between them."""

    first: str
    bias: str | None
    second: str
    generators: Tensor  # (G, k, k)
    balances: bool  # whether any X is allowed, so that the orbit has a balanced representative


@short
@dataclass(frozen=True)
class Symmetry:
    """The continuous symmetries of one objective.

    Attributes:
        names: What they are, for reports.
    """

    names: tuple[str, ...]
    _layout: ParameterLayout
    _pairs: tuple[_Pair, ...]
    _shift: tuple[str, str | None] | None

    def tangents(self, theta: Tensor) -> Tensor:
        """Vectors that span the orbit's tangent: θ (R, P) -> (R, P, G), not orthogonal, possibly dependent."""
        parts = self._layout.unravel(theta)
        columns = []
        for pair in self._pairs:
            generators = pair.generators.to(theta)
            moved = {pair.first: torch.einsum("gij,rjk->grik", generators, parts[pair.first])}
            if pair.bias is not None:
                moved[pair.bias] = torch.einsum("gij,rj->gri", generators, parts[pair.bias])
            moved[pair.second] = -torch.einsum("rij,gjk->grik", parts[pair.second], generators)
            columns.append(self._embedded(moved, len(generators), len(theta), theta))
        if self._shift is not None:
            weight, bias = self._shift
            outputs, inputs = self._layout.unravel(theta[0])[weight].shape
            ones = torch.eye(inputs).to(theta)[:, None, :].expand(inputs, outputs, inputs)
            columns.append(
                self._embedded({weight: ones[:, None].expand(-1, len(theta), -1, -1)}, inputs, len(theta), theta)
            )
            if bias is not None:
                columns.append(self._embedded({bias: theta.new_ones(1, len(theta), outputs)}, 1, len(theta), theta))
        return torch.cat(columns, dim=-1)

    def _embedded(self, moved: dict[str, Tensor], generators: int, replicas: int, like: Tensor) -> Tensor:
        out = like.new_zeros(replicas, self._layout.size, generators)
        for name, value in moved.items():
            out[:, self._layout.slices[name]] = value.flatten(2).permute(1, 2, 0)
        return out

    @property
    def balances(self) -> bool:
        """Whether an orbit is noncompact with a balanced point on it: `rebalanced` then changes θ."""
        return any(pair.balances for pair in self._pairs)

    def projector(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """The orthogonal projector on the orbit's tangent and its rank: θ (R, P) -> (R, P, P), (R,)."""
        basis, sizes, _ = torch.linalg.svd(self.tangents(theta).nan_to_num(0, 0, 0), full_matrices=False)
        kept = sizes > 1e-9 * sizes[:, :1]
        basis = basis * kept[:, None, :]
        return basis @ basis.mT, kept.sum(1)

    def rebalanced(self, theta: Tensor) -> Tensor:
        """The point of the orbit at which consecutive linear layers have equal Gram matrices; the loss is the same.

        A compact representative: along a noncompact orbit ‖θ‖ drifts and every relative tolerance loses its meaning.
        W₂ W₁ = U S Vᵀ becomes (U √S)(√S Vᵀ), with the bias carried along.
        """
        finite = theta.isfinite().all(1)
        parts = {name: value.clone() for name, value in self._layout.unravel(theta).items()}
        for pair in (pair for pair in self._pairs if pair.balances):
            first, second = parts[pair.first], parts[pair.second]
            if pair.bias is not None:
                first = torch.cat([first, parts[pair.bias][..., None]], -1)
            width = first.shape[-2]
            if min(second.shape[-2], first.shape[-1]) < width:
                continue  # the product has lower rank than the layer has units: no unique representative
            whole = second @ first
            finite &= whole.isfinite().flatten(1).all(1)  # a product of finite weights may overflow
            left, sizes, right = torch.linalg.svd(whole.nan_to_num(0, 0, 0), full_matrices=False)
            root = sizes[..., :width].sqrt()
            parts[pair.second] = left[..., :width] * root[..., None, :]
            first = root[..., :, None] * right[..., :width, :]
            parts[pair.first] = first[..., : parts[pair.first].shape[-1]]
            if pair.bias is not None:
                parts[pair.bias] = first[..., -1]
        return torch.where(finite[:, None], self._layout.ravel(parts), theta)


def symmetry_of(objective: Objective) -> Symmetry | None:
    """Finds the continuous symmetries of a stack of linear layers; None if there are none or it is no stack.

    Example:
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(2, 3, bias=False))
        >>> x = torch.randn(5, 3)
        >>> symmetry_of(Objective(model, nn.MSELoss(), (x, x))).names
        ('GL(2) between 0.weight and 1.weight',)
    """
    stack, layout, decays = objective.stack, objective.layout, objective.l2 > 0
    if stack is None:
        return None
    names, pairs = [], []
    for l in range(len(stack.weights) - 1):
        first, bias, second = stack.weights[l], stack.biases[l], stack.weights[l + 1]
        if any(name is not None and name not in layout.slices for name in (first, bias, second)):
            continue
        units = layout.shapes[layout.names.index(first)][0]
        kind = stack.activations[l].name
        generators = _generators(units, kind, decays)
        if len(generators):
            group = {"identity": f"{'O' if decays else 'GL'}({units})"}.get(kind, f"rescaling of {units} units")
            names.append(f"{group} between {first} and {second}")
            pairs.append(_Pair(first, bias, second, generators, kind == "identity" and not decays))
    shift = None
    last = stack.weights[-1], stack.biases[-1]
    ends = objective.loss_kind == "cross_entropy" and stack.activations[-1].name == "identity" and not decays
    if ends and all(name is None or name in layout.slices for name in last):
        shift = last
        names.append("shift of all logits")
    if not names:
        return None
    return Symmetry(tuple(names), layout, tuple(pairs), shift)


def _generators(units: int, kind: str, decays: bool) -> Tensor:
    eye = torch.eye(units, dtype=torch.float64)
    if kind == "identity" and not decays:
        return torch.einsum("ia,jb->ijab", eye, eye).reshape(-1, units, units)
    if kind == "identity":
        i, j = torch.triu_indices(units, units, 1)
        upper = torch.einsum("ga,gb->gab", eye[i], eye[j])
        return upper - upper.mT
    if kind in HOMOGENEOUS and not decays:
        return torch.einsum("ga,gb->gab", eye, eye)
    return eye.new_zeros(0, units, units)

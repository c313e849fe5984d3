"""Exact Hessian-vector products of a stack of linear layers by the R-operator, without autograd.

R is the derivative along v (Pearlmutter 1994, "Fast exact multiplication by the Hessian"). With z_l = W_l a_{l-1} +
b_l, a_l = φ_l(z_l), u_l = ∂L/∂a_l, δ_l = u_l φ'_l and V_l, c_l the parts of v that belong to W_l, b_l:

    R z_l = V_l a_{l-1} + W_l R a_{l-1} + c_l,            R a_l = φ'_l R z_l,
    R δ_l = φ'_l R u_l + u_l φ''_l R z_l,                 R u_{l-1} = W_lᵀ R δ_l + V_lᵀ δ_l,
    (Hv)_{W_l} = R δ_l a_{l-1}ᵀ + δ_l R a_{l-1}ᵀ,         (Hv)_{b_l} = Σ_n R δ_l.

What does not depend on v is computed once. Samples are the last axis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from thalweg.objective.batches import Batch
from thalweg.objective.program import Program

__all__ = ["PIECEWISE_LINEAR", "StackProduct"]

PIECEWISE_LINEAR = ("identity", "relu", "leaky_relu")  # φ'' = 0


class StackProduct:
    """Products with the Hessian of a mean squared error or cross-entropy of a stack, on one batch at R parameter sets.

    Args:
        program: One that `has_products` on the batch.
        params: name -> (R, *shape), or shape for parameters outside theta.
        batch: Inputs (n, …) and targets: (n, C), or class numbers (n,).
        weight: Weight of this batch's mean in the loss.
    """

    def __init__(self, program: Program, params: Mapping[str, Tensor], batch: Batch, weight: float) -> None:
        if program.stack is None:
            raise TypeError("StackProduct needs a program whose model is a stack of linear layers")
        self.stack = stack = program.stack
        x, target = batch
        self.weights = [params[name] for name in stack.weights]
        self.inputs = [(x.flatten(1) if stack.flatten else x).mT.contiguous()]  # (I, n), then (R, o, n)
        self.slopes: list[Tensor | None] = []  # φ', None for the identity
        bends: list[Tensor | None] = []
        for matrix, bias, phi in zip(self.weights, stack.biases, stack.activations, strict=True):
            z = torch.matmul(matrix, self.inputs[-1])
            if bias is not None:
                z = z + params[bias].unsqueeze(-1)
            value, slope, bend = (z, None, None) if phi.name == "identity" else phi.jet(z)
            self.inputs.append(value)
            self.slopes.append(slope)
            bends.append(None if phi.name in PIECEWISE_LINEAR else bend)
        upstream, self.curve = _loss(program.kind, self.inputs.pop(), target, weight)
        self.deltas: list[Tensor] = []
        self.bends: list[Tensor | None] = []  # u φ''
        for l in range(len(self.weights) - 1, -1, -1):
            slope, bend = self.slopes[l], bends[l]
            self.deltas.insert(0, upstream if slope is None else upstream * slope)
            self.bends.insert(0, None if bend is None else upstream * bend)
            if l:
                upstream = torch.matmul(self.weights[l].mT, self.deltas[0])

    def __call__(self, vectors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Maps v to Hv, both name -> (R, *shape); a parameter that the stack does not use is missing in the result."""
        names = list(zip(self.stack.weights, self.stack.biases, strict=True))
        moved: Tensor | None = None  # R a_{l-1}; None where nothing has moved yet
        along: list[Tensor | None] = []
        before: list[Tensor | None] = []
        for l, (weight, bias) in enumerate(names):
            before.append(moved)
            moved = None if moved is None else torch.matmul(self.weights[l], moved)
            if weight in vectors:
                step = torch.matmul(vectors[weight], self.inputs[l])
                moved = step if moved is None else moved.add_(step)
            if bias in vectors:
                step = vectors[bias].unsqueeze(-1)
                moved = step.expand(*step.shape[:-1], self.inputs[0].shape[-1]) if moved is None else moved.add_(step)
            along.append(moved)
            slope = self.slopes[l]
            if moved is not None and slope is not None:
                moved = moved * slope
        out: dict[str, Tensor] = {}
        back = None if moved is None else self.curve(moved)  # R u
        for l in range(len(names) - 1, -1, -1):
            (weight, bias), slope, bend, step = names[l], self.slopes[l], self.bends[l], along[l]
            if back is not None and slope is not None:
                back = back * slope
            if bend is not None and step is not None:
                back = torch.addcmul(back, bend, step) if back is not None else bend * step
            earlier = before[l]
            if weight in vectors and back is not None:
                product = torch.matmul(back, self.inputs[l].mT)
                if earlier is not None:
                    product += torch.matmul(self.deltas[l], earlier.mT)
                out[weight] = product
            if bias in vectors and back is not None:
                out[bias] = back.sum(-1)
            if l and back is not None:
                back = torch.matmul(self.weights[l].mT, back)
                if weight in vectors:
                    back += torch.matmul(vectors[weight].mT, self.deltas[l])
        return out


def _loss(kind: str | None, output: Tensor, target: Tensor, weight: float) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Gradient of the weighted mean loss in the outputs (R, C, n), and its Hessian's product with such a tensor."""
    classes, samples = output.shape[-2:]
    if kind == "mse":
        scale = 2.0 * weight / (classes * samples)
        return scale * (output - target.mT), lambda moved: scale * moved
    p = output.softmax(-2)
    if target.is_floating_point():
        share, each = target.mT, torch.full((samples,), weight / samples, dtype=p.dtype, device=p.device)
    else:
        share = F.one_hot(target.clamp(min=0), classes).mT.to(p.dtype)
        valid = (target != -100).to(p.dtype)  # torch's ignore_index
        each = weight * valid / valid.sum()
    total = share.sum(-2, keepdim=True)
    scaled = p * (total * each)

    def curve(moved: Tensor) -> Tensor:
        turned = scaled * moved
        return turned - p * turned.sum(-2, keepdim=True)

    return (p * total - share) * each, curve

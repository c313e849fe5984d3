"""Exact curvature of stacks of `Linear` + elementwise activation, layer by layer instead of row by row.

With z_l = W_l a_{l-1} + b_l, a_l = φ_l(z_l), δ_l = ∂L/∂z_l of one sample, the block of the layers l ≤ m is (after
Bishop 1992, "Exact calculation of the Hessian matrix for the multilayer perceptron", Neural Computation 4)

    ∂²L / ∂W_l[o,i] ∂W_m[p,j]  =  Σ_n  M_lm[o,p] a_{l-1}[i] a_{m-1}[j]  +  δ_m[p] S_lm[o,j] a_{l-1}[i],

    M_lm = ∂δ_m/∂z_l:   M_mm = φ'φ' ∘ (W_{m+1}ᵀ M_{m+1,m+1} W_{m+1}) + diag(φ'' ∘ W_{m+1}ᵀ δ_{m+1}),
                        M_lm = φ'_l ∘ W_{l+1}ᵀ M_{l+1,m}   for l < m,
    S_lm = ∂a_{m-1}/∂z_l:  S_{l,l+1} = diag(φ'_l),   S_{l,m+1} = φ'_m ∘ W_m S_lm,   0 for l = m,

with a bias as the weight of a constant input 1. The sum over samples is one matrix product a term and block. The
Gauss–Newton matrix drops φ'' and S; the empirical Fisher matrix has M_lm = δ_l δ_mᵀ and no S. On the diagonal both M
and a aᵀ are symmetric: only their upper triangles are multiplied. Samples are the last axis everywhere, so that
elementwise work runs along memory and every product of a layer is one large GEMM.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from thalweg.objective.assembly import Assembly
from thalweg.objective.layout import ParameterLayout
from thalweg.objective.stack_blocks import BlockSums, StackLayer, outer
from thalweg.objective.stack_products import PIECEWISE_LINEAR
from thalweg.objective.structure import LinearStack
from thalweg.progress import track

__all__ = ["Curvature", "stack_curvature", "stack_supports"]

Curvature = Literal["hessian", "ggn", "fisher"]

WORKING_SET = 2**25  # bytes of per-sample matrices at once: measured best, about the last cache
LEAST_SAMPLES = 64


def stack_supports(objective: Assembly, layout: ParameterLayout) -> bool:
    """Whether the formulas hold: a stack of linear layers under a plain mean squared error or cross-entropy."""
    stack = objective.stack
    if stack is None or not objective.program.has_products(objective.batches.first(1)):
        return False
    return not {*stack.weights, *stack.biases}.isdisjoint(layout.names)


def stack_curvature(
    objective: Assembly, theta: Tensor, layout: ParameterLayout, curvature: Curvature, permuted: Assembly | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Evaluates loss, gradient and a curvature matrix of a stack at many θ.

    Args:
        objective: One for which `stack_supports` holds.
        theta: (B, P).
        layout: The parameters that the gradient and the matrix are about: p of the P.
        curvature: "hessian", "ggn" or "fisher"; l2 is not part of any result here.
        permuted: The objective with its samples in another order.

    Returns:
        Data loss (B,), its gradient (B, p), the matrix (B, p, p), symmetric by construction, and where `permuted` is
        given the Frobenius norm of the difference to its matrix (B,), found without a second matrix in memory.
    """
    stack = objective.stack
    if stack is None:
        raise TypeError("stack_curvature needs an objective whose model is a stack of linear layers")
    params = {**objective.program.fixed, **objective.layout.unravel(theta)}
    layers = _layers(stack, layout, params)
    value = theta.new_zeros(len(theta))
    gradient = theta.new_zeros(len(theta), layout.size)
    complete = {*stack.weights, *stack.biases} >= set(layout.names)  # no parameter that the model does not use
    matrix = (theta.new_empty if complete else theta.new_zeros)(len(theta), layout.size, layout.size)
    per_pair = theta.element_size() * _floats_per_pair(stack, params, layers)
    replicas = max(1, min(len(theta), WORKING_SET // max(1, per_pair * min(objective.samples, 256))))
    distance = None if permuted is None else torch.zeros_like(value)
    done, all_samples = 0, len(theta) * objective.samples * (1 if permuted is None else 2)
    with track(f"{curvature} of a stack, samples", total=all_samples, start=0) as advance:
        for start in range(0, len(theta), replicas):
            part = slice(start, min(start + replicas, len(theta)))
            own = {name: p[part] if name in objective.layout.slices else p for name, p in params.items()}
            chunk = max(LEAST_SAMPLES, WORKING_SET // (per_pair * (part.stop - part.start)))
            found = []
            for one in (objective,) if permuted is None else (objective, permuted):
                sums, loss = BlockSums(layers, part.stop - part.start, theta), torch.zeros_like(value[part])
                for x, target, weight in _pieces(one, chunk):
                    with torch.no_grad():
                        loss += _accumulate(sums, stack, layers, own, x, target, weight, one.loss_kind, curvature)
                    done += len(x) * (part.stop - part.start)
                    advance(done)
                found.append((sums, loss))
            sums, value[part] = found[0]
            if distance is not None:
                distance[part] = sums.distance(found[1][0])
            del found
            sums.write(gradient[part], matrix[part])
            del sums
    value, gradient, matrix = objective.batches.reduced(value, gradient, matrix)
    return value, gradient, matrix, distance


def _layers(stack: LinearStack, layout: ParameterLayout, params: dict[str, Tensor]) -> list[StackLayer]:
    out = []
    for index, (weight, bias) in enumerate(zip(stack.weights, stack.biases, strict=True)):
        outputs, inputs = params[weight].shape[-2:]
        layer = StackLayer(index, outputs, inputs, layout.slices.get(weight), layout.slices.get(bias or ""))
        if layer.columns:
            out.append(layer)
    return out


def _floats_per_pair(stack: LinearStack, params: dict[str, Tensor], layers: list[StackLayer]) -> int:
    """Numbers held at once for one replica and sample: all M and S, and the largest factor of a contraction."""
    widths = [params[weight].shape[-2] for weight in stack.weights]
    pairs = sum(widths[l] * sum(widths[l:]) for l in range(len(widths)))
    return 2 * pairs + max(a.columns * b.columns for a in layers for b in layers)


def _pieces(objective: Assembly, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yields inputs, targets and the weight of every sample in the mean over the data, in chunks that fit the caches.

    The formulas are sums over samples, so that even batches that must stay whole for the loss may be cut here.
    """
    for batch, count in objective.batches.summands(None):
        x, target = batch[0], batch[1]
        valid = torch.ones(len(x), dtype=objective.dtype, device=x.device)
        if objective.loss_kind == "cross_entropy" and not target.is_floating_point():
            valid = (target != -100).to(objective.dtype)  # torch's ignore_index
        weight = valid * (count / objective.samples) / valid.sum()
        number = -(-len(x) // size)
        for piece in range(number):
            part = slice(len(x) * piece // number, len(x) * (piece + 1) // number)
            yield x[part], target[part], weight[part]


def _accumulate(
    sums: BlockSums,
    stack: LinearStack,
    layers: list[StackLayer],
    params: dict[str, Tensor],
    x: Tensor,
    target: Tensor,
    weight: Tensor,
    kind: str | None,
    curvature: Curvature,
) -> Tensor:
    """Adds the samples x (n, …) to all blocks; returns their part of the loss (R,)."""
    weights = [params[name] for name in stack.weights]
    last, first = len(weights) - 1, layers[0].index
    inputs, slopes, bends = [(x.flatten(1) if stack.flatten else x).mT.contiguous()], [], []  # (I, n) or (R, o, n)
    for matrix, bias, phi in zip(weights, stack.biases, stack.activations, strict=True):
        z = torch.matmul(matrix, inputs[-1])
        if bias is not None:
            z = z + params[bias].unsqueeze(-1)
        if z.dim() == 2:  # only layers outside θ so far: the same for all replicas
            z = z.expand(sums.replicas, *z.shape)
        value, slope, bend = phi.jet(z)
        inputs.append(value)
        slopes.append(slope)
        bends.append(None if curvature != "hessian" or phi.name in PIECEWISE_LINEAR else bend)
    each, top, curved = _loss(kind, inputs.pop(), target)  # (R, n), (R, C, n), (R, C, C, n)
    upstream = {last: top if curvature == "fisher" else top * weight}  # dL/da_l
    deltas = {}
    for l in range(last, first - 1, -1):
        deltas[l] = upstream[l] * slopes[l]
        if l > first:
            upstream[l - 1] = torch.matmul(weights[l].mT, deltas[l])
    augmented = {layer.index: layer.augment(inputs[layer.index]) for layer in layers}
    if curvature == "fisher":
        deltas, unweighted = {l: delta * weight for l, delta in deltas.items()}, deltas
        mixed = {
            (a.index, b.index): outer(unweighted[a.index], deltas[b.index])
            for place, a in enumerate(layers)
            for b in layers[place:]
        }
    else:
        mixed = _mixed(weights, slopes, bends, upstream, curved * weight, first)
    through = _through(weights, slopes, first) if curvature == "hessian" else {}
    for place, a in enumerate(layers):
        sums.add_gradient(a, deltas[a.index], augmented[a.index])
        for b in layers[place:]:
            sums.add_first(a, b, mixed.pop((a.index, b.index)), augmented)
            if curvature == "hessian" and b.index > a.index and b.weight is not None:
                sums.add_second(
                    a, b, augmented[a.index], deltas[b.index], slopes[a.index], through.pop((a.index, b.index), None)
                )
    return each @ weight


def _loss(kind: str | None, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Per-sample loss (R, n), its gradient (R, C, n) and Hessian (R, C, C, n) in the outputs (R, C, n)."""
    classes = output.shape[-2]
    if kind == "mse":
        residual = output - target.mT
        hessian = (2.0 / classes) * torch.eye(classes, dtype=output.dtype, device=output.device)
        hessian = hessian.unsqueeze(-1).expand(len(output), classes, classes, output.shape[-1])
        return residual.square().mean(-2), (2.0 / classes) * residual, hessian
    log_p = output.log_softmax(-2)
    if target.is_floating_point():
        share = target.mT
    else:
        share = F.one_hot(target.clamp(min=0), classes).mT.to(output.dtype)  # an ignored class number has weight 0
    total, p = share.sum(-2, keepdim=True), log_p.exp()
    each = -torch.where(share == 0, 0.0, share * log_p).sum(-2)  # 0 · log 0 = 0
    hessian = -(p * total).unsqueeze(-3) * p.unsqueeze(-2)
    hessian.diagonal(dim1=-3, dim2=-2).add_((p * total).mT)
    return each, p * total - share, hessian


def _mixed(
    weights: list[Tensor],
    slopes: list[Tensor],
    bends: list[Tensor | None],
    upstream: dict[int, Tensor],
    curved: Tensor,
    first: int,
) -> dict[tuple[int, int], Tensor]:
    """Returns (l, m) -> M_lm (R, o·p, n) for first ≤ l ≤ m."""
    last = len(weights) - 1
    out: dict[tuple[int, int], Tensor] = {}
    row: dict[int, Tensor] = {}  # m -> M_lm (R, o, p, n) of the layer l reached so far
    for l in range(last, first - 1, -1):
        if l < last:
            back = weights[l + 1].mT  # (R, o_l, o_{l+1})
            row = {m: _left(back, mixed) for m, mixed in row.items()}
            curved = torch.matmul(back.unsqueeze(-3), row[l + 1])  # over p, for each o: W ᵀ M W
            for mixed in row.values():
                mixed.mul_(slopes[l].unsqueeze(-2))
        row[l] = curved * slopes[l].unsqueeze(-2) * slopes[l].unsqueeze(-3)
        bend = bends[l]
        if bend is not None:
            row[l].diagonal(dim1=1, dim2=2).add_((bend * upstream[l]).mT)
        out.update({(l, m): mixed.flatten(1, 2) for m, mixed in row.items()})
    return out


def _through(weights: list[Tensor], slopes: list[Tensor], first: int) -> dict[tuple[int, int], Tensor]:
    """Returns (l, m) -> S_lm (R, j·o, n) for m > l + 1; S_{l,l+1} = diag(φ'_l) is never formed."""
    out: dict[tuple[int, int], Tensor] = {}
    column: dict[int, Tensor] = {}  # l -> da_{m-1}/dz_l (R, j, o, n)
    for m in range(first + 2, len(weights)):
        matrix, slope = weights[m - 1], slopes[m - 1].unsqueeze(-2)
        column = {l: _left(matrix, s).mul_(slope) for l, s in column.items()}
        column[m - 2] = matrix.unsqueeze(-1) * slopes[m - 2].unsqueeze(-3) * slope
        out.update({(l, m): s.flatten(1, 2) for l, s in column.items()})
    return out


def _left(matrix: Tensor, blocks: Tensor) -> Tensor:
    """(R, b, a) or (b, a) times (R, a, k, n) -> (R, b, k, n): one matrix product a replica."""
    return torch.matmul(matrix, blocks.flatten(2)).unflatten(2, blocks.shape[2:])

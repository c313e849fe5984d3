"""Loss, gradient and Gauss–Newton matrix of a stack with few outputs in one pass, from its Jacobian.

For few outputs the Jacobian J (C·N, P) is small, and G = Jᵀ Λ J is one matrix product a replica: several times cheaper
than the layer-by-layer formulas of `objective.stack_hessian`, which win where outputs are many. A search that only
ever needs G and g needs nothing else.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from thalweg.objective import Objective

__all__ = ["narrow_outputs", "one_pass"]

WORKING_SET = 2**23  # bytes of Jacobians at once: about the last cache, measured best
MOST_OUTPUTS = 3


def narrow_outputs(objective: Objective) -> bool:
    """Whether `one_pass` applies: a stack under a plain loss, with few outputs and the data in one batch."""
    stack, kind = objective.stack, objective.loss_kind
    if stack is None or kind is None or len(objective.batches.held) != 1:
        return False
    inputs, target = objective.batches.held[0][:2]
    names = {n for pair in zip(stack.weights, stack.biases, strict=True) for n in pair if n is not None}
    if not stack.accepts(inputs, 1) or names != set(objective.layout.names):
        return False
    outputs = objective.layout.shapes[objective.layout.names.index(stack.weights[-1])][0]
    if outputs > MOST_OUTPUTS:
        return False
    if target.is_floating_point():
        return target.shape == (len(inputs), outputs)
    return kind == "cross_entropy" and target.dim() == 1 and bool((target >= 0).all())  # −100: torch's ignore_index


def one_pass(objective: Objective, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """θ (R, P) -> L (R,), ∇L (R, P), Gauss–Newton matrix (R, P, P), the l2 term included in all.

    Args:
        objective: One for which `narrow_outputs` holds.
        theta: (R, P).

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(1, 2), torch.nn.Tanh(), torch.nn.Linear(2, 1))
        >>> objective = Objective(model.double(), torch.nn.MSELoss(), (torch.randn(9, 1), torch.randn(9, 1)))
        >>> theta = objective.initial(3)
        >>> torch.allclose(one_pass(objective, theta)[1], objective.gradient(theta))
        True
    """
    inputs, target = objective.batches.held[0][:2]
    classes = objective.program.outputs(objective.layout.unravel(theta[:1]), objective.batches.first(1)).shape[-1]
    row = theta.element_size() * classes * len(inputs) * theta.shape[1]
    parts = [_piece(objective, part, inputs, target) for part in theta.split(max(1, WORKING_SET // row))]
    value, gradient, matrix = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    matrix.diagonal(dim1=1, dim2=2).add_(objective.l2)
    return value + 0.5 * objective.l2 * theta.square().sum(1), gradient + objective.l2 * theta, matrix


def _piece(objective: Objective, theta: Tensor, inputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    stack, layout = objective.stack, objective.layout
    if stack is None:
        raise TypeError("one_pass needs an objective whose model is a stack of linear layers")
    parts, replicas = layout.unravel(theta), len(theta)
    h = (inputs.flatten(1) if stack.flatten else inputs).mT  # (I, N), then (R, O, N)
    entries, slopes = [], []
    for weight, bias, phi in zip(stack.weights, stack.biases, stack.activations, strict=True):
        entries.append(h)
        z = torch.matmul(parts[weight], h)
        z = z if bias is None else z + parts[bias][..., None]
        slopes.append(phi.first(z) if phi.name != "identity" else None)
        h = phi.value(z) if phi.name != "identity" else z
    classes, count = h.shape[1:]
    back = torch.eye(classes, dtype=theta.dtype, device=theta.device)[None, :, :, None]
    back = back.expand(replicas, classes, classes, count)  # (R, C, O, N): ∂output_c / ∂a_o
    jacobian = theta.new_empty(replicas, layout.size, classes, count)
    for l in range(len(entries) - 1, -1, -1):
        slope, bias = slopes[l], stack.biases[l]
        back = back if slope is None else back * slope[:, None]
        by_unit = back.transpose(1, 2)  # (R, O, C, N)
        entry = entries[l].expand(replicas, *entries[l].shape[-2:])
        units, width = by_unit.shape[1], entry.shape[1]
        place = jacobian[:, layout.slices[stack.weights[l]]].unflatten(1, (units, width))
        torch.mul(by_unit[:, :, None], entry[:, None, :, None], out=place)
        if bias is not None:
            jacobian[:, layout.slices[bias]] = by_unit
        if l:
            back = torch.matmul(parts[stack.weights[l]].mT[:, None], back)
    value, slope, factor = _loss(objective.loss_kind, h, target, jacobian)
    gradient = (jacobian.flatten(2) @ slope.flatten(1)[..., None])[..., 0]
    return value, gradient, factor @ factor.mT


def _loss(kind: str | None, output: Tensor, target: Tensor, jacobian: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Loss (R,), its gradient in the outputs (R, C, N), and F (R, P, C·N) with F Fᵀ the Gauss–Newton matrix."""
    classes, count = output.shape[1:]
    if kind == "mse":
        residual = output - target.mT
        scale = 2.0 / (classes * count)
        return residual.square().mean((1, 2)), scale * residual, jacobian.flatten(2) * scale**0.5
    log_p = output.log_softmax(1)
    share = target.mT if target.is_floating_point() else F.one_hot(target, classes).mT.to(output.dtype)
    total, p = share.sum(0), log_p.exp()
    value = -(torch.where(share == 0, 0.0, share * log_p)).sum((1, 2)) / count
    # Λ = diag(p) − p pᵀ = Σ_c p_c (e_c − p)(e_c − p)ᵀ
    centred = jacobian - (jacobian * p[:, None]).sum(2, keepdim=True)
    return value, (p * total - share) / count, (centred * (p * total / count).sqrt()[:, None]).flatten(2)

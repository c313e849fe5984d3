"""Norms of the derivative of every sample's output with respect to its input, one norm per sample."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from thalweg.declared import declared
from thalweg.errors import InputError, nearest
from thalweg.objective import Objective
from thalweg.objective.arguments import as_objective, as_theta
from thalweg.objective.containers import Column, Leaf, leaves, mapped, rebuilt
from thalweg.objective.from_modules import from_modules
from thalweg.objective.normalization import layers
from thalweg.objective.planning import CPU_WORKING_SET, GRADIENT
from thalweg.objective.program import Program
from thalweg.objective.samples import common_length, cut
from thalweg.objective.structure import LinearStack
from thalweg.objective.work import sized
from thalweg.progress import each, track

__all__ = ["Of", "input_norms"]

Of = Literal["outputs", "probabilities", "loss"]
Norms = Callable[[Any], Tensor]  # a batch of n samples -> n norms


@from_modules()
@declared
@sized
def input_norms(
    objective: Objective,
    theta: Tensor,
    *,
    of: Of = "outputs",
    p: float = 2.0,
    buffers: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """The norms that `sensitivity` averages: (…, P) -> (…, N), float64, in the order of the data.

    A stack of linear layers is differentiated by its layers' products, any other model by one backward pass for each
    output. Samples come in chunks that fit the memory budget of the objective.

    Args:
        objective: As for `sensitivity`, like the others.
        theta: See there.
        of: See there.
        p: See there.
        buffers: See there.
    """
    _check(as_objective(objective), of, p)
    theta = as_theta(objective, theta)
    lead, flat = theta.shape[:-1], theta.detach().reshape(-1, objective.size).to(objective.dtype)
    own = {name: value.reshape(-1, *value.shape[len(lead) :]) for name, value in (buffers or {}).items()}
    rows = []
    for r, point in enumerate(each("sensitivity, points", flat.unbind())):
        if not bool(point.isfinite().all()):
            rows.append(torch.full((_samples(objective),), math.nan, dtype=torch.float64, device=theta.device))
            continue
        extra = {name: value[0] for name, value in objective.evaluation.extra(point[None]).items()}
        params = {**objective.layout.parameters(point), **extra, **{name: value[r] for name, value in own.items()}}
        rows.append(_one(objective, params, of, p))
    return torch.stack(rows).reshape(*lead, -1) if rows else flat.new_zeros(*lead, _samples(objective)).double()


def _check(objective: Objective, of: str, p: float) -> None:
    if of not in get_args(Of):
        raise InputError(f"of must be one of {', '.join(get_args(Of))}, found '{of}'{nearest(of, get_args(Of))}")
    if not p >= 1:
        raise InputError(f"p must be at least 1, found {p}")
    if objective.loss_on == "batch":
        raise InputError("sensitivity needs an objective whose loss takes (output, target), found loss_on='batch'")
    if of == "probabilities" and objective.loss_kind == "mse":
        raise InputError("of 'probabilities' needs a classifier with logits, found a squared error")
    if objective.batchnorm == "batch" and layers(objective.module(objective.theta)):
        raise InputError(
            "batchnorm must be 'frozen' or 'recomputed' for the sensitivity of single samples, found 'batch'"
        )
    for leaf in (found := _tensors(objective.batches.first(1)[0])):
        if not (isinstance(leaf, Tensor) and leaf.is_floating_point()):
            kind = str(leaf.dtype).removeprefix("torch.") if isinstance(leaf, Tensor) else type(leaf).__name__
            raise InputError(
                f"inputs must be floating-point tensors to be differentiated, found {kind}: for token "
                "numbers make the embedded sequence the input"
            )
    if not found:
        raise InputError("inputs must be floating-point tensors to be differentiated, found none")


def _tensors(inputs: Any) -> list[Leaf]:
    """What inputs are differentiated in: all but texts and other things that have no derivative."""
    return [leaf for leaf in leaves(inputs) if not isinstance(leaf, Column)]


def _length(batch: Any) -> int:
    count = common_length(batch[0])
    if count is None:
        shapes = ", ".join(str(tuple(leaf.shape)) for leaf in _tensors(batch[0]) if isinstance(leaf, Tensor))
        raise InputError(f"inputs must be dense tensors with one row for each sample, found shapes {shapes}")
    return count


def _samples(objective: Objective) -> int:
    return sum(_length(batch) for batch, _ in objective.batches.chunks())


def _one(objective: Objective, params: Mapping[str, Tensor], of: Of, p: float) -> Tensor:
    """Norms (N,) at one parameter set."""
    program, evaluation = objective.program, objective.evaluation
    stack = program.stack
    if stack is not None and of != "loss" and stack.accepts(objective.batches.first(1)[0], 1):
        norms, size = _of_stack(stack, {**program.fixed, **params}, of, p, min(objective.memory, CPU_WORKING_SET))
    else:
        size = evaluation.plan(1, GRADIENT).samples

        def norms(batch: Any) -> Tensor:
            return _by_autograd(program, params, batch, of, p)

    out = []
    done = 0
    with track("sensitivity, samples", total=objective.samples, start=0) as advance:
        for batch, _ in objective.batches.chunks(size):  # batches that were handed over come whole: cut here
            used = batch if of == "loss" else (batch[0], None)
            for start in range(0, _length(batch), size):
                out.append(norms(cut(used, slice(start, start + size))))
                done += len(out[-1])
                advance(done)
    return torch.cat(out).double()


def _of_stack(stack: LinearStack, values: Mapping[str, Tensor], of: Of, p: float, memory: int) -> tuple[Norms, int]:
    """Norms of a stack's Jacobian W_L φ'_L … φ'_1 W_1, and for how many samples at once.

    In the Frobenius norm the outer matrices may be replaced by the triangles of their QR factorisations, which never
    have more than the inner layers' width: 784 inputs count as 256 behind a layer of 256 units.
    """
    weights = [values[name] for name in stack.weights]
    chain = list(weights)
    if p == 2:
        chain[0] = _thin(chain[0].mT).mT
        if of == "outputs" and stack.activations[-1].name == "identity":
            chain[-1] = _thin(chain[-1])
    rows = weights[-1].shape[0] if of == "probabilities" else chain[-1].shape[0]
    widest = max(max(matrix.shape) for matrix in chain)
    inputs = sum(matrix.shape[0] for matrix in weights) + weights[0].shape[1]
    size = max(1, memory // (weights[0].element_size() * (3 * rows * widest + 3 * inputs)))

    def norms(batch: Any) -> Tensor:
        h = batch[0].flatten(1) if stack.flatten else batch[0]
        slopes: list[Tensor | None] = []  # φ' (n, 1, width), None for the identity
        for weight, bias, phi in zip(weights, stack.biases, stack.activations, strict=True):
            z = F.linear(h, weight, None if bias is None else values[bias])
            h = phi.value(z)
            slopes.append(None if phi.name == "identity" else phi.first(z).unsqueeze(1))
        if of == "probabilities":
            share = _softmax(h)
            jacobian = torch.diag_embed(share) - share.unsqueeze(2) * share.unsqueeze(1)
        else:
            jacobian = torch.eye(rows, dtype=h.dtype, device=h.device).expand(len(h), -1, -1)
        for matrix, slope in zip(reversed(chain), reversed(slopes), strict=True):
            jacobian = (jacobian if slope is None else jacobian * slope) @ matrix  # (n, rows, width)
        return torch.linalg.vector_norm(jacobian.flatten(1), p, dim=1)

    return norms, size


def _softmax(logits: Tensor) -> Tensor:
    if logits.dim() < 2 or logits.shape[1] < 2:
        raise InputError(
            f"of 'probabilities' needs two logits or more on axis 1, found outputs of shape (N, {logits[0].numel()}): "
            "the softmax of one is constant"
        )
    return logits.softmax(1)


def _thin(matrix: Tensor) -> Tensor:
    """A matrix with the same Gram matrix MᵀM and at most as many rows as columns."""
    return torch.linalg.qr(matrix, mode="r").R if matrix.shape[0] > matrix.shape[1] else matrix


def _by_autograd(program: Program, params: Mapping[str, Tensor], batch: Any, of: Of, p: float) -> Tensor:
    """Norms (n,) of any model: samples do not mix, so that the gradient of a sum over them is every sample's own."""

    def free(leaf: Leaf) -> Leaf:
        return leaf.detach().clone().requires_grad_() if isinstance(leaf, Tensor) else leaf

    inputs = mapped(free, batch[0])
    tensors = _tensors(inputs)
    with torch.enable_grad(), program.surroundings():
        output = program.output_alone(params, (inputs, batch[1]))
        if of == "loss":
            columns = _sample_losses(program, output, batch[1]).unsqueeze(1)
        elif not isinstance(output, Tensor):
            raise InputError(f"the model must return one tensor, found {type(output).__name__}")
        else:
            columns = (_softmax(output) if of == "probabilities" else output).reshape(len(output), -1)
    rows = []
    for k in range(columns.shape[1]):
        more = k + 1 < columns.shape[1]
        with program.surroundings():
            parts = torch.autograd.grad(
                columns[:, k].sum(), tensors, retain_graph=more, allow_unused=True, materialize_grads=True
            )
        rows.append(torch.linalg.vector_norm(torch.cat([part.flatten(1) for part in parts], dim=1), p, dim=1))
    return torch.linalg.vector_norm(torch.stack(rows), p, dim=0)


def _sample_losses(program: Program, output: Any, target: Any) -> Tensor:
    """The loss of every sample, as that of a batch of one."""
    pair = output, target
    count = common_length(pair)
    if count is None:
        raise InputError("of 'loss' needs outputs and targets with one row for each sample, found others")

    def one(*rows: Tensor) -> Tensor:
        return program.loss(*rebuilt(pair, [row.unsqueeze(0) for row in rows]))

    try:
        return torch.vmap(one)(*leaves(pair))
    except (RuntimeError, NotImplementedError, ValueError):  # texts, or a loss that vmap refuses: one by one
        return torch.stack([program.loss(*cut(pair, slice(n, n + 1))) for n in range(count)])

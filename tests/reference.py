"""Slow, obviously correct versions that the tests compare with. Append only; keep each a few lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def loss_function(model: nn.Module, loss: Callable, batches: list, *, l2: float = 0.0, loss_on: str = "output"):
    """L(theta) by loading theta into the model and looping over samples' batches: returns theta -> (L, parameters)."""
    parameters = [p for p in model.parameters() if p.requires_grad]

    def double(leaf: Any) -> Any:
        return leaf.double() if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf

    def function(theta: Tensor) -> tuple[Tensor, list[Tensor]]:
        start = 0
        with torch.no_grad():
            for p in parameters:
                p.copy_(theta[start : start + p.numel()].reshape(p.shape))
                start += p.numel()
        total, samples = torch.zeros((), dtype=torch.float64), 0
        for batch in batches:
            if loss_on == "batch":
                value = loss(model, {name: double(leaf) for name, leaf in batch.items()})
                count = len(next(iter(batch.values())))
            else:
                value = loss(model(double(batch[0])), double(batch[1]))
                count = len(batch[1])
            total, samples = total + count * value, samples + count
        return total / samples + 0.5 * l2 * sum(p.square().sum() for p in parameters), parameters

    return function


def value_and_gradient(function: Callable, theta: Tensor) -> tuple[Tensor, Tensor]:
    """L and its gradient by one backward pass."""
    value, parameters = function(theta)
    gradients = torch.autograd.grad(value, parameters, allow_unused=True)
    parts = [torch.zeros_like(p) if g is None else g for g, p in zip(gradients, parameters, strict=True)]
    return value.detach(), torch.cat([part.flatten() for part in parts])


def central_difference(function: Callable[[Tensor], Tensor], theta: Tensor, v: Tensor, step: float = 1e-5) -> Tensor:
    """The derivative of a function of theta along v, by central differences in float64."""
    return (function(theta + step * v) - function(theta - step * v)) / (2 * step)


def plain_loss(objective: Any) -> Callable[[Tensor], Tensor]:
    """L(theta) by a loop over whole batches on a plain copy of the model: differentiable in theta (P,)."""
    model = objective.module(objective.theta)

    def function(theta: Tensor) -> Tensor:
        params = objective.layout.unravel(theta)
        total = torch.zeros((), dtype=theta.dtype)
        for batch, count in objective.batches.chunks(None):
            total = total + count * one_loss(objective, model, params, batch)
        return total / objective.samples + 0.5 * objective.l2 * theta.square().sum()

    return function


def one_loss(objective: Any, model: nn.Module, params: dict[str, Tensor], batch: Any) -> Tensor:
    """The loss of one batch with parameters substituted by torch.func.functional_call."""
    if objective.loss_on == "batch":

        class Closure(nn.Module):
            def __init__(self):
                super().__init__()
                self.model = model

            def forward(self, batch):
                return objective.loss(self.model, batch)

        return torch.func.functional_call(Closure(), {f"model.{k}": v for k, v in params.items()}, (batch,))
    return objective.loss(one_output(model, params, batch[0]), batch[1])


def one_output(model: nn.Module, params: dict[str, Tensor], inputs: Any) -> Tensor:
    """The output of the model for tensor or dict inputs."""
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        if isinstance(inputs, dict):
            return torch.func.functional_call(model, params, (), inputs)
        return torch.func.functional_call(model, params, (inputs,))


def hessian(objective: Any, theta: Tensor) -> Tensor:
    """The Hessian of L, one entry after the other from two backward passes."""
    leaf = theta.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(plain_loss(objective)(leaf), leaf, create_graph=True)
    rows = [
        torch.autograd.grad(g, leaf, retain_graph=True, materialize_grads=True)[0]
        if g.requires_grad
        else torch.zeros_like(theta)
        for g in gradient
    ]
    return torch.stack(rows)


def single_samples(objective: Any) -> list[Any]:
    """Every sample as a batch of one."""
    out = []
    for batch, count in objective.batches.chunks(None):
        for n in range(count):
            out.append(torch.utils._pytree.tree_map(lambda leaf, n=n: leaf[n : n + 1], batch))
    return out


def fisher(objective: Any, theta: Tensor) -> Tensor:
    """(1/N) Σ g gᵀ of per-sample gradients."""
    model, total = objective.module(objective.theta), torch.zeros(len(theta), len(theta), dtype=theta.dtype)
    for sample in single_samples(objective):
        leaf = theta.clone().requires_grad_()
        loss = one_loss(objective, model, objective.layout.unravel(leaf), sample)
        (g,) = torch.autograd.grad(loss, leaf)
        total += torch.outer(g, g)
    return total / objective.samples


def ggn(objective: Any, theta: Tensor) -> Tensor:
    """(1/N) Σ Jᵀ Λ J with the Jacobian of one sample's outputs and the Hessian of its loss in them, plus l2."""
    model, total = objective.module(objective.theta), torch.zeros(len(theta), len(theta), dtype=theta.dtype)
    for inputs, target in single_samples(objective):
        leaf = theta.clone().requires_grad_()
        output = one_output(model, objective.layout.unravel(leaf), inputs)
        jacobian = torch.stack([torch.autograd.grad(o, leaf, retain_graph=True)[0] for o in output.flatten()])
        curve = torch.autograd.functional.hessian(lambda f, t=target: objective.loss(f, t), output.detach())
        total += jacobian.mT @ curve.reshape(len(jacobian), -1) @ jacobian
    return total / objective.samples + objective.l2 * torch.eye(len(theta), dtype=theta.dtype)


def filter_normalized(direction: dict[str, Tensor], weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Li et al. 2018, section 4: d_ij <- d_ij |w_ij| / |d_ij| filter by filter; parameters with one axis stay."""
    out = {}
    for name, weight in weights.items():
        out[name] = torch.zeros_like(weight)
        for j in range(len(weight) if weight.dim() > 1 else 0):
            one = direction[name][j]
            out[name][j] = one * weight[j].square().sum().sqrt() / one.square().sum().sqrt()
    return out

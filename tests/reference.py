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

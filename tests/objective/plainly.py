"""What an objective must give: plain PyTorch on a deep copy of the model that holds θ, with ordinary autograd."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from thalweg.objective import Objective
from thalweg.objective.needs import Needs
from thalweg.training import Recipe, train

CE = nn.CrossEntropyLoss()


class MLP(nn.Module):
    """Three layers by name: the plain version of many models that compute the same in unusual ways.

    An arc tangent has no formula of its own here: the forward pass is what is evaluated.
    """

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def middle(self, h):
        return torch.tanh(self.b(h))

    def forward(self, x):
        return self.c(self.middle(torch.atan(self.a(x))))


def made(build: Callable[[], nn.Module] = MLP) -> nn.Module:
    """A model in float64, drawn from the same numbers whatever it is built as."""
    torch.manual_seed(1)
    return build().double()


def data(samples: int = 20) -> tuple[Tensor, Tensor]:
    """Inputs (N, 4) and classes (N,)."""
    generator = torch.Generator().manual_seed(2)
    return torch.randn(samples, 4, dtype=torch.float64, generator=generator), torch.randint(
        3, (samples,), generator=generator
    )


def ce(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Cross-entropy as a closure on the batch."""
    return F.cross_entropy(model(batch[0]), batch[1])


@dataclass(frozen=True)
class Right:
    """L, its gradient (P,) and ∇²L v (P,), None where that is not looked at."""

    value: Tensor
    gradient: Tensor
    product: Tensor | None


def holding(model: nn.Module, objective: Objective, theta: Tensor) -> nn.Module:
    """A deep copy of a model whose parameters are θ (P,)."""
    new = copy.deepcopy(model)
    own = dict(new.named_parameters())
    for name, value in objective.layout.unravel(theta).items():
        own[name].data = value.clone()
    return new


def right(model: nn.Module, loss: Any, batch: Any, objective: Objective, theta: Tensor, v: Tensor | None) -> Right:
    """Plain PyTorch at θ (P,); v (P,) for a Hessian-vector product by double backward."""
    new = holding(model, objective, theta)
    own = dict(new.named_parameters())
    leaves = [own[name] for name in objective.layout.names]

    def slopes(value: Tensor, along: Tensor | None = None) -> Tensor:
        parts = torch.autograd.grad(value, leaves, along, create_graph=True, materialize_grads=True)
        return torch.cat([part.flatten() for part in parts])

    with sdpa_kernel(SDPBackend.MATH):
        value = loss(new, batch) if objective.loss_on == "batch" else loss(new(batch[0]), batch[1])
        gradient = slopes(value)
        product = None if v is None else slopes(gradient, v).detach()
    return Right(value.detach(), gradient.detach(), product)


def agrees(
    model: nn.Module,
    loss: Any,
    batch: Any,
    plain: nn.Module | None = None,
    *,
    listed: bool = False,
    second: bool = True,
    steps: bool = True,
    **options: Any,
) -> Objective:
    """Asserts that every way of evaluation gives, at a θ that is not the model's own, what plain PyTorch gives.

    Args:
        model: What is handed over.
        loss: Likewise.
        batch: All data.
        plain: A model with the same names that computes the same without the trick; default: the model itself.
        listed: Hand the data over as a list of one batch.
        second: Compare second derivatives as well.
        steps: Compare a step of training as well.
        options: Of the objective.

    Returns:
        The objective.
    """
    plain = copy.deepcopy(model if plain is None else plain)
    made = Objective(model, loss, [batch] if listed else batch, **options)
    generator = torch.Generator().manual_seed(3)
    theta, v = (torch.randn(made.size, dtype=made.dtype, generator=generator) for _ in range(2))
    theta = made.theta + 0.2 * theta
    wanted = right(plain, loss, batch, made, theta, v if second else None)
    two, twice = torch.stack([made.theta, theta]), torch.stack([v, v])

    close(made.value(theta), wanted.value, "value")
    close(made.value(two)[1], wanted.value, "value of two")
    close(made.value_and_gradient(theta)[0], wanted.value, "value beside the gradient")
    close(made.gradient(theta), wanted.gradient, "gradient")
    close(made.gradient(two)[1], wanted.gradient, "gradient of two")
    if wanted.product is not None:
        close(made.hvp(theta, v), wanted.product, "product")
        close(made.hvp(two, twice)[1], wanted.product, "product of two")
        close(made.products(theta)(v), wanted.product, "product of a kept graph")
        close((made.hessian(theta) @ v.double()).to(v), wanted.product, "dense Hessian")
    if steps:
        recipe = Recipe(optimizer="sgd", lr=0.5, steps=1)
        close(train(made, theta, recipe).snapshots[-1, 0], theta - 0.5 * wanted.gradient, "a step")
    return made


def close(found: Tensor, wanted: Tensor, what: str) -> None:
    """Asserts equality to rounding, relative to the whole of the right one."""
    error = float((found - wanted).norm() / wanted.norm().clamp(min=1e-30))
    assert error <= (1e-9 if wanted.dtype == torch.float64 else 2e-4), f"{what} is off by {error:.2g} (relative)"


def ordinary(objective: Objective, caplog: pytest.LogCaptureFixture) -> None:
    """Asserts that a model needs nothing special, that nothing was said of it, and that it counts as precise."""
    assert not [record.getMessage() for record in caplog.records]
    assert objective.needs == Needs()
    assert objective.slope is None or objective.slope.agrees
    assert objective.epsilon() == torch.finfo(objective.dtype).eps

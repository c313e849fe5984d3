"""Objectives in half precision compute what plain autograd computes in a copy of the model."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from thalweg import InputError, Objective, curvature

HALF = (torch.bfloat16, torch.float16)


class Autocast(nn.Module):
    """Matrix products in bfloat16, as mixed precision does them."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return self.inner(x).float()


def data() -> tuple[Tensor, Tensor]:
    return torch.randn(32, 4), torch.randint(0, 3, (32,))


def plainly(model: nn.Module, x: Tensor, y: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Value, gradient and Hessian-vector product by autograd in a deep copy."""
    own = copy.deepcopy(model)
    parameters = list(own.parameters())
    loss = nn.CrossEntropyLoss()(own(x), y)
    flat = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, parameters, create_graph=True)])
    product = torch.autograd.grad(flat @ v, parameters)
    return loss.detach(), flat.detach(), torch.cat([g.reshape(-1) for g in product])


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("norm", [False, True])
def test_bit_for_bit_what_autograd_computes(dtype: torch.dtype, norm: bool) -> None:
    layers = [nn.Linear(4, 8), nn.Tanh(), *([nn.LayerNorm(8)] if norm else []), nn.Linear(8, 3)]
    model, (x, y) = nn.Sequential(*layers).to(dtype), data()
    objective = Objective(model, nn.CrossEntropyLoss(), (x, y), dtype=dtype)
    theta = objective.theta
    v = torch.randn_like(theta)
    loss, gradient, product = plainly(model, x.to(dtype), y, v)
    found = objective.hvp(theta, v)
    assert found.dtype == dtype
    if norm:  # no closed formula: the very same operations
        torch.testing.assert_close(objective.value(theta), loss, rtol=0, atol=0)
        torch.testing.assert_close(objective.gradient(theta), gradient, rtol=0, atol=0)
        torch.testing.assert_close(found, product, rtol=0, atol=0)
    rounding = 8 * torch.finfo(dtype).eps  # of formulas that add up in another order
    assert float((objective.value(theta) - loss).abs() / loss) <= rounding
    assert float((objective.gradient(theta) - gradient).norm() / gradient.norm()) <= rounding
    assert float((found - product).norm() / product.norm()) <= rounding


@pytest.mark.parametrize("dtype", HALF)
def test_the_precision_is_known_and_eigenvalues_carry_it(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).to(dtype)
    objective = Objective(model, nn.CrossEntropyLoss(), data(), dtype=dtype)
    assert objective.epsilon() == torch.finfo(dtype).eps
    operator = curvature.hessian_operator(objective, objective.theta)
    assert operator.epsilon == torch.finfo(dtype).eps
    pairs = curvature.eigenpairs(operator, tolerance=0.05, check=False, max_products=40)
    exact = torch.linalg.eigvalsh(objective.double().hessian(objective.theta.double()))[-1]
    assert abs(float(pairs.values[0] - exact)) <= float(pairs.residuals[0]) + 8 * operator.epsilon * float(exact)


def test_a_model_with_autocast_inside_counts_by_it() -> None:
    model, (x, y) = Autocast(), data()
    objective = Objective(model, nn.CrossEntropyLoss(), (x, y))
    theta = objective.theta
    loss, gradient, _ = plainly(model, x, y, torch.zeros_like(theta))
    assert torch.equal(objective.value(theta), loss)
    assert torch.equal(objective.gradient(theta), gradient)
    assert objective.epsilon() == torch.finfo(torch.bfloat16).eps


def test_half_precision_is_never_taken_unasked() -> None:
    with pytest.raises(InputError, match="must be float32 or float64, found bfloat16"):
        Objective(nn.Linear(4, 3).bfloat16(), nn.CrossEntropyLoss(), data())
    objective = Objective(nn.Linear(4, 3), nn.CrossEntropyLoss(), data())
    with pytest.raises(InputError, match="theta must be float32 or float64, found bfloat16"):
        objective.value(objective.theta.bfloat16())
    half = objective.to(dtype=torch.bfloat16)
    with pytest.raises(InputError, match="objective must be float32 or float64 for Lanczos processes in lock-step"):
        curvature.leading_eigenvalues(half, half.theta[None])

"""Operations without a second derivative are named, also those of which autograd says nothing."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable

from thalweg.curvature.exact import exact_curvature
from thalweg.errors import InputError
from thalweg.objective import Objective


class Cube(torch.autograd.Function):
    """x³ with a backward pass inside the graph."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        return 3 * ctx.saved_tensors[0] ** 2 * g


class OnceCube(Cube):
    """x³ whose backward pass is marked as differentiable once."""

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        return 3 * ctx.saved_tensors[0] ** 2 * g


class SilentCube(Cube):
    """x³ whose backward pass leaves the graph: autograd takes it for a constant."""

    @staticmethod
    def backward(ctx, g):
        return 3 * ctx.saved_tensors[0].detach() ** 2 * g


class Net(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function
        self.first, self.second = nn.Linear(2, 3).double(), nn.Linear(3, 1).double()

    def forward(self, x):
        return self.second(self.function(self.first(x)))


def objective(function) -> Objective:
    x, y = torch.randn(5, 2, dtype=torch.float64), torch.randn(5, 1, dtype=torch.float64)
    return Objective(Net(function), nn.MSELoss(), (x, y))


def test_an_honest_custom_function_passes():
    custom = objective(Cube.apply)
    plain = Objective(Net(lambda x: x**3), nn.MSELoss(), custom.batches.held[0])
    theta = custom.theta
    assert torch.allclose(custom.hessian(theta), plain.hessian(theta), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("function", [OnceCube, SilentCube])
@pytest.mark.parametrize("use", [Objective.hessian, Objective.products, Objective.value_gradient_product])
def test_a_silently_wrong_second_derivative_is_named(function, use):
    made = objective(function.apply)
    with pytest.raises(InputError, match=rf"twice differentiable .*{function.__name__}"):
        use(made, made.theta)


def test_first_derivatives_need_nothing():
    made = objective(OnceCube.apply)
    assert bool(made.gradient(made.theta).isfinite().all())


def test_a_builtin_without_second_derivative_is_named():
    class Ctc(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 4).double()

        def forward(self, x):
            return self.linear(x)

    def loss(output, target):
        length = torch.full((output.shape[0],), output.shape[1])
        sizes = torch.full((output.shape[0],), target.shape[1])
        return F.ctc_loss(output.log_softmax(-1).transpose(0, 1), target, length, sizes, reduction="none").mean()

    made = Objective(Ctc(), loss, (torch.randn(4, 6, 3).double(), torch.randint(1, 4, (4, 2))))
    assert bool(made.gradient(made.theta).isfinite().all())
    with pytest.raises(InputError, match=r"twice differentiable .*ctc_loss_backward"):
        exact_curvature(made, made.theta)


def test_a_tensor_that_is_written_into_before_the_backward_pass_is_named():
    class Written(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 2)

        def forward(self, x):
            hidden = self.linear(x).exp()  # its derivative is its value
            result = hidden.square().sum(1)
            hidden.mul_(0.0)
            return result

    with pytest.raises(InputError, match="must be differentiable by autograd, found that the forward pass writes"):
        Objective(Written(), lambda output, _: output.mean(), (torch.randn(5, 3), torch.zeros(5)))

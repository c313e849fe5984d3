"""Hessian-vector products that would be silently wrong are refused; all others are those of plain PyTorch."""

from __future__ import annotations

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from tests import reference
from tests.objective.plainly import CE, MLP, agrees, close, data, made
from tests.objective.test_agreement import Reversible
from tests.objective.test_agreement_inside import Fixed
from thalweg.errors import InputError
from thalweg.objective import Objective


class Square(torch.autograd.Function):
    """x² with a backward pass inside the graph."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * x * g


class DetachedSquare(Square):
    @staticmethod
    def backward(ctx, g):
        return 2 * ctx.saved_tensors[0].detach() * g


class DataSquare(Square):
    @staticmethod
    def backward(ctx, g):
        return 2 * ctx.saved_tensors[0].data * g


class ArraySquare(Square):
    @staticmethod
    def backward(ctx, g):
        return torch.from_numpy(2 * ctx.saved_tensors[0].detach().numpy()) * g


class HalfSquare(Square):
    """A quarter of its second derivative is missing."""

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return (1.5 * x + 0.5 * x.detach()) * g


class Net(nn.Module):
    """The square of a linear layer: ∇²L = 2·mean x xᵀ under a plain mean."""

    def __init__(self, function):
        super().__init__()
        self.linear, self.function = nn.Linear(4, 1, bias=False), function

    def forward(self, x):
        return self.function(self.linear(x))


def mean(output, target):
    return output.mean() + 0 * target.sum()


MISSING = {DetachedSquare: 1.0, DataSquare: 1.0, ArraySquare: 1.0, HalfSquare: 0.25}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("function", MISSING)
def test_the_missing_share_of_a_product_is_named(function, dtype):
    x, y = data()
    objective = Objective(made(lambda: Net(function.apply)).to(dtype), mean, (x.to(dtype), y))
    theta = objective.theta
    close(objective.gradient(theta), (2 * theta @ x.to(dtype).T @ x.to(dtype) / len(x)), "gradient")
    message = (
        f"found custom function {function.__name__}: a Hessian-vector product through it differs by (.*) .relative"
    )
    with pytest.raises(InputError, match=message) as refused:
        objective.hvp(theta, theta)
    found = float(re.search("differs by (.*) .relative", str(refused.value))[1])
    assert found == pytest.approx(MISSING[function], abs=0.01)


def test_products_of_an_honest_function_have_the_closed_form():
    x, y = data()
    objective = Objective(made(lambda: Net(Square.apply)), mean, (x, y))
    v = torch.arange(4.0).double()
    close(objective.hvp(objective.theta, v), 2 * x.T @ (x @ v) / len(x), "product")


class Behind(MLP):
    """A function amidst layers, smooth or with kinks, with the wrong part small or large."""

    def __init__(self, function, activation=torch.tanh, share=1.0):
        super().__init__()
        self.function, self.activation, self.share = function, activation, share

    def middle(self, h):
        return self.activation(self.b(h)) + self.share * self.function(h)


@pytest.mark.parametrize("activation", [torch.tanh, torch.relu, F.leaky_relu])
@pytest.mark.parametrize("function", MISSING)
def test_wrong_functions_are_found_amidst_other_layers(function, activation):
    objective = Objective(made(lambda: Behind(function.apply, activation, 3.0)), CE, data())
    with pytest.raises(InputError, match=f"found custom function {function.__name__}: a Hessian-vector product"):
        objective.products(objective.theta)


@pytest.mark.parametrize("activation", [torch.tanh, torch.relu, F.leaky_relu])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_honest_functions_pass_amidst_other_layers(activation, dtype):
    x, y = data()
    build = lambda function: made(lambda: Behind(function, activation)).to(dtype)  # noqa: E731
    agrees(build(Square.apply), CE, (x.to(dtype), y), build(torch.square))


@pytest.mark.parametrize("kind", [Reversible, Fixed])
def test_backward_passes_that_leave_the_graph_are_refused(kind):
    objective = Objective(made(kind), CE, data())
    v = torch.ones_like(objective.theta)
    slope = reference.central_difference(lambda t: objective.value(t)[None], objective.theta, v)
    assert float(objective.gradient(objective.theta) @ v) == pytest.approx(float(slope), rel=1e-6)
    for ask in (objective.hessian, objective.products, objective.value_gradient_product):
        with pytest.raises(InputError, match="must be twice differentiable"):
            ask(objective.theta)


class Normalised(MLP):
    """Divides by a norm that it writes into a buffer."""

    def __init__(self, keep):
        super().__init__()
        self.keep = keep
        self.register_buffer("size", torch.zeros(()))

    def middle(self, h):
        with torch.no_grad():
            self.size.copy_(self.keep(h, self.b.weight))
        return torch.tanh(self.b(h)) / (1 + self.size)


def test_what_a_forward_pass_writes_into_buffers_may_be_constant_in_theta():
    agrees(made(lambda: Normalised(lambda h, w: torch.tensor(float(len(h[0]))))), CE, data(), steps=False)


@pytest.mark.parametrize("keep", [lambda h, w: w.norm(), lambda h, w: h.var(), lambda h, w: w.square().sum() + h.max()])
def test_buffers_computed_from_theta_leave_no_second_derivatives(keep):
    objective = Objective(made(lambda: Normalised(keep)), CE, data())
    with pytest.raises(InputError, match=r"must have a gradient that is that of L|must be twice differentiable"):
        objective.hvp(objective.theta, objective.theta)


class Twofold(torch.autograd.Function):
    """x², whose rule for vmap loses the second derivative and nothing else."""

    @staticmethod
    def forward(x):
        return x * x

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, g):
        return 2 * ctx.saved_tensors[0] * g

    @staticmethod
    def vmap(info, in_dims, x):
        return DetachedSquare.apply(x), in_dims[0]


def test_products_that_are_wrong_only_together_are_taken_one_by_one():
    objective = Objective(made(lambda: Behind(Twofold.apply)), CE, data())
    assert objective.needs.vectorized
    objective.hvp(objective.theta, objective.theta)
    assert not objective.needs.vectorized
    agrees(made(lambda: Behind(Twofold.apply)), CE, data(), made(lambda: Behind(torch.square)))


class Attention(nn.Module):
    def __init__(self, kernels):
        super().__init__()
        self.qkv, self.head, self.kernels = nn.Linear(1, 24), nn.Linear(8, 3), kernels

    def forward(self, x):
        q, k, v = (part[:, None] for part in self.qkv(x[..., None]).chunk(3, -1))
        if self.kernels is None:
            return self.head(F.scaled_dot_product_attention(q, k, v)[:, 0].mean(1))
        with sdpa_kernel(self.kernels):
            return self.head(F.scaled_dot_product_attention(q, k, v)[:, 0].mean(1))


@pytest.mark.parametrize(
    "kernels",
    [None, SDPBackend.MATH, SDPBackend.FLASH_ATTENTION, [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]],
    ids=["none", "math", "flash", "flash or math"],
)
def test_attention_under_a_kernel_that_the_model_chose(kernels):
    agrees(made(lambda: Attention(kernels)), CE, data(), made(lambda: Attention(SDPBackend.MATH)))


def test_the_check_is_made_once_and_again_for_another_objective():
    calls = []

    class Counts(Square):
        @staticmethod
        def forward(ctx, x):
            calls.append(len(x))
            return Square.forward(ctx, x)

    objective = Objective(made(lambda: Behind(Counts.apply)), CE, data())
    counts = []
    for _ in range(3):
        calls.clear()
        objective.hvp(objective.theta, objective.theta)
        counts.append(len(calls))
    assert counts[0] > counts[1] == counts[2]

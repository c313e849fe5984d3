"""Models that torch does not copy, cast or differentiate rightly by itself, against plain PyTorch."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

from tests import reference
from thalweg.errors import InputError
from thalweg.objective import Objective

CE = nn.CrossEntropyLoss()


def data() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(9, 4, dtype=torch.float64), torch.randint(3, (9,))


class Keeping(nn.Module):
    """Keeps what its last forward pass found, as many models do for later looks."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 5), nn.Linear(5, 3)
        self.seen = {}

    def forward(self, x):
        self.hidden = torch.tanh(self.first(x))
        self.seen["out"] = [self.second(self.hidden)]
        return self.seen["out"][0]


class Rotating(nn.Module):
    """Turns its features by complex phases, as rotary embeddings do."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.register_buffer("phase", torch.polar(torch.ones(3), torch.randn(3)))

    def forward(self, x):
        return torch.view_as_real(torch.tanh(self.linear(x)) * self.phase).sum(-1)


def second_derivative_is_right(model: nn.Module, inputs: torch.Tensor, target: torch.Tensor) -> None:
    made = Objective(model, CE, (inputs, target)).double()
    theta = made.theta[None] + 0.1 * torch.randn(2, made.size, dtype=torch.float64)
    v = torch.randn(2, made.size, dtype=torch.float64)
    products = made.hvp(theta, v)
    for r in range(2):
        slope = reference.central_difference(made.gradient, theta[r], v[r])
        torch.testing.assert_close(products[r], slope, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("make", [parametrizations.weight_norm, weight_norm])
@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
@pytest.mark.parametrize("dim", [0, 1, None])
def test_second_derivatives_of_weight_norm(make, dim):
    model = nn.Sequential(make(nn.Linear(4, 5), dim=dim), nn.Tanh(), nn.Linear(5, 3)).double()
    x, y = data()
    made = Objective(model, CE, (x, y))
    torch.testing.assert_close(made.value(made.theta), CE(model(x), y).detach(), rtol=1e-12, atol=0)
    second_derivative_is_right(model, x, y)


def test_second_derivatives_of_weight_norm_called_as_a_function():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.v, self.g = nn.Parameter(torch.randn(3, 4).double()), nn.Parameter(torch.ones(3, 1).double())

        def forward(self, x):
            return torch.tanh(x @ torch._weight_norm(self.v, self.g, 0).T)

    second_derivative_is_right(Own(), *data())


def test_what_a_forward_pass_left_in_the_model_does_not_matter():
    model = Keeping().double()
    x, y = data()
    expected = CE(model(x), y)
    made = Objective(model, CE, (x, y))
    assert torch.allclose(made.value(made.theta), expected.detach())
    assert made.module(made.theta)(x).requires_grad
    second_derivative_is_right(model, x, y)


def test_complex_buffers_stay_complex():
    model = Rotating()
    x, y = data()
    wide = copy.deepcopy(model)
    wide.linear.double()
    wide.phase = wide.phase.to(torch.complex128)
    made = Objective(model, CE, (x, y)).double()
    torch.testing.assert_close(made.value(made.theta), CE(wide(x.float().double()), y).detach(), rtol=1e-12, atol=0)
    assert made.module(made.theta).phase.dtype == torch.complex128


@pytest.mark.parametrize("layer", [nn.Embedding, nn.EmbeddingBag])
def test_sparse_gradients_are_made_dense(layer):
    def made(sparse: bool) -> Objective:
        torch.manual_seed(0)
        head = nn.Linear(4, 3) if layer is nn.EmbeddingBag else nn.Sequential(nn.Flatten(), nn.Linear(8, 3))
        model = nn.Sequential(layer(7, 4, sparse=sparse), head)
        return Objective(model, CE, (torch.randint(7, (9, 2)), torch.randint(3, (9,)))).double()

    sparse, dense = made(True), made(False)
    theta = torch.stack([dense.theta, dense.theta + 0.1])
    assert torch.allclose(sparse.gradient(theta), dense.gradient(theta))
    assert sparse.module(theta[0])[0].sparse  # the user's own choice


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda model: torch.compile(model, backend="eager")])
def test_wrappers_are_seen_through(wrap):
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    inside, outside = Objective(model, CE, data()), Objective(wrap(model), CE, data())
    assert outside.layout == inside.layout
    assert outside.stack is not None
    assert torch.equal(outside.ravel(wrap(model)), inside.theta)


@pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated", "ignore:.*is not supported in Python")
@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: torch.jit.trace(nn.Linear(4, 3), torch.ones(1, 4)), "found torch.jit: pass the module that was"),
        (lambda: nn.Sequential(nn.LazyLinear(3)), "called on a batch once before, found the lazy parameter '0.weight'"),
        (lambda: nn.Linear(4, 3, dtype=torch.complex64), "real parameters, found 'weight' of torch.complex64"),
    ],
)
@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature", "ignore:Complex modules are a new feature")
def test_models_that_are_refused(build, message):
    with pytest.raises(InputError, match=message):
        Objective(build(), CE, data())


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated", "ignore:.*spectral_norm.* is deprecated")
@pytest.mark.parametrize("make", [weight_norm, spectral_norm])
def test_rules_that_do_not_reach_a_parameter_draw_no_equal_replicas(make):
    made = Objective(
        make(nn.Linear(4, 3)).eval(), CE, tuple(part.to(torch.float32) for part in data()[:1]) + data()[1:]
    )
    with pytest.raises(InputError, match="init must be given: no reset_parameters of the model draws 'weight_"):
        made.initial(2)

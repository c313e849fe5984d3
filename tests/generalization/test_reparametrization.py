"""Dinh et al. 2017: the function stays, the Hessian goes where theory says."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tests.cases import CASES, CE, Residual, classes, mlp, vectors
from thalweg.curvature import eigenpairs, hessian_operator
from thalweg.errors import InputError
from thalweg.generalization import (
    asam_sharpness,
    average_sharpness,
    hessian_sharpness,
    multipliers,
    path_norm,
    rescalable_pairs,
    rescaled_hessian,
)
from thalweg.objective import Objective

ALPHAS = torch.logspace(-2, 2, 9, dtype=torch.float64)


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 3, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.5), nn.Linear(3, 4), nn.ReLU(),
        nn.Linear(4, 3),
    ).eval()  # fmt: skip


def networks() -> dict[str, Objective]:
    torch.manual_seed(0)
    return {
        "mlp": Objective(mlp(4, 6, 5, 3, phi=nn.ReLU)().double(), CE, classes(7, 4)),
        "no-bias": Objective(mlp(4, 6, 3, phi=nn.LeakyReLU, bias=False)().double(), CE, classes(7, 4)),
        "cnn": Objective(cnn().double(), CE, classes(6, 2, 3, 3)),
    }


@pytest.mark.parametrize("name", ["mlp", "no-bias", "cnn"])
def test_outputs_are_equal_to_rounding_and_the_hessian_is_as_predicted(name: str) -> None:
    objective = networks()[name]
    theta = objective.theta
    for pair in range(len(rescalable_pairs(objective))):
        factors = multipliers(objective, ALPHAS, pair)
        assert factors.shape == (9, objective.size)
        outputs = objective.outputs(theta * factors)
        torch.testing.assert_close(outputs, objective.outputs(theta).expand_as(outputs), rtol=1e-12, atol=1e-13)
        operator = hessian_operator(objective, theta)
        measured = hessian_sharpness(objective, theta * factors, tolerance=1e-7).largest
        predicted = torch.stack(
            [eigenpairs(rescaled_hessian(operator, row), 1, tolerance=1e-7).values[0] for row in factors]
        )
        torch.testing.assert_close(measured, predicted, rtol=1e-6, atol=0)
        dense = objective.hessian(theta * factors[0])
        torch.testing.assert_close(rescaled_hessian(operator, factors[0]).to_dense(), dense, rtol=1e-8, atol=1e-8)


class _Twice(nn.Module):
    """A first layer that is used again, in one of three ways."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.a, self.b, self.how = nn.Linear(3, 3), nn.Linear(3, 3), how

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.b(torch.relu(self.a(x)))
        if self.how == "called":
            return out + self.a(x)
        return self.b(torch.tanh(out)) if self.how == "stacked" else out + self.a.weight.sum()


@pytest.mark.parametrize("how", ["called", "stacked", "read", "tied"])
def test_a_layer_that_is_used_twice_is_in_no_pair(how: str) -> None:
    """Its other use would not be rescaled: the function changed by as much as itself."""
    shared = nn.Linear(3, 3)
    tied = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), shared, nn.Tanh(), shared)
    model = tied if how == "tied" else _Twice(how)
    objective = Objective(model, nn.MSELoss(), (torch.randn(5, 3), torch.randn(5, 3)))
    assert rescalable_pairs(objective) == ()


def test_lambda_grows_like_alpha_to_the_minus_two_and_two() -> None:
    """Dinh et al. 2017, theorem 4: at least α⁻² times λmax of the multiplied layer's block, and so at the other end."""
    objective = networks()["no-bias"]
    theta = objective.theta
    (pair,) = rescalable_pairs(objective)
    top = {}
    for name in (*pair.multiplied, pair.divided):
        block = hessian_operator(objective, theta, name)
        top[name] = eigenpairs(block, 1).values[0].item()
    ends = torch.tensor([1e-3, 1e3], dtype=torch.float64)
    measured = hessian_sharpness(objective, theta * multipliers(objective, ends)).largest.tolist()
    assert measured[0] == pytest.approx(1e6 * top["0.weight"], rel=1e-3)
    assert measured[1] == pytest.approx(1e6 * top["2.weight"], rel=1e-3)


def test_measures_that_know_no_rescaling() -> None:
    objective = networks()["mlp"]
    theta = torch.stack([objective.theta, objective.theta * multipliers(objective, 7.0)])
    adaptive = asam_sharpness(objective, theta, eta=0.0, steps=3)
    assert adaptive[0].item() == pytest.approx(adaptive[1].item(), rel=1e-9)
    relative = [average_sharpness(objective, row, sigma=0.1, pairs=50, scale="relative").mean.item() for row in theta]
    assert relative[0] == pytest.approx(relative[1], rel=1e-9)
    bias_free = networks()["no-bias"]
    both = torch.stack([bias_free.theta, bias_free.theta * multipliers(bias_free, 7.0)])
    paths = path_norm(bias_free, both)
    assert paths[0].item() == pytest.approx(paths[1].item(), rel=1e-12)


def test_pairs_are_found_only_where_the_function_would_stay() -> None:
    torch.manual_seed(0)
    tanh = Objective(mlp(4, 6, 3)().double(), CE, classes(7, 4))
    assert rescalable_pairs(tanh) == ()
    residual = Objective(Residual().double(), nn.MSELoss(), vectors(7, 3, 2))
    assert rescalable_pairs(residual) == ()
    normalised = Objective(CASES["batchnorm-eval"].model().double(), nn.MSELoss(), CASES["batchnorm-eval"].data())
    assert rescalable_pairs(normalised) == ()
    chosen = Objective(mlp(4, 6, 5, 3, phi=nn.ReLU)().double(), CE, classes(7, 4), parameters=["2.*", "4.*"])
    assert [pair.divided for pair in rescalable_pairs(chosen)] == ["4.weight"]
    assert [pair.divided for pair in rescalable_pairs(networks()["cnn"])] == ["5.weight", "7.weight"]


class Branch(nn.Module):
    """The scaled value is used twice: rescaling one use would change the function."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 4)

    def forward(self, x):
        h = torch.relu(self.first(x))
        return self.second(h) + h


def test_a_value_used_twice_is_no_pair() -> None:
    objective = Objective(Branch().double(), nn.MSELoss(), vectors(7, 3, 4))
    assert rescalable_pairs(objective) == ()


@pytest.mark.parametrize(
    ("alpha", "pair", "message"),
    [
        (0.0, 0, "alpha must be positive and finite, found 0.0"),
        (math.inf, 0, "alpha must be positive and finite, found inf"),
        (2.0, 2, "pair must be one of the 2 pairs of layers joined by homogeneous operations, found 2"),
    ],
)
def test_bad_input_is_named(alpha: float, pair: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        multipliers(networks()["mlp"], alpha, pair)


def test_factors_of_another_length() -> None:
    objective = networks()["mlp"]
    with pytest.raises(InputError, match=r"factors must have shape \(83,\), found \(3,\)"):
        rescaled_hessian(hessian_operator(objective, objective.theta), torch.ones(3))

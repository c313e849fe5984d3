"""The maximum in a box: closed form for a diagonal quadratic, all corners for a convex one."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from tests.cases import CASES
from tests.generalization.quadratics import quadratic, with_spectrum
from thalweg.errors import InputError
from thalweg.generalization import keskar_sharpness


def test_diagonal_quadratic_is_the_closed_form() -> None:
    """Minimum at θ* = 0 of Σ hᵢθᵢ²/2 + c; the box is ±ε(|θᵢ|+1): every positive hᵢ ends at its wall."""
    h, c, epsilon = torch.tensor([3.0, 1.0, 0.1, -2.0]).double(), 0.5, 1e-2
    found = keskar_sharpness(quadratic(torch.diag(h), constant=c), torch.zeros(4).double(), epsilon=epsilon)
    expected = 100 * 0.5 * epsilon**2 * h.clamp(min=0).sum() / (1 + c)
    assert found.value.item() == pytest.approx(expected.item(), rel=1e-9)
    assert found.status == ("converged",)


def test_box_grows_with_the_weights() -> None:
    theta = torch.tensor([9.0, 0.0]).double()
    objective = quadratic(torch.eye(2).double(), slope=-theta, constant=float(theta @ theta / 2))
    found = keskar_sharpness(objective, theta, epsilon=1e-2)
    assert found.value.item() == pytest.approx(100 * 0.5 * 1e-4 * (10**2 + 1), rel=1e-9)


def test_convex_quadratic_against_all_corners() -> None:
    """A convex function is largest at a corner; enough starts find the best of all 64, and never more."""
    matrix = with_spectrum([5.0, 2.0, 1.0, 0.5, 0.1, 0.0], seed=3)
    objective = quadratic(matrix)
    epsilon = 1e-2
    corners = epsilon * torch.tensor(list(itertools.product((-1.0, 1.0), repeat=6))).double()
    best = 100 * objective.value(corners).max().item()
    found = keskar_sharpness(objective, torch.zeros(6).double(), epsilon=epsilon, starts=12, iterations=50)
    assert found.value.item() == pytest.approx(best, rel=1e-9)
    for seed in range(3):
        once = keskar_sharpness(objective, torch.zeros(6).double(), epsilon=epsilon, starts=2, seed=seed)
        assert 0 < once.value.item() <= best * (1 + 1e-9)


def test_subspace_is_the_maximum_over_one_line() -> None:
    """With p = 1 the box is a segment: L(Ay) at its ends."""
    matrix = with_spectrum([5.0, 2.0, 1.0])
    theta = torch.tensor([0.2, -0.1, 0.4]).double()
    objective = quadratic(matrix, slope=-matrix @ theta, constant=float(0.5 * theta @ matrix @ theta))
    found = keskar_sharpness(objective, theta, epsilon=1e-2, dimension=1, seed=5)
    from thalweg.generalization.box import _basis

    a = _basis(3, 1, 5)[:, 0]
    width = 1e-2 * (abs(float(a @ theta / (a @ a))) + 1)
    assert found.value.item() == pytest.approx(100 * 0.5 * width**2 * float(a @ matrix @ a), rel=1e-9)
    assert found.dimension == 1


def test_a_network_rises_at_least_as_at_random_points_of_the_box() -> None:
    objective = CASES["mlp-ce"].build()
    theta = objective.theta
    found = keskar_sharpness(objective, theta, epsilon=1e-2)
    torch.manual_seed(0)
    inside = theta + 1e-2 * (theta.abs() + 1) * (2 * torch.rand(3000, objective.size).double() - 1)
    rises = 100 * (objective.value(inside) - objective.value(theta)) / (1 + objective.value(theta))
    assert found.value.item() > rises.max().item()
    assert found.status[0] in ("converged", "iterations", "stopped")


def test_leading_axes_and_bad_theta() -> None:
    objective = CASES["mlp-ce"].build()
    theta = objective.theta.repeat(2, 2, 1)
    theta[0, 1, 0] = math.nan
    found = keskar_sharpness(objective, theta, starts=1)
    assert found.value.isnan().tolist() == [[False, True], [False, False]]
    assert found.status[1] == "nonfinite"
    assert found.evaluations[0, 1] == 0


def test_overflow_inside_the_box_is_infinite() -> None:
    theta = torch.tensor([1e4, 0.0], dtype=torch.float64)  # L = 5e307 is finite here and overflows a little further
    found = keskar_sharpness(quadratic(torch.diag(torch.tensor([1e300, 1.0], dtype=torch.float64))), theta, epsilon=1.0)
    assert found.value.item() == math.inf
    assert found.status == ("nonfinite",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": 0.0}, "epsilon must be positive and finite, found 0.0"),
        ({"iterations": 0}, "iterations must be at least 1, found 0"),
        ({"starts": 0}, "starts must be at least 1, found 0"),
        ({"dimension": 3}, "dimension must be from 1 to the 2 parameters, found 3"),
    ],
)
def test_bad_input_is_named(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        keskar_sharpness(quadratic(torch.eye(2).double()), torch.zeros(2).double(), **options)

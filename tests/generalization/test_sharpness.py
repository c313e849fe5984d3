"""Sharpness by the Hessian: on quadratics by hand, on a network by the dense Hessian."""

from __future__ import annotations

import math

import pytest
import torch

from tests.cases import CASES
from tests.generalization.quadratics import quadratic, with_spectrum
from thalweg.errors import InputError
from thalweg.generalization import epsilon_sharpness, hessian_sharpness


def test_epsilon_sharpness_of_a_quadratic_is_its_formula_and_its_maximum() -> None:
    """λmax ε²/(2(1+L)), and nothing in the ball is higher."""
    matrix, constant, epsilon = with_spectrum([7.0, 3.0, 0.5, 0.0]), 0.25, 1e-2
    objective = quadratic(matrix, constant=constant)
    theta = torch.zeros(4, dtype=torch.float64)
    found = hessian_sharpness(objective, theta, tolerance=1e-8)
    sharpness = epsilon_sharpness(found.spectral, found.loss, epsilon)
    assert sharpness.item() == pytest.approx(7.0 * epsilon**2 / (2 * (1 + constant)), rel=1e-10)
    steps = torch.randn(2000, 4, dtype=torch.float64)
    steps = epsilon * torch.cat([steps / steps.norm(dim=1, keepdim=True), torch.linalg.eigh(matrix).eigenvectors.mT])
    rises = (objective.value(steps) - constant) / (1 + constant)
    assert rises.max().item() == pytest.approx(sharpness.item(), rel=1e-9)


def test_the_spectral_norm_counts_a_deep_negative_eigenvalue() -> None:
    found = hessian_sharpness(quadratic(with_spectrum([2.0, 1.0, -5.0])), torch.zeros(3).double(), tolerance=1e-8)
    assert found.largest.item() == pytest.approx(2.0, rel=1e-6)
    assert found.smallest.item() == pytest.approx(-5.0, rel=1e-6)
    assert found.spectral.item() == pytest.approx(5.0, rel=1e-6)
    assert found.trace.item() == pytest.approx(-2.0, rel=1e-10)
    assert found.trace_error.item() == 0.0  # three products are the whole diagonal


@pytest.mark.parametrize("name", ["mlp-ce", "cnn", "mlp-l2"])
def test_of_networks_by_the_dense_hessian(name: str) -> None:
    objective = CASES[name].build()
    theta = torch.stack([objective.theta, 2 * objective.theta])[:, None]
    found = hessian_sharpness(objective, theta, tolerance=1e-6, trace_products=24)
    assert found.largest.shape == (2, 1)
    dense = objective.hessian(theta)
    values = torch.linalg.eigvalsh(dense)
    torch.testing.assert_close(found.largest, values[..., -1], rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(found.smallest, values[..., 0], rtol=1e-5, atol=1e-5)
    assert bool((found.residual <= 1e-6 * found.spectral).all())
    exact = dense.diagonal(dim1=-2, dim2=-1).sum(-1)
    assert bool(((found.trace - exact).abs() <= 5 * found.trace_error + 1e-12).all())
    assert found.status == ("converged", "converged")
    alone = hessian_sharpness(objective, theta[1], tolerance=1e-6, trace_products=24, first=1)
    assert alone.trace.item() == found.trace[1].item()


def test_float32_objectives_are_measured_in_float64() -> None:
    objective = CASES["mlp-ce"].build()
    single = objective.to(dtype=torch.float32)
    theta = objective.theta.float()
    one, other = (hessian_sharpness(o, theta, tolerance=1e-8).largest for o in (objective, single))
    assert one.item() == pytest.approx(other.item(), rel=1e-6)
    assert other.dtype == torch.float64


def test_one_bad_theta_stays_alone() -> None:
    objective = quadratic(with_spectrum([2.0, 1.0]))
    theta = torch.tensor([[0.0, 0.0], [math.nan, 0.0], [1e200, 0.0]], dtype=torch.float64)
    found = hessian_sharpness(objective, theta)
    assert found.status == ("converged", "nonfinite", "nonfinite")
    assert found.largest.isnan().tolist() == [False, True, True]


@pytest.mark.parametrize(
    "epsilon", [0.0, -1.0, math.inf, math.nan, 1e200, 1e-200, -1e-200, 10**400, -(10**400), 2**512]
)
def test_epsilon_must_be_positive(epsilon: float) -> None:
    rule = r"(positive and finite, and so must its square|a number below 1e308)"
    with pytest.raises(InputError, match=f"epsilon must be {rule}, found"):
        epsilon_sharpness(torch.ones(1), torch.zeros(1), epsilon)


def test_epsilon_of_any_size_that_has_a_square() -> None:
    ones = torch.ones(1, dtype=torch.float64)
    for epsilon in (1e-150, 1, 1e150):
        assert epsilon_sharpness(ones, ones, epsilon).item() == pytest.approx(float(epsilon) ** 2 / 4, rel=1e-15)

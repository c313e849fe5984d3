"""Worst-case and average rises on quadratics, whose maxima and means are known in closed form."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tests.cases import CASES
from tests.generalization.quadratics import quadratic, with_spectrum
from thalweg.errors import InputError
from thalweg.generalization import asam_sharpness, average_sharpness, sam_sharpness


def test_sam_at_a_minimum_is_half_radius_squared_lambda() -> None:
    objective = quadratic(with_spectrum([4.0, 1.0, 0.2]), constant=0.3)
    found = sam_sharpness(objective, torch.zeros(2, 3).double(), radius=0.1, steps=30)
    torch.testing.assert_close(found, torch.full((2,), 0.5 * 0.01 * 4.0, dtype=torch.float64), rtol=1e-9, atol=0)


def test_one_step_is_the_papers() -> None:
    objective = CASES["mlp-ce"].build()
    theta, radius = objective.theta, 0.05
    gradient = objective.gradient(theta)
    expected = objective.value(theta + radius * gradient / gradient.norm()) - objective.value(theta)
    torch.testing.assert_close(sam_sharpness(objective, theta, radius=radius, steps=1), expected)
    more = sam_sharpness(objective, theta, radius=radius, steps=20)
    assert more >= expected


def test_adaptive_one_step_is_the_papers() -> None:
    """δ = ρ T²∇L / ‖T∇L‖ with T = |θ| + η (Kwon et al. 2021)."""
    objective = CASES["mlp-relu"].build()
    theta = objective.theta
    t, gradient = theta.abs() + 0.01, objective.gradient(theta)
    delta = 0.5 * t**2 * gradient / (t * gradient).norm()
    expected = objective.value(theta + delta) - objective.value(theta)
    torch.testing.assert_close(asam_sharpness(objective, theta, steps=1), expected)


def test_adaptive_maximum_of_a_quadratic() -> None:
    """½ρ² λmax(T(H)T) at a minimum away from the origin."""
    matrix = with_spectrum([4.0, 1.0, 0.2])
    theta = torch.tensor([1.0, -2.0, 0.5]).double()
    objective = quadratic(matrix, slope=-matrix @ theta, constant=float(0.5 * theta @ matrix @ theta))
    t = torch.diag(theta.abs())
    expected = 0.5 * 0.1**2 * torch.linalg.eigvalsh(t @ matrix @ t)[-1]
    found = asam_sharpness(objective, theta, radius=0.1, eta=0.0, steps=60)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


def test_average_tends_to_half_sigma_squared_trace() -> None:
    """Exactly so for a quadratic, slope or not; within its error, for many seeds."""
    matrix = with_spectrum([4.0, 1.0, -0.5])
    objective = quadratic(matrix, slope=torch.tensor([30.0, 0.0, 0.0]))
    expected = 0.5 * 0.1**2 * 4.5
    inside = 0
    for seed in range(40):
        found = average_sharpness(objective, torch.ones(3).double(), sigma=0.1, pairs=100, seed=seed)
        inside += abs(found.mean.item() - expected) < 2 * found.standard_error.item()
    assert 33 <= inside <= 40
    many = average_sharpness(objective, torch.ones(3).double(), sigma=0.1, pairs=20_000)
    assert many.mean.item() == pytest.approx(expected, rel=0.02)


def test_average_of_a_network_tends_to_half_sigma_squared_trace() -> None:
    objective = CASES["mlp-ce"].build()
    trace = objective.hessian(objective.theta).diagonal().sum()
    sigma = 1e-3
    found = average_sharpness(objective, objective.theta, sigma=sigma, pairs=4000)
    assert abs(found.mean - 0.5 * sigma**2 * trace) < 4 * found.standard_error
    assert found.standard_error < 0.05 * found.mean


def test_relative_steps_scale_with_the_weights() -> None:
    objective = quadratic(torch.eye(2).double())
    theta = torch.tensor([3.0, 0.0]).double()
    found = average_sharpness(objective, theta, sigma=0.1, pairs=20_000, scale="relative")
    assert found.mean.item() == pytest.approx(0.5 * (0.1 * 3.0) ** 2, rel=0.05)


def test_replicas_chunks_and_memory_change_nothing() -> None:
    objective = CASES["mlp-ce"].build()
    theta = torch.stack([objective.theta, -objective.theta, 0.5 * objective.theta])
    for function in (sam_sharpness, asam_sharpness):
        together, alone = function(objective, theta), function(objective, theta[2], first=2)
        torch.testing.assert_close(together[2], alone)
    whole = average_sharpness(objective, theta, pairs=20)
    small = average_sharpness(objective, theta[2], pairs=20, first=2, memory=1)
    torch.testing.assert_close(whole.mean[2], small.mean)
    torch.testing.assert_close(whole.standard_error[2], small.standard_error)


def bad(objective: object, theta: Tensor) -> list[Tensor]:
    return [
        sam_sharpness(objective, theta),
        asam_sharpness(objective, theta),
        average_sharpness(objective, theta, pairs=4).mean,
    ]


def test_one_bad_theta_stays_alone() -> None:
    objective = quadratic(torch.eye(2).double())
    for found in bad(objective, torch.tensor([[0.0, 0.0], [math.inf, 0.0]]).double()):
        assert found.isnan().tolist() == [False, True]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda o, t: sam_sharpness(o, t, radius=0.0), "radius must be positive and finite, found 0.0"),
        (lambda o, t: sam_sharpness(o, t, steps=0), "steps must be at least 1, found 0"),
        (lambda o, t: asam_sharpness(o, t, eta=-1.0), "eta must be finite and not negative, found -1.0"),
        (lambda o, t: average_sharpness(o, t, sigma=math.inf), "sigma must be positive and finite, found inf"),
        (lambda o, t: average_sharpness(o, t, pairs=1), "pairs must be at least 2 to show an error, found 1"),
        (lambda o, t: average_sharpness(o, t, scale="absolute"), "scale must be one of coordinate, relative"),
        (lambda o, t: sam_sharpness(o, t[:1]), "theta must have shape"),
    ],
)
def test_bad_input_is_named(call, message) -> None:
    with pytest.raises(InputError, match=message):
        call(quadratic(torch.eye(2).double()), torch.zeros(2).double())

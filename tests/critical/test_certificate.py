"""A certificate's numbers against references, and no ratio without them."""

from __future__ import annotations

import pytest
import torch

from tests import reference
from tests.critical.cases import sinc
from thalweg.critical import (
    FunctionProblem,
    ObjectiveProblem,
    Search,
    Status,
    certify,
    gradient_norm_adam,
    minimise,
    search,
)


@pytest.fixture(scope="module")
def minima():
    objective = sinc(4, l2=1e-3)
    problem = ObjectiveProblem(objective)
    return objective, certify(problem, minimise(problem, objective.initial(6, seed=3)))


def test_numbers_equal_the_reference(minima):
    objective, points = minima
    for r in range(2):
        matrix = reference.hessian(objective, points.theta[r])
        values = torch.linalg.eigvalsh(matrix)
        certificate = points.certificate
        torch.testing.assert_close(certificate.eigenvalues[r], values, atol=1e-12, rtol=1e-9)
        assert float(certificate.largest[r]) == pytest.approx(float(values.abs().max()))
        assert float(certificate.loss[r]) == pytest.approx(float(objective.value(points.theta[r])))
        assert float(certificate.norm[r]) == pytest.approx(float(points.theta[r].norm()))
        assert float(certificate.smallest[r]) == pytest.approx(float(values.abs().min()), rel=1e-6)
        assert float(certificate.gradient[r]) <= 1e-12


def test_minima_are_minima(minima):
    objective, points = minima
    assert set(points.status) == {Status.MINIMUM}
    assert points.minimal_ratio.tolist() == [1.0] * 6
    assert all("all 13 modes positive" in message for message in points.message)
    generator = torch.Generator().manual_seed(0)
    for r in range(6):
        away = 1e-3 * torch.randn(200, objective.size, generator=generator, dtype=torch.float64)
        assert bool((objective.value(points.theta[r] + away) > points.certificate.loss[r]).all())


def test_a_valley_that_falls_for_ever_has_no_minimum():
    """exp(−x₁) at 24: ‖g‖ < 1e-10, yet nothing is near; seen only along Newton's step, with a flatter mode beside."""
    problem = FunctionProblem(lambda x: torch.exp(-x[0]) + 1e-11 * x[1] ** 2 + 0.5 * x[2:].square().sum(), 30)
    theta = torch.zeros(1, 30, dtype=torch.float64)
    theta[0, 0] = 24
    points = certify(problem, theta)
    assert float(points.certificate.gradient[0]) < 1e-10
    assert points.status[0] in (Status.DEGENERATE, Status.UNCERTIFIED)


def test_signs_survive_another_order_of_the_sums(minima):
    objective, points = minima
    for seed in range(3):
        values = torch.linalg.eigvalsh(objective.permuted(seed).hessian(points.theta))
        band = points.certificate.band[:, None]
        decided = points.certificate.eigenvalues.abs() > band
        flips = (values.sign() != points.certificate.eigenvalues.sign()) & decided
        assert int(flips.sum()) == 0


def test_gradient_norm_at_a_third_is_not_critical():
    problem = ObjectiveProblem(sinc(4, 4))
    starts = problem.objective.initial(12, seed=0)
    points = certify(problem, gradient_norm_adam(problem, starts, steps=3))
    assert bool(((points.certificate.gradient > 0.1) & (points.certificate.gradient < 1)).any())
    assert set(points.status) <= {Status.DESCENDING, Status.GRADIENT_FLAT}
    assert bool(points.minimal_ratio.isnan().all())
    assert all(message.startswith("not critical") and "‖g‖ = " in message for message in points.message)


def test_gradient_flat_ground_is_told_from_descent():
    problem = FunctionProblem(lambda p: 1e-3 * p[0] + p[1] ** 2, 2)  # g lies in the null space of H
    assert certify(problem, torch.zeros(1, 2).double()).status == (Status.GRADIENT_FLAT,)
    slope = FunctionProblem(lambda p: (p[0] - 1) ** 2 + p[1] ** 2, 2)
    assert certify(slope, torch.zeros(1, 2).double(), polish=False).status == (Status.DESCENDING,)


def test_the_band_widens_with_the_distance_left():
    """Weyl: a point that is not quite there leaves modes undecided whose sign may still change."""
    problem = FunctionProblem(lambda p: p[0] ** 2 + p[1] ** 3 / 3 - 1e-6 * p[1], 2)
    exact = torch.tensor([[0.0, 1e-3]]).double()  # the minimum, with curvature 2e-3
    assert certify(problem, exact).status == (Status.MINIMUM,)
    near = certify(problem, torch.tensor([[0.0, 1.4e-3]]).double(), tolerance=1e-5, polish=False)
    assert near.status[0] in (Status.DEGENERATE, Status.UNCERTIFIED)


def test_polish_is_one_small_newton_step():
    problem = FunctionProblem(lambda p: (p**2).sum(), 2)
    rough = torch.full((1, 2), 1e-9).double() + torch.tensor([1.0, 0.0])
    moved = FunctionProblem(lambda p: ((p - torch.tensor([1.0, 0.0])) ** 2).sum(), 2)
    assert float(certify(moved, rough).certificate.gradient[0]) < 1e-15
    assert certify(problem, rough).theta.tolist() == rough.tolist()  # a long way: not the same point


def test_constant_predictors_are_named():
    objective = sinc(4, l2=1e-4)
    dead = torch.zeros(1, objective.size).double()
    dead[0, -1] = objective.outputs(torch.zeros(objective.size).double()).mean()
    assert certify(ObjectiveProblem(objective), dead).kind == ("constant predictor",)
    alive = search(objective, objective.initial(1, seed=3))
    assert alive.kind == ("generic",)


def test_only_and_joined():
    problem = FunctionProblem(lambda p: (p**2).sum(), 2)
    theta = torch.arange(6.0).double().reshape(3, 2)
    history = ((torch.arange(3.0), torch.arange(3.0)),)
    points = certify(problem, Search(theta, torch.arange(3), torch.zeros(3), history), polish=False)
    chosen = points.only([2, 0])
    assert chosen.theta.tolist() == [[4.0, 5.0], [0.0, 1.0]]
    assert chosen.iterations.tolist() == [2, 0]
    assert chosen.history[0][0].tolist() == [2.0, 0.0]
    both = chosen.joined(points.only([1]))
    assert both.theta.tolist() == [[4.0, 5.0], [0.0, 1.0], [2.0, 3.0]]
    assert both.certificate.loss.tolist() == [41.0, 1.0, 13.0]
    assert len(both.status) == len(both.message) == len(both.kind) == 3

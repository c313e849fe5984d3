"""What the classic scripts report at points of small gradient norm, and why the certificate refuses it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests import reference
from tests.critical.cases import sinc
from thalweg.critical import CriticalPoints, ObjectiveProblem, Status, certify, gradient_norm_adam
from thalweg.objective import Objective
from thalweg.training import Recipe, train


@pytest.fixture(scope="module")
def ends() -> tuple[Objective, CriticalPoints]:
    """Three trainings of the course's 571-parameter network, then its gradient-norm phase, both shortened."""
    objective = sinc(5, 10, 10, 10, 10, 10, 5, l2=0.0, phi=nn.ReLU)
    assert objective.size == 571
    trained = train(objective, objective.initial(3, seed=1), Recipe(steps=300)).snapshots[-1].double()
    problem = ObjectiveProblem(objective)
    return objective, certify(problem, gradient_norm_adam(problem, trained, steps=200))


def test_the_strict_ratio_is_the_sign_of_rounding_noise(ends):
    """Float32 rows through the non-symmetric `eigvals`, as in the scripts, against float64 through `eigvalsh`."""
    objective, points = ends
    alive = (points.certificate.loss < 0.05).nonzero()[:, 0].tolist()
    assert len(alive) == 2
    for r in alive[:1]:
        theta = points.theta[r]
        single = reference.hessian(objective.to(dtype=torch.float32), theta.float())
        double = torch.linalg.eigvalsh(reference.hessian(objective, theta))
        classic = float((torch.linalg.eigvals(single).real > 0).double().mean())
        exact = float((double > 0).double().mean())
        assert abs(classic - exact) > 0.1
        assert float((double.abs() <= 1e-8 * double.abs().max()).double().mean()) > 0.5
        undecided = int(points.certificate.undecided[r] + points.certificate.symmetric[r])
        assert undecided > 0.5 * objective.size  # the certificate refuses what both ratios claim to know


def test_the_outlier_at_the_variance_of_the_target_is_a_dead_network(ends):
    objective, points = ends
    _, y = objective.batches.held[0]
    dead = [r for r, kind in enumerate(points.kind) if kind == "constant predictor"]
    assert len(dead) == 1
    assert float(points.certificate.loss[dead[0]]) == pytest.approx(float(y.var(correction=0)), rel=0.01)


def test_no_ratio_is_given_there(ends):
    _, points = ends
    for r, kind in enumerate(points.kind):
        if kind == "constant predictor":  # critical indeed, and all but one of its modes say nothing
            assert points.status[r] is Status.DEGENERATE
            assert int(points.certificate.positive[r]) <= 2
        else:
            assert points.status[r] in (Status.DESCENDING, Status.GRADIENT_FLAT)
            assert bool(points.minimal_ratio[r].isnan())
            assert float(points.certificate.gradient[r]) > 1e-4
    assert all("piecewise linear (ReLU)" in message for message in points.message)


def test_the_gradient_norm_phase_is_no_descent_of_the_loss():
    """Assigning the norm to `loss.data` keeps the gradients of the loss; ours differentiates the norm itself."""
    objective = sinc(3, l2=0.0)
    problem = ObjectiveProblem(objective)
    theta = objective.initial(3, seed=1)
    leaf = theta.clone().requires_grad_()
    total = torch.zeros(())
    for r in range(3):
        net = objective.module(theta[r])
        params = objective.layout.unravel(leaf[r])
        x, y = objective.batches.held[0]
        loss = ((torch.func.functional_call(net, params, (x,)) - y) ** 2).mean()
        (g,) = torch.autograd.grad(loss, leaf, create_graph=True)
        total = total + 0.5 * g.square().sum()
    (expected,) = torch.autograd.grad(total, leaf)
    torch.testing.assert_close(problem.value_gradient_product(theta)[2], expected, atol=1e-12, rtol=1e-9)
    found = gradient_norm_adam(problem, theta, steps=100, lr=1e-2)
    assert bool((found.history[-1][1] < found.history[0][1]).all())

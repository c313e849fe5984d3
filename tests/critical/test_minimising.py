"""The minimiser reaches certified minima of the course's small networks."""

from __future__ import annotations

import torch

from tests.critical.cases import sinc
from thalweg.critical import ObjectiveProblem, Status, certify, levenberg_on_loss, minimise


def test_minima_of_the_33_parameter_network():
    problem = ObjectiveProblem(sinc(4, 4, l2=1e-4))
    points = certify(problem, minimise(problem, problem.objective.initial(12, seed=77)))
    assert points.status.count(Status.MINIMUM) >= 11
    assert float(points.certificate.gradient.max()) <= 1e-10
    assert float(points.certificate.kantorovich.max()) < 0.25


def test_history_follows_the_replicas_through_the_rounds():
    problem = ObjectiveProblem(sinc(3, l2=1e-3))
    theta = problem.objective.initial(4, seed=1)
    found = minimise(problem, theta)
    assert len(found.history) >= int(found.iterations.max())
    values = torch.stack([value for value, _ in found.history])
    norms = torch.stack([norm for _, norm in found.history])
    torch.testing.assert_close(values[-1], problem.value_and_gradient(found.theta)[0], rtol=1e-9, atol=0)
    assert bool((norms[-1] <= 1e-10).all())
    assert bool((values.diff(dim=0) <= 1e-12).all())


def test_budget_is_kept():
    problem = ObjectiveProblem(sinc(4, 4))
    found = levenberg_on_loss(problem, problem.objective.initial(3), steps=7)
    assert found.iterations.tolist() == [7, 7, 7]
    assert len(found.history) == 7

"""New starts for replicas that wander: only for those, and the same whatever the others do."""

from __future__ import annotations

import torch

from tests.critical.cases import sinc
from thalweg.critical import ObjectiveProblem, follow, follow_again, steepest_descent


def test_only_the_unfinished_start_again():
    problem = ObjectiveProblem(sinc(4, 4, l2=1e-3, points=32))
    theta = problem.objective.initial(6, seed=3)
    once = follow(problem, theta, 1, steps=60)
    ends = once.history[-1][1] <= 1e-10
    assert 0 < int(ends.sum()) < 6, "the case must have both kinds"
    again = follow_again(problem, theta, 1, steps=60, restarts=2)
    assert torch.equal(again.theta[ends], once.theta[ends])
    assert torch.equal(again.iterations[ends], once.iterations[ends])
    assert bool((again.iterations[~ends] > once.iterations[~ends]).all())
    torch.testing.assert_close(again.history[-1][0], problem.value_and_gradient(again.theta)[0])
    alone = follow_again(problem, theta[:1], 1, steps=60, restarts=2)
    torch.testing.assert_close(alone.theta[0], again.theta[0], atol=1e-6, rtol=1e-6)


def test_no_restart_is_follow():
    problem = ObjectiveProblem(sinc(3, points=32))
    theta = problem.objective.initial(2, seed=3)
    plain, none = follow(problem, theta, 1, steps=10), follow_again(problem, theta, 1, steps=10, restarts=0)
    assert torch.equal(plain.theta, none.theta)


def test_an_approach_goes_down_first():
    problem = ObjectiveProblem(sinc(3, points=32))
    theta = problem.objective.initial(2, seed=3)
    down = steepest_descent(problem, theta, steps=5, length=0.3)
    expected = follow(problem, down.theta, 1, steps=10)
    found = follow_again(problem, theta, 1, steps=10, restarts=0, approach=5)
    assert torch.equal(found.theta, expected.theta)
    assert torch.equal(found.iterations, down.iterations + expected.iterations)
    assert len(found.history) == len(down.history) + len(expected.history)

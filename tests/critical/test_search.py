"""Every method: bad input named in a sentence, and one bad replica that touches no other."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.critical.cases import linear, sinc
from thalweg.critical import METHODS, FunctionProblem, ObjectiveProblem, Status, as_problem, follow, search
from thalweg.errors import InputError

FEW = {"gradient-norm-adam": 30, "gradient-norm-lbfgs": 10, "levenberg-on-gradient": 10, "saddle-free": 10}


def options(method):
    return {"steps": FEW[method]} if method in FEW else ({"first": 30, "second": 10} if method == "minimise" else {})


def limited(method):
    return {"steps": 15} if method in ("follow", "newton", "natural", "levenberg-on-loss") else options(method)


@pytest.mark.parametrize("method", METHODS)
def test_one_nan_replica_leaves_the_others_alone(method):
    objective = sinc(3, points=32)
    theta = objective.initial(3, seed=4)
    clean = search(objective, theta, method, **limited(method))
    theta[1, 0] = torch.nan
    points = search(objective, theta, method, **limited(method))
    assert points.status[1] is Status.DIVERGED
    assert "not finite" in points.message[1]
    for r in (0, 2):
        torch.testing.assert_close(points.theta[r], clean.theta[r], rtol=1e-6, atol=1e-6)
        assert points.status[r] is clean.status[r]
    assert bool(points.minimal_ratio[1].isnan())


@pytest.mark.parametrize("method", METHODS)
def test_all_replicas_infinite(method):
    objective = sinc(3, points=32)
    theta = objective.initial(2)
    theta[:] = torch.inf
    assert set(search(objective, theta, method, **limited(method)).status) == {Status.DIVERGED}


@pytest.mark.parametrize("method", METHODS)
def test_one_replica_whose_products_overflow_leaves_the_others_alone(method):
    """Finite weights, and a network that computes infinity; linear, so that its orbits are decomposed too."""
    x = torch.randn(9, 3, generator=torch.Generator().manual_seed(0)).double()
    objective = linear(3, 2, 3, target=x * torch.tensor([1.0, 2.0, 3.0]), inputs=x)
    theta = objective.initial(3, seed=4)
    clean = search(objective, theta, method, **limited(method))
    theta[1] *= 1e200
    points = search(objective, theta, method, **limited(method))
    assert points.status[1] is Status.DIVERGED
    assert points.kind[1] == "generic"
    for r in (0, 2):
        torch.testing.assert_close(points.theta[r], clean.theta[r], rtol=1e-6, atol=1e-6)
        assert points.status[r] is clean.status[r]


@pytest.mark.parametrize("method", [m for m in METHODS if m != "levenberg-on-loss"])
def test_a_hessian_that_is_not_finite(method):
    """|x|^{3/2} has a gradient at 0, but no second derivative."""
    problem = FunctionProblem(lambda x: x[0].abs() ** 1.5 + x[0] + x[1] ** 2, 2)
    theta = torch.tensor([[0.0, 1.0], [-1.0, 1.0]]).double()
    points = search(problem, theta, method, **limited(method))
    assert points.status[0] is Status.DIVERGED or bool(points.theta[0, 0] != 0)
    assert points.status[1] is not Status.DIVERGED


def test_bad_input():
    objective = sinc(3)
    theta = objective.initial(2)
    with pytest.raises(InputError, match=r"method must be one of .* found 'minimize', did you mean 'minimise'"):
        search(objective, theta, "minimize")
    with pytest.raises(InputError, match="index must be from 0 to P = 10, found 11"):
        search(objective, theta, "follow", index=11)
    with pytest.raises(InputError, match="index must be from 0 to P = 10, found -1"):
        search(objective, theta, "follow", index=torch.tensor([-1, 2]))
    with pytest.raises(InputError, match=r"theta must have shape \(R, 10\), found \(2, 9\)"):
        search(objective, theta[:, 1:])
    with pytest.raises(InputError, match="theta must hold at least one start"):
        search(objective, theta[:0])
    with pytest.raises(InputError, match="objective must be an Objective or a Problem, found Linear"):
        as_problem(nn.Linear(1, 1))  # pyrefly: ignore[bad-argument-type]
    with pytest.raises(InputError, match=r"index must be one number or have shape \(2,\), found \(3,\)"):
        search(objective, theta, "follow", index=torch.tensor([0, 1, 1]))


def test_index_per_replica():
    objective = sinc(4, 4, l2=1e-3, points=32)
    wanted = torch.tensor([0, 1, 2, 0, 1, 2])
    points = search(objective, objective.initial(6, seed=1), "follow", index=wanted)
    there = points.certificate.gradient < 1e-10
    assert int(there.sum()) >= 5
    assert points.certificate.negative[there].tolist() == wanted[there].tolist()


def test_float32_objective_is_computed_in_float64():
    objective = sinc(3).to(dtype=torch.float32)
    points = search(objective, objective.initial(2, seed=1))
    assert points.theta.dtype == torch.float64
    assert float(points.certificate.gradient.max()) < 1e-10


def test_replicas_do_not_see_each_other():
    problem = ObjectiveProblem(sinc(3, l2=1e-3))
    theta = problem.objective.initial(3, seed=6)
    together = follow(problem, theta, 1, steps=12).theta
    for r in range(3):
        torch.testing.assert_close(follow(problem, theta[r : r + 1], 1, steps=12).theta[0], together[r])


def test_relu_names_its_kinks():
    objective = sinc(3, phi=nn.ReLU)
    points = search(objective, objective.initial(3, seed=2), "follow", index=1, steps=20)
    assert all("piecewise linear (ReLU)" in message for message in points.message)


def test_without_decay_the_message_says_what_is_missing():
    objective = sinc(4, 4, l2=0.0)
    points = search(objective, objective.initial(3, seed=3), "minimise", first=60, second=5)
    for r, status in enumerate(points.status):
        assert status in (Status.DESCENDING, Status.GRADIENT_FLAT)
        assert "without weight decay" in points.message[r]
        assert "‖θ‖ = " in points.message[r]
        assert "loss" in points.message[r]
    assert bool(points.minimal_ratio.isnan().all())

"""The path of steepest descent against SciPy's stiff integrator, and the graph that walks along it make."""

from __future__ import annotations

import pytest
import torch
from scipy.integrate import solve_ivp

from tests.critical.cases import sinc
from thalweg.critical import (
    FunctionProblem,
    Status,
    as_problem,
    descend,
    distinct,
    same_points,
    search,
    solution_landscape,
    steepest_descent,
)


def integrated(problem, start, stop=1e-5):
    """The end of dθ/dt = −∇f where ‖∇f‖ has fallen to `stop`."""

    def slope(_, x):
        return -problem.value_and_gradient(torch.tensor(x)[None])[1][0].numpy()

    def jacobian(_, x):
        return -problem.hessian(torch.tensor(x)[None])[2][0].numpy()

    def arrived(t, x):
        g = slope(t, x)
        return float(g @ g) ** 0.5 - stop

    arrived.terminal = True
    found = solve_ivp(slope, (0, 1e7), start.numpy(), method="BDF", jac=jacobian, rtol=1e-6, atol=1e-9, events=arrived)
    return torch.tensor(found.y[:, -1])


def test_a_network_goes_where_the_flow_goes():
    problem = as_problem(sinc(2, l2=1e-2, points=32))
    starts = problem.objective.initial(2, seed=11)
    found = steepest_descent(problem, starts)
    assert int(found.iterations.max()) < 400
    for start, end in zip(starts, found.theta, strict=True):
        torch.testing.assert_close(end, integrated(problem, start), atol=3e-3, rtol=0)


@pytest.mark.parametrize("stiffness", [1.0, 1e5])
def test_a_curved_ravine_is_followed_to_its_end(stiffness):
    """Rosenbrock's valley: the loss falls in every step, however steep the walls."""
    problem = FunctionProblem(lambda x: (1 - x[0]) ** 2 + stiffness * (x[1] - x[0] ** 2) ** 2, 2)
    found = steepest_descent(problem, torch.tensor([[-1.2, 1.0]]).double(), steps=1000)
    assert int(found.iterations) < 400
    assert found.theta[0].tolist() == pytest.approx([1.0, 1.0], abs=1e-5)
    losses = torch.stack([value[0] for value, _ in found.history])
    assert bool((losses[1:] <= losses[:-1]).all())


def test_it_leaves_a_saddle_to_the_side_where_it_starts():
    problem = FunctionProblem(lambda x: (x[0] ** 2 - 1) ** 2 + x[1] ** 2, 2)
    starts = torch.tensor([[1e-7, 1.0], [-1e-7, 1.0]]).double()
    assert steepest_descent(problem, starts).theta[:, 0].tolist() == pytest.approx([1.0, -1.0], abs=1e-5)


def test_replicas_do_not_see_each_other_nor_a_bad_one():
    problem = as_problem(sinc(3, points=32, l2=1e-3))
    theta = problem.objective.initial(3, seed=4)
    theta[1, 0] = torch.nan
    together = steepest_descent(problem, theta, steps=30)
    assert bool(together.theta[1].isnan().any())
    for r in (0, 2):
        torch.testing.assert_close(steepest_descent(problem, theta[r : r + 1], steps=30).theta[0], together.theta[r])


def test_copies_under_permutations_and_sign_flips_are_one_point():
    problem = as_problem(sinc(3, points=32, l2=1e-3))
    theta = search(problem, problem.objective.initial(1, seed=4)).theta[0]
    weight, bias, last, end = theta[:3], theta[3:6], theta[6:9], theta[9:]
    order, flip = [2, 0, 1], torch.tensor([1.0, -1.0, 1.0]).double()
    copy = torch.cat([(weight * flip)[order], (bias * flip)[order], (last * flip)[order], end])
    other = torch.zeros_like(theta)
    points = search(problem, torch.stack([theta, copy, other, theta]), "newton", steps=20)
    unique, place = distinct(points)
    assert place == [0, 0, 1, 0]
    assert len(unique.status) == 2
    assert not same_points(points, 0, points, 2)


def test_the_graph_of_a_network():
    """Every walk ends in a lower, certified minimum, and equal ends are one node."""
    problem = as_problem(sinc(3, l2=1e-3, points=32))
    starts = problem.objective.initial(6, seed=4)
    points = search(problem, starts, "follow", index=torch.tensor([0, 1, 1, 2, 2, 0]))
    graph = solution_landscape(points, descents := descend(problem, points))
    negative = graph.points.certificate.negative
    assert len(graph.edges) + graph.lost == len(descents.ends.status)
    assert graph.edges
    for edge in graph.edges:
        assert graph.points.status[edge.source] is Status.SADDLE
        assert graph.points.status[edge.target] is Status.MINIMUM
        assert edge.mode < int(negative[edge.source])
        assert float(graph.points.certificate.loss[edge.target]) < float(graph.points.certificate.loss[edge.source])
    for r, place in enumerate(graph.place):
        assert same_points(points, r, graph.points, place)
    assert len(distinct(graph.points)[0].status) == len(graph.points.status)


def test_a_walk_begins_below_its_saddle():
    """A shallow mode between steep outer walls: a displacement of 0.01 would jump over the wells beside the saddle."""
    problem = FunctionProblem(lambda x: 1e-8 * (torch.cos(2000 * x[0]) - 1) + 1e-3 * x[0] ** 2 + x[1] ** 2, 2)
    saddle = search(problem, torch.tensor([[1e-5, 0.0]]), "follow", index=1, radius=1e-4)
    assert saddle.status == (Status.SADDLE,)
    ends = descend(problem, saddle, push=1e-2).ends
    assert ends.status == (Status.MINIMUM,) * 2
    assert bool((ends.certificate.loss < 0).all())
    assert ends.theta[:, 0].abs().tolist() == pytest.approx([1.5e-3] * 2, rel=0.05)

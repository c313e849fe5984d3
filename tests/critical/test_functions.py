"""Functions of two variables with known critical points."""

from __future__ import annotations

import pytest
import torch

from tests.critical.cases import MINIMA, SADDLES, mueller_brown, nearest_of
from thalweg.critical import (
    FunctionProblem,
    Status,
    certify,
    descend,
    follow,
    levenberg_on_gradient,
    lower_saddles,
    minimise,
    saddle_free,
    search,
    solution_landscape,
)
from thalweg.errors import InputError


def grid():
    x, y = torch.linspace(-1.4, 1.0, 6).double(), torch.linspace(-0.3, 1.9, 6).double()
    return torch.cartesian_prod(x, y)


def found_places(points, status, places):
    rows = [r for r, s in enumerate(points.status) if s is status]
    near = [nearest_of(points, r, places) for r in rows]
    return near, rows


def test_mueller_brown_minima():
    points = search(mueller_brown(), grid(), "newton")
    near, rows = found_places(points, Status.MINIMUM, MINIMA)
    assert {place for place, _ in near} == {0, 1, 2}
    assert max(distance for _, distance in near) < 1e-8
    assert len(rows) >= 0.9 * len(points.status)


def test_mueller_brown_saddles():
    points = search(mueller_brown(), grid(), "follow", index=1, restarts=0, steps=100)
    near, rows = found_places(points, Status.SADDLE, SADDLES)
    assert {place for place, _ in near} == {0, 1}
    assert max(distance for _, distance in near) < 1e-8
    assert all(int(points.certificate.negative[r]) == 1 for r in rows)
    assert Status.MINIMUM not in points.status


def test_descents_from_the_saddles_reach_the_known_minima():
    problem = mueller_brown()
    points = search(problem, torch.tensor(SADDLES) + 0.01, "follow", index=1)
    graph = solution_landscape(points, descend(problem, points))
    assert graph.lost == 0
    assert len(graph.points.status) == 5
    joined = {
        (nearest_of(graph.points, e.source, SADDLES)[0], nearest_of(graph.points, e.target, MINIMA)[0])
        for e in graph.edges
    }
    assert joined == {(0, 0), (0, 1), (1, 1), (1, 2)}


def test_other_methods_agree():
    problem = mueller_brown()
    near_minimum = torch.tensor([MINIMA[0]]).double() + 0.02
    for method in (minimise, saddle_free, levenberg_on_gradient):
        points = certify(problem, method(problem, near_minimum))
        assert points.status == (Status.MINIMUM,)
        assert nearest_of(points, 0, MINIMA)[1] < 1e-8
    near_saddle = torch.tensor([SADDLES[1]]).double() + 1e-3
    assert certify(problem, levenberg_on_gradient(problem, near_saddle)).status == (Status.SADDLE,)
    away = certify(problem, saddle_free(problem, near_saddle))
    assert away.status == (Status.MINIMUM,)


def test_monkey_saddle_is_degenerate():
    problem = FunctionProblem(lambda p: p[0] ** 3 - 3 * p[0] * p[1] ** 2, 2)
    points = certify(problem, torch.zeros(1, 2).double())
    assert points.status == (Status.DEGENERATE,)
    assert "2 of 2 modes undecided" in points.message[0]
    assert points.minimal_ratio.tolist() == [0.0]
    near = search(problem, torch.tensor([[0.2, 0.1]]), "levenberg-on-gradient")
    assert near.status[0] not in (Status.MINIMUM, Status.SADDLE, Status.MAXIMUM)


def test_flat_minimum_is_degenerate():
    problem = FunctionProblem(lambda p: p[0] ** 2 + p[1] ** 4, 2)
    points = certify(problem, torch.zeros(1, 2).double())
    assert points.status == (Status.DEGENERATE,)
    assert (int(points.certificate.positive[0]), int(points.certificate.undecided[0])) == (1, 1)


def test_maximum_and_every_index_in_three_dimensions():
    problem = FunctionProblem(lambda p: torch.cos(p[0]) + torch.cos(1.1 * p[1]) + torch.cos(1.3 * p[2]), 3)
    starts = 0.2 * torch.ones(1, 3).double()
    top = certify(problem, follow(problem, starts, 3))
    assert top.status == (Status.MAXIMUM,)
    assert top.theta.abs().max() < 1e-12
    walked = lower_saddles(problem, certify(problem, follow(problem, starts + torch.tensor([3.0, 0, 0]), 2)))
    assert set(walked.certificate.negative.tolist()) == {0, 1}
    assert set(walked.status) == {Status.MINIMUM, Status.SADDLE}


def test_descend_needs_a_saddle():
    problem = mueller_brown()
    points = search(problem, torch.tensor([MINIMA[0]]), "newton")
    with pytest.raises(InputError, match="certified saddle, found minimum"):
        descend(problem, points)

"""Directions that were given or found by solutions and gradient: geometry, and what is refused."""

from __future__ import annotations

import pytest
import torch

from tests.landscape.functions import objective_of, relu_network, rosenbrock
from thalweg.errors import InputError
from thalweg.landscape import Directions, gradient_direction, solution_directions


def askew() -> Directions:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(3, 7, generator=generator, dtype=torch.float64)
    vectors[1] += 2 * vectors[0]
    return Directions(vectors, ("a", "b", "c"))


def test_projection_is_the_nearest_point() -> None:
    directions = askew()
    coordinates = torch.tensor([[0.5, -1.0, 2.0], [0, 0, 0]], dtype=torch.float64)
    normal = torch.linalg.svd(directions.vectors).Vh[3]  # a unit vector orthogonal to all
    found, away = directions.project(coordinates @ directions.vectors + torch.tensor([[1.5], [0.0]]) * normal)
    torch.testing.assert_close(found, coordinates)
    torch.testing.assert_close(away, torch.tensor([1.5, 0.0], dtype=torch.float64))


def test_orthogonalised_directions_span_the_same_plane() -> None:
    directions = askew()
    made = directions.orthogonalized()
    torch.testing.assert_close(made.cosines, torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(made.vectors[0], directions.vectors[0])
    assert directions.project(made.vectors)[1].max() < 1e-12
    assert any("Orthogonalised" in note for note in made.notes)


def test_centre_is_met_exactly() -> None:
    theta = torch.randn(7)
    directions = Directions(torch.randn(2, 7), ("a", "b"))
    assert torch.equal(directions.points(theta, torch.zeros(4, 2, dtype=torch.float64)), theta.expand(4, 7))


def test_solutions_lie_where_they_should() -> None:
    a, b, c = torch.randn(3, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    line = solution_directions(a, b)
    torch.testing.assert_close(line.points(a, torch.tensor([[0.0], [1.0]])), torch.stack([a, b]))
    skew = solution_directions(a, b, c, orthogonal=False)
    torch.testing.assert_close(skew.points(a, torch.eye(2)), torch.stack([b, c]))
    plane = solution_directions(a, b, c)
    assert abs(plane.cosines[0, 1]) < 1e-12
    coordinates, away = plane.project(torch.stack([b - a, c - a]))
    torch.testing.assert_close(coordinates[:, 1], torch.tensor([0.0, 1.0], dtype=torch.float64))
    assert away.max() < 1e-12


def test_gradient_points_uphill() -> None:
    theta = torch.tensor([0.3, -0.2], dtype=torch.float64)
    found = gradient_direction(objective_of(rosenbrock, theta), theta)
    x, y = theta.tolist()
    gradient = torch.tensor([-2 * (1 - x) - 400 * x * (y - x * x), 200 * (y - x * x)], dtype=torch.float64)
    torch.testing.assert_close(found.vectors[0], gradient / gradient.norm())


def test_gradient_of_some_parameters() -> None:
    objective = relu_network(4, 5, 3)
    found = gradient_direction(objective, objective.theta, "2.*").vectors[0]
    whole = objective.gradient(objective.theta)
    assert found[:20].abs().max() == 0
    torch.testing.assert_close(found[20:], whole[20:] / whole[20:].norm())


def test_no_gradient_no_direction() -> None:
    theta = torch.ones(2, dtype=torch.float64)
    with pytest.raises(InputError, match="gradient that is not zero, found one of norm 0"):
        gradient_direction(objective_of(rosenbrock, theta), theta)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (torch.zeros(2, 5) + torch.eye(2, 5) * torch.tensor([[1.0], [0.0]]), "not zero, found 'b' of length 0"),
        (torch.tensor([[1.0, 2, 3], [2, 4, 6]]), "must not be parallel"),
        (torch.tensor([[1.0, 2, 3], [-0.1, -0.2, -0.3]]), "must not be parallel"),
        (torch.tensor([[1.0], [2.0]]), "must not be parallel .* in 1 dimensions"),
        (torch.tensor([[1.0, torch.nan], [0, 1]]), "must be finite and not zero, found 'a'"),
        (torch.ones(2, 0), r"shape \(K, P\), neither empty, found \(2, 0\)"),
        (torch.ones(5), r"shape \(K, P\), neither empty, found \(5,\)"),
        (torch.ones(2, 5, dtype=torch.int64), "floating-point numbers, found torch.int64"),
        (torch.ones(1, 5), "one for each of the 1 directions, found 2"),
    ],
)
def test_bad_vectors(vectors: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Directions(vectors, ("a", "b"))


def test_nearly_parallel_is_a_plane() -> None:
    """An angle of 1e-3 is small but no rounding."""
    found = Directions(torch.tensor([[1.0, 0.0], [1.0, 1e-3]]), ("a", "b"))
    assert 0 < 1 - float(found.cosines[0, 1]) < 1e-6


@pytest.mark.parametrize(
    ("solutions", "message"),
    [
        ((torch.ones(3), torch.ones(4)), r"same architecture\), found \(3,\) and \(4,\)"),
        ((torch.ones(3), torch.ones(3)), "a and b must differ"),
        ((torch.zeros(3), torch.ones(3), torch.zeros(3)), "a and c must differ"),
        ((torch.zeros(3), torch.ones(3), torch.full((3,), 0.5)), "must not be parallel"),
        ((torch.zeros(3), torch.ones(3), torch.ones(2)), r"a and c must be vectors of one length"),
    ],
)
def test_bad_solutions(solutions: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        solution_directions(*solutions)

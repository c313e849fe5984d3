"""Paths against their formulas, lengths against fine polygons, exact ends."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from scipy.integrate import quad

from thalweg.errors import InputError
from thalweg.landscape.paths import Path


def points(count: int, *lead: int, size: int = 7) -> torch.Tensor:
    return torch.randn(count, *lead, size, dtype=torch.float64, generator=torch.manual_seed(3))


def test_quadratic_bezier_is_the_formula_of_garipov() -> None:
    p = points(3, 2)
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    expected = torch.stack([(1 - s) ** 2 * p[0] + 2 * s * (1 - s) * p[1] + s**2 * p[2] for s in t])
    torch.testing.assert_close(Path(p, "bezier").at(t), expected)


def test_polygon_is_straight_between_its_points() -> None:
    p = points(3)
    found = Path(p, "polygon").at([0.0, 0.25, 0.5, 0.75, 1.0, 1.5])
    expected = torch.stack([p[0], (p[0] + p[1]) / 2, p[1], (p[1] + p[2]) / 2, p[2], 2 * p[2] - p[1]])
    torch.testing.assert_close(found, expected)


def test_alpha_zero_is_the_first_point() -> None:
    p = points(2)
    torch.testing.assert_close(Path(p).at([-1.0, 2.0]), torch.stack([2 * p[0] - p[1], 2 * p[1] - p[0]]))


@pytest.mark.parametrize(("kind", "count"), [("line", 2), ("bezier", 2), ("bezier", 4), ("polygon", 2), ("polygon", 5)])
def test_ends_are_the_points_bit_for_bit(kind: str, count: int) -> None:
    p = points(count, 3).float() / 3
    p[:, 1] *= 1e30
    p[1:-1, 2] = torch.inf  # what is not finite in between leaves the ends alone
    found = Path(p, kind).at([0.0, 0.3, 1.0])
    assert torch.equal(found[0], p[0])
    assert torch.equal(found[2], p[-1])


@pytest.mark.parametrize(("kind", "count"), [("line", 2), ("bezier", 3), ("bezier", 5), ("polygon", 4)])
def test_length_and_arc(kind: str, count: int) -> None:
    """Against the integral of the speed, by adaptive quadrature, pair by pair."""
    p = points(count, 2)
    path, t = Path(p, kind), torch.tensor([0.0, 0.13, 0.5, 0.9, 1.0], dtype=torch.float64)
    knots = [k / (count - 1) for k in range(count)]
    for r in range(2):
        one = Path(p[:, r], kind)

        def speed(s: float, one: Path = one) -> float:
            return float((one.at([s + 1e-6]) - one.at([s - 1e-6])).norm()) / 2e-6

        def way(stop: float, speed=speed) -> float:
            return sum(quad(speed, min(a, stop), min(b, stop))[0] for a, b in pairwise(knots))

        total = way(1.0)
        assert float(path.length[r]) == pytest.approx(total, rel=1e-6)
        expected = torch.tensor([way(float(s)) / total for s in t], dtype=torch.float64)
        torch.testing.assert_close(path.arc(t)[:, r], expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(path.distance, (p[-1] - p[0]).norm(dim=-1))


def test_arc_beyond_the_ends() -> None:
    assert Path(points(2)).arc([-1.0, 0.5, 2.0]).tolist() == [-1.0, 0.5, 2.0]
    corner = Path(torch.tensor([[0.0, 0.0], [3.0, 0.0], [3.0, 1.0]]), "polygon")
    torch.testing.assert_close(corner.arc([-0.5, 0.5, 1.5]), torch.tensor([-0.75, 0.75, 1.25], dtype=torch.float64))


def test_a_path_of_no_length_has_no_arc() -> None:
    assert math.isnan(Path(points(1).expand(2, -1)).arc([0.5]).item())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Path(points(1)), "points must have shape .* K at least 2, found \\(1, 7\\)"),
        (lambda: Path(points(3)), "a line must have two points, found 3"),
        (lambda: Path(points(3), "bezir"), "kind must be one of line, bezier, polygon, found 'bezir', did you mean"),
        (lambda: Path(points(2)).at([]), "t must be a list of at least one number"),
        (lambda: Path(points(2)).at([0.0, math.nan]), "t must be finite, found nan"),
        (lambda: Path(points(3), "bezier").arc([1.5]), "t must lie in \\[0, 1\\] on a Bézier curve, found 1.5"),
    ],
)
def test_refusals(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()

"""Grids: the centre on every axis, ranges by the rise of a known function, refinement where it is steep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.errors import InputError
from thalweg.landscape.grid import Grid, given_axes, refined, risen_range


@given(st.integers(2, 60), st.just(0.0) | st.floats(-1e3, -1e-3), st.just(0.0) | st.floats(1e-3, 1e3))
def test_ends_and_centre_are_met_exactly(points: int, low: float, high: float) -> None:
    if low == 0 == high or (points == 2 and low < 0 < high):
        return
    (axis,) = Grid(points=points, span=(low, high)).axes(1)
    assert len(axis) == points
    assert axis[0] == low
    assert axis[-1] == high
    assert (axis == 0).sum() == 1
    assert (np.diff(axis) > 0).all()


def test_an_odd_symmetric_axis_is_even() -> None:
    (axis,) = Grid(points=51).axes(1)
    np.testing.assert_allclose(axis, np.linspace(-1, 1, 51), atol=1e-15)


def test_every_axis_its_own() -> None:
    first, second = Grid(points=(3, 5), span=((-1, 2), (0.0, 4.0))).axes(2)
    np.testing.assert_array_equal(first, [-1, 0, 2])
    np.testing.assert_array_equal(second, [0, 1, 2, 3, 4])


def test_given_points_get_the_centre() -> None:
    (axis,) = given_axes([[-2.0, 0.5]], 1)
    np.testing.assert_array_equal(axis, [-2, 0, 0.5])


def test_range_of_a_function_that_is_known() -> None:
    """2·x² from -2 upwards along the first axis; along the second a wall at 3 and no rise on the other side."""

    def function(p: np.ndarray) -> np.ndarray:
        return 2 * p[:, 0] ** 2 - 2 + np.where(p[:, 1] > 3, np.inf, -(p[:, 1] ** 2) * 1e-9)

    spans, notes = risen_range(function, 0.5, [1.0, 2.0])
    for end in (-spans[0][0], spans[0][1]):
        assert 0.5 <= end < 0.5 * 1.05
    low, high = spans[1]
    assert 3 < high < 3.15
    assert low == -high
    assert "risen by 0.5" in notes[0]
    assert "downwards it does not within 16, where the axis ends as far away as on the other side" in notes[1]


def test_range_without_any_rise() -> None:
    spans, notes = risen_range(lambda p: -np.abs(p[:, 0]), 0.5, [3.0])
    assert spans == [(-3.0, 3.0)]
    assert "downwards and upwards it does not within 24, where the axis ends at 3" in notes[0]


def test_refinement_adds_lines_where_it_is_steep() -> None:
    axes = Grid(points=(9, 5)).axes(2)
    x, y = np.meshgrid(*axes, indexing="ij")
    first, second = refined(axes, np.tanh(20 * (x - 0.4)) + 0 * y, Grid(change=0.2))
    np.testing.assert_array_equal(second, axes[1])
    assert set(np.round(set_difference(first, axes[0]), 3)) == {0.375}
    walls = refined(axes, np.where(y > 0.6, np.inf, 1.0), Grid())
    np.testing.assert_array_equal(set_difference(walls[1], axes[1]), [0.75])


def test_refinement_on_the_logarithm_sees_the_valley() -> None:
    axes = Grid(points=9).axes(1)
    values = 1e-6 + axes[0] ** 4
    linear = set_difference(refined(axes, values, Grid(change=0.3))[0], axes[0])
    valley = set_difference(refined(axes, values, Grid(change=0.3, scale="log"))[0], axes[0])
    assert np.abs(linear).min() > 0.5
    assert np.abs(valley).max() < 0.5


def set_difference(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    assert np.isin(old, new).all()
    return np.setdiff1d(new, old)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points": 1}, "points must be whole numbers of at least 2, found 1"),
        ({"points": ()}, "points must be whole numbers of at least 2"),
        ({"points": 5, "span": 1.0, "rise": 1.0}, "span and rise must not both be given"),
        ({"rise": 0.0}, "rise must be positive and finite, found 0"),
        ({"refine": -1}, "refine must not be negative, found -1"),
        ({"change": 1.0}, "change must lie between 0 and 1, found 1"),
        ({"scale": "logarithm"}, "scale must be 'linear' or 'log', found 'logarithm'"),
    ],
)
def test_bad_grids(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Grid(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points": (3, 4, 5)}, "points must be one number for each of the 2 directions"),
        ({"span": ((-1.0, 1.0),) * 3}, "span must give two ends for each of the 2 directions"),
        ({"span": (0.5, 1.0)}, "span must reach from a finite end below zero to one above, found 0.5 to 1"),
        ({"span": (-1.0, float("inf"))}, "found -1.0 to inf"),
        ({"span": 0.0}, "found -0.0 to 0.0"),
        ({"span": 1e308}, "span times the number of points must be finite, found -1e[+]308 to 1e[+]308 at 51 points"),
        ({"span": (0.0, 1.5e308)}, "span times the number of points must be finite, found 0.0 to 1.5e[+]308"),
        ({"span": ((-1e307, 1e307), (-1.0, 1.0)), "points": 9**9}, "at 387,420,489 points"),
        ({"span": 10**400}, "span must be finite numbers, found -1"),
        ({"span": (-1, 10**6000)}, "span must be finite numbers, found -1 to a number of thousands of digits"),
        ({"span": ("a", "b")}, "span must be finite numbers, found 'a' to 'b'"),
        ({"span": (None, 1.0)}, "span must be finite numbers, found None to 1.0"),
        ({"span": float("nan")}, "span must reach from a finite end below zero to one above, found nan to nan"),
        ({"points": 2}, "points must be at least 3 to meet both ends and zero, found 2"),
    ],
)
def test_grids_that_fit_no_plane(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Grid(**options).axes(2)


def test_large_spans_are_evenly_spaced() -> None:
    (axis,) = Grid(points=5, span=np.float32(1e38)).axes(1)
    assert axis.tolist() == [k * float(np.float32(1e38)) / 2 for k in range(-2, 3)]
    (axis,) = Grid(points=4, span=(-1e307, 2e307)).axes(1)
    assert axis.tolist() == [-1e307, 0.0, 1e307, 2e307]


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ([], "grid must have one axis for each of the 1 directions, found 0"),
        ([[]], r"grid\[0\] must be a list of coordinates that is not empty"),
        ([[1.0, 0.0]], r"grid\[0\] must be finite and ascending"),
        ([[0.0, np.nan]], r"grid\[0\] must be finite and ascending"),
    ],
)
def test_bad_points(axes: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        given_axes(axes, 1)

from __future__ import annotations

import math

import numpy as np
import pytest

from thalweg import InputError
from thalweg.tasks import TARGETS, target
from thalweg.tasks.functions import check_interval, sample_function

pi, sin, cos, exp = math.pi, math.sin, math.cos, math.exp


def sgn(value: float) -> float:
    return math.copysign(1.0, value) if value else 0.0


# Written out again from the formulas of the exercises, in plain Python.
FORMULAS = {
    "sinc": lambda x: sin(5 * pi * x) / (5 * pi * x),
    "sign-sin": lambda x: sgn(sin(5 * pi * x)),
    "sines": lambda x: sin(3 * pi * x) + sin(4 * pi * x),
    "exp-sin": lambda x: exp(sin(40 * x)) * math.log(x + 1),
    "step": lambda x: 1.0 if x >= 0.5 else 0.0,
    "chirp": lambda x: 4 * sin(exp(x / 8)) - 5 * cos(x) + exp(x / 8),
    "sign-cos": lambda x: sgn(cos(8 * pi * x)),
    "damped": lambda x: 10 * math.sqrt(x) * exp(-8 * x) * sin(6 * pi * (x - 0.25)),
    "stair": lambda x: (math.ceil(4 * x) - 2.5) / 1.5,
    "sinc4": lambda x: sin(4 * pi * x) / (4 * pi * x),
    "weierstrass": lambda x: sum(2.0**-n * cos(2**n * pi * x) for n in range(11)),
    "sin-tan": lambda x: sin(20 * pi * x) * math.tan(2 * pi * x),
    "polynomial": lambda x: x**5 - x**4 + x**3 - x**2 + x - 1,
}


@pytest.mark.parametrize("name", TARGETS)
def test_named_target_is_its_formula(name):
    goal = target(name)
    low, high = goal.interval
    x = np.random.default_rng(0).uniform(low, high, 200)  # away from the jumps and removable poles
    np.testing.assert_allclose(goal(x), [FORMULAS[name](value) for value in x], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("points", [2, 101, 128, 256, 1000, 1001])
def test_named_target_is_finite_on_every_grid(name, points):
    _, y = sample_function(target(name), None, points, rng=np.random.default_rng(0))
    assert np.isfinite(y).all()


def test_ends_and_poles():
    assert target("sinc")(0.0) == 1.0
    assert target("stair")(0.0) == -1.0  # no stray point below the lowest step
    assert target("sin-tan")(0.25) == pytest.approx(10.0, rel=1e-9)  # removable: the limit is 10
    assert target("chirp").interval == (0.0, 20.0)


def test_expression_in_place_of_a_name():
    goal = target(" x**2 ")
    assert (goal.name, goal.interval, float(goal(3.0))) == ("x**2", (0.0, 1.0), 9.0)


def test_unknown_name_offers_the_nearest():
    with pytest.raises(InputError, match="did you mean 'weierstrass'"):
        target("weierstras")


def test_uniform_grid_has_both_ends():
    x, y = sample_function(target("x"), (-1, 3), 5, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(x[:, 0], [-1, 0, 1, 2, 3])
    np.testing.assert_array_equal(x, y)
    assert x.dtype == np.float64


def test_random_points_are_sorted_seeded_and_uniform():
    def draw(seed):
        return sample_function(target("x"), (2, 4), 2000, random=True, rng=np.random.default_rng(seed))[0][:, 0]

    x = draw(0)
    np.testing.assert_array_equal(x, draw(0))
    assert not np.array_equal(x, draw(1))
    assert (np.diff(x) >= 0).all()
    from scipy.stats import kstest

    assert kstest((x - 2) / 2, "uniform").pvalue > 0.01


def test_noise_has_the_standard_deviation_asked_for():
    _, y = sample_function(target("0*x"), None, 20_000, noise=0.3, rng=np.random.default_rng(0))
    assert abs(y.mean()) < 5 * 0.3 / math.sqrt(20_000)
    assert y.std() == pytest.approx(0.3, rel=5 / math.sqrt(2 * 20_000))


@pytest.mark.parametrize("interval", [(1.0, 1.0), (2.0, 1.0), (0.0, math.inf), (math.nan, 1.0)])
def test_bad_interval(interval):
    with pytest.raises(InputError, match="interval must be two finite numbers, the lesser first"):
        check_interval(interval)


def test_target_that_is_not_finite_names_the_place():
    with pytest.raises(InputError, match=r"must be finite on \[0, 1\], found -inf at x = 0 \(1 of 11 points\)"):
        sample_function(target("log(x)"), None, 11, rng=np.random.default_rng(0))

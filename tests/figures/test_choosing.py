"""The colour scale follows the numbers, and says so."""

from __future__ import annotations

import numpy as np
import pytest

from thalweg.figures.choosing import chosen_axis, chosen_scale
from thalweg.figures.scales import drawn_limits, forward

R = np.linspace(0.0, 1.0, 400)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (R, "linear"),
        (2 - R**2, "linear"),
        (R**2, "power"),
        (1e-6 + R**8, "log"),
        (R**8, "power"),  # zero has no logarithm
        (R**8 - 0.5, "linear"),  # nor has what is negative
        (np.full(10, 3.0), "linear"),
        (np.array([np.nan, np.inf]), "linear"),
    ],
)
def test_scale_follows_the_numbers(values: np.ndarray, expected: str) -> None:
    scale, why = chosen_scale("loss", values)
    assert scale.scale == expected
    assert {"linear": "linear", "power": "power", "log": "logarithmic"}[expected] in why.split(":")[0]
    assert chosen_axis("loss", values).scale == expected


def test_every_value_has_a_place() -> None:
    values = np.concatenate([1e-6 + R**8, [np.nan, np.inf]])
    scale, _ = chosen_scale("loss", values)
    assert np.isfinite(forward(scale, values[:-2])).all()


def test_a_wall_of_a_few_cells_does_not_take_the_colours() -> None:
    values = np.concatenate([np.linspace(1.0, 2.0, 998), [1e30, 1e31]])
    scale, why = chosen_scale("loss", values)
    assert drawn_limits(scale, values)[1] < 2.0
    assert why.endswith("values, up to 10³¹, lie beyond.")
    assert chosen_scale("loss", values[:-2])[0].limits == (None, None)


@pytest.mark.parametrize(
    "values",
    [np.linspace(-1, 1, 9) * 1.79e308, np.arange(9) * 5e-324, 1 + np.arange(9) * 1e-16, np.geomspace(1e-300, 1e300, 9)],
    ids=["hugest", "subnormal", "rounding", "wide"],
)
def test_extreme_numbers_have_a_scale(values: np.ndarray) -> None:
    scale, why = chosen_scale("loss", values)
    assert scale.scale == ("log" if values[-1] == 1e300 else "linear")
    assert "nan" not in why

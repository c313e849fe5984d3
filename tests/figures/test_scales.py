"""Scales map numbers as their definition says; ticks and levels are round, inside and ordered."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.figures import Axis, ColourScale
from thalweg.figures.rulers import levels, ticks
from thalweg.figures.scales import drawn_limits, forward, inverse, number

SCALES = {
    "linear": Axis(),
    "log": Axis(scale="log"),
    "symlog": Axis(scale="symlog", within=1e-3),
    "power": Axis(scale="power", power=0.3),
}
POSITIVE = st.floats(1e-8, 1e8)


@pytest.mark.parametrize("name", SCALES)
@given(value=POSITIVE, sign=st.sampled_from([-1, 1]))
def test_inverse_undoes_forward(name: str, value: float, sign: int) -> None:
    value = value if name == "log" else sign * value
    np.testing.assert_allclose(inverse(SCALES[name], forward(SCALES[name], value)), value, rtol=1e-9, atol=1e-15)


def test_forward_by_definition() -> None:
    v = np.array([-2.0, 0.0, 5.0])
    np.testing.assert_allclose(forward(SCALES["log"], v), [np.nan, np.nan, np.log10(5)])
    np.testing.assert_allclose(forward(SCALES["symlog"], v), np.sign(v) * np.log10(1 + np.abs(v) / 1e-3))
    np.testing.assert_allclose(forward(SCALES["power"], v), np.sign(v) * np.abs(v) ** 0.3)
    assert np.isposinf(forward(SCALES["log"], np.inf))


@pytest.mark.parametrize("name", SCALES)
@given(low=POSITIVE, factor=st.floats(1.05, 1e6), count=st.integers(2, 12))
def test_ticks_and_levels_lie_inside_in_order(name: str, low: float, factor: float, count: int) -> None:
    scale, high = SCALES[name], low * factor
    for found in (ticks(scale, low, high, count)[0], levels(scale, low, high, count)):
        assert (np.diff(found) > 0).all()
        assert ((found >= low - 1e-6 * (high - low)) & (found <= high + 1e-6 * (high - low))).all()
        assert len(found) <= 4 * count + 4


@pytest.mark.parametrize(
    ("scale", "low", "high", "words"),
    [
        (Axis(), 0.0, 1.0, ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (Axis(scale="log"), 1e-4, 1.0, ["10⁻⁴", "10⁻³", "10⁻²", "10⁻¹", "10⁰"]),
        (Axis(scale="log"), 0.2, 9.0, ["0.3", "1", "3"]),
        (Axis(scale="symlog", within=1e-2), -1.0, 1.0, ["−1", "−0.1", "−0.01", "0", "0.01", "0.1", "1"]),
    ],
)
def test_ticks_are_round(scale: Axis, low: float, high: float, words: list[str]) -> None:
    assert ticks(scale, low, high)[1] == words


def test_limits_follow_finite_data_that_have_a_place() -> None:
    values = np.array([-1.0, 0.0, 0.01, 3.0, np.nan, np.inf])
    assert drawn_limits(Axis(), values) == (-1.0, 3.0)
    assert drawn_limits(Axis(scale="log"), values) == (0.01, 3.0)
    assert drawn_limits(Axis(limits=(None, 2.0)), values) == (-1.0, 2.0)
    assert drawn_limits(ColourScale(palette="diverging"), values) == (-3.0, 3.0)
    assert drawn_limits(ColourScale(palette="diverging", centre=1.0), values) == (-1.0, 3.0)


@pytest.mark.parametrize("values", [[], [np.nan], [2.0, 2.0], [0.0], [-5.0]])
@pytest.mark.parametrize("name", SCALES)
def test_limits_are_always_an_interval(name: str, values: list[float]) -> None:
    low, high = drawn_limits(SCALES[name], np.array(values))
    assert low < high
    assert np.isfinite(forward(SCALES[name], np.array([low, high]))).all()


def test_numbers_in_words() -> None:
    assert [number(v) for v in (0, 1, -1.5, 0.001, 12345, 1e6, 1e-7, -3e-5, np.inf)] == [
        "0", "1", "−1.5", "0.001", "12,345", "10⁶", "10⁻⁷", "−3×10⁻⁵", "inf",
    ]  # fmt: skip


def test_power_ticks_are_simple_numbers_apart_from_each_other() -> None:
    scale = Axis(scale="power")
    for low, high in ((0.0, 0.7), (1e-4, 4.0), (0.003, 0.35)):
        for found in (ticks(scale, low, high, 6)[0], levels(scale, low, high, 10)):
            gaps = np.diff(forward(scale, found))
            assert gaps.min() > 0.4 * np.median(gaps)
            mantissas = {float(f"{value:.6e}".split("e")[0]) for value in found if value}
            assert mantissas <= {1, 1.5, 2, 3, 4, 5, 7}

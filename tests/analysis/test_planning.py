"""Plans keep to the minutes, whatever an evaluation costs."""

from __future__ import annotations

import math

import pytest

from thalweg.analysis import Costs, plan
from thalweg.analysis.planning import FULL

NAN = (math.nan, math.nan)


def costs(each: float, *, samples: int = 50_000, call: float = 0.001, cut: bool = True, size: int = 10**7) -> Costs:
    return Costs((call, each), (call, 3 * each), (call, 9 * each), samples, cut, size, precise=False)


@pytest.mark.parametrize("each", [1e-7, 1e-5, 1e-3, 1e-2, 0.1, 1.0])
@pytest.mark.parametrize("minutes", [1.0, 10.0, 60.0])
@pytest.mark.parametrize("checkpoints", [1, 5, 100])
def test_the_minutes_are_kept(each: float, minutes: float, checkpoints: int) -> None:
    chosen = plan(costs(each), minutes, checkpoints)
    assert chosen.seconds < 60 * minutes
    assert len(chosen.stages) == (4 if checkpoints == 1 else 5)


def test_more_minutes_measure_more() -> None:
    few, many = (plan(costs(1e-3), minutes) for minutes in (2.0, 30.0))
    for short, long in zip(few.stages, many.stages, strict=True):
        assert long.samples >= short.samples
        assert long.seconds > short.seconds


def test_a_fast_model_is_measured_in_full() -> None:
    chosen = plan(costs(1e-9, call=1e-7), 10)
    for stage in chosen.stages:
        assert stage.samples == 50_000
        assert {**stage.settings, "counts": 1, "certificate": 1} == {**FULL[stage.key], "counts": 1, "certificate": 1}


def test_a_model_too_slow_for_anything_says_so() -> None:
    chosen = plan(costs(1000.0, cut=False, samples=100), 1)
    assert {stage.words for stage in chosen.stages} == {"left out: the time does not suffice"}
    assert chosen.seconds == 0


def test_what_has_no_product_has_no_curvature() -> None:
    once = Costs(
        (0.0, 1e-4), (0.0, 3e-4), NAN, 1000, True, 10**5, precise=True, why="model must be twice differentiable"
    )
    chosen = plan(once, 10, 3)
    assert chosen["curvature"].samples == 0
    assert chosen["path"].samples > 0


def test_time_that_is_lost_is_taken_from_what_comes_after() -> None:
    chosen = plan(costs(1e-3), 10)
    shorter = chosen.again(2, 30.0)
    assert shorter.stages[:2] == chosen.stages[:2]
    assert sum(stage.seconds for stage in shorter.stages[2:]) <= 30.0
    assert chosen.again(2, 1000.0) is chosen

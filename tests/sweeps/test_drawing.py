"""Figures of swept fields: which curve goes through which points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from thalweg.experiments import Experiment
from thalweg.figures import Band, Figure, Line, Scatter, matplotlib, plotly
from thalweg.sweeps import plan
from thalweg.sweeps.drawing import against
from thalweg.sweeps.planning import Plan


def table(made: Plan, **numbers: list[float]) -> pl.DataFrame:
    columns = {f"result.{name}": values for name, values in numbers.items()}
    return pl.DataFrame({"run": [task.name for task in made.tasks], **columns})


def marks(figure: Figure, kind: type, panel: int = 0) -> list:
    return [mark for mark in figure.panels[panel].marks if isinstance(mark, kind)]


def test_median_and_range_over_seeds(weather: Experiment) -> None:
    made = plan("weather", weather.preset("tiny"), {"wind.speed": "1,4,64", "seed": "0..2"})
    force = [1.0, 2.0, 9.0, 2.0, 3.0, 4.0, 5.0, np.nan, 7.0]
    figure = against(made, table(made, force=force), "wind.speed", ["force"])
    (line,), (band,), (points,) = (marks(figure, kind) for kind in (Line, Band, Scatter))
    np.testing.assert_array_equal(line.x, [1, 4, 64])
    np.testing.assert_array_equal(line.y, [2, 3, 6])
    np.testing.assert_array_equal(band.low, [1, 2, 5])
    np.testing.assert_array_equal(band.high, [9, 4, 7])
    assert len(points.x) == 8
    assert figure.panels[0].x.scale == "log"
    assert figure.name == "sweep-wind-speed"
    assert figure.caption == (
        "One point for every task; line and band: median and range over seed. 1 value is not finite, or was not found, "
        "and has no place here."
    )


def test_a_second_field_has_a_curve_for_each_value(weather: Experiment, tmp_path: Path) -> None:
    made = plan("weather", weather.preset("tiny"), {"wind.speed": "1,2", "wind.layers": "[8],[8,8]", "seed": "0,1"})
    figure = against(made, table(made, force=list(range(1, 9)), calm=[0.5] * 8), "wind.speed", ["force", "calm"])
    assert {line.label: line.y.tolist() for line in marks(figure, Line)} == {
        "wind.layers 8": [1.5, 5.5],
        "wind.layers 8-8": [3.5, 7.5],
    }
    assert len(figure.panels) == 2
    matplotlib.save(figure, tmp_path / figure.name)
    assert plotly.to_json(figure)["data"]


def test_many_fields_are_spread(weather: Experiment) -> None:
    sweeps = {"wind.speed": "1,2", "wind.gusts": "1,2", "wind.layers": "1,2", "seed": "0,1"}
    made = plan("weather", weather.preset("tiny"), sweeps)
    figure = against(made, table(made, force=[float(value) for value in range(16)]), "wind.speed", ["force"])
    assert [line.label for line in marks(figure, Line)] == ["median"]
    assert "median and range over wind.gusts and wind.layers and seed" in figure.caption


@pytest.mark.parametrize("values", ["none,raise", "[8],[4,4]"])
def test_words_have_ticks(weather: Experiment, values: str) -> None:
    key = "fault" if "raise" in values else "wind.layers"
    made = plan("weather", weather.preset("tiny"), {key: values})
    figure = against(made, table(made, force=[1.0, 2.0]), key, ["force"])
    words = ("none", "raise") if key == "fault" else ("8", "4-4")
    assert figure.panels[0].x.ticks == ((0.0, words[0]), (1.0, words[1]))
    assert figure.caption == "One point for every task."

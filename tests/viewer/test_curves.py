"""Recorded curves: what is drawn of one run and of several."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.viewer.conftest import completed
from thalweg.errors import InputError
from thalweg.viewer.curves import curves


def numbers(value: Any) -> np.ndarray:
    """A column of a trace, which may be a base64 typed array."""
    return (
        np.frombuffer(base64.b64decode(value["bdata"]), value["dtype"]) if isinstance(value, dict) else np.array(value)
    )


def lines(figure: dict[str, Any]) -> dict[str, np.ndarray]:
    """The lines by their names, without the bands."""
    return {
        t["name"]: numbers(t["y"]) for t in figure["data"] if t.get("mode") == "lines" and t.get("showlegend", True)
    }


@pytest.fixture
def metrics(root: Path) -> dict[str, pl.DataFrame]:
    return {"a": completed(root, 1.0, lr=1).metrics, "b": completed(root, 3.0, lr=2).metrics}


def test_the_line_is_the_median_over_replicas(metrics: dict[str, pl.DataFrame]) -> None:
    drawn = curves(metrics, "loss", against="step")
    found = lines(drawn.figure)
    np.testing.assert_allclose(found["a"], [1.5 / (step + 1) for step in range(4)], rtol=1e-6)
    np.testing.assert_allclose(found["b"], 3 * found["a"], rtol=1e-6)


def test_many_lines_have_no_bands(metrics: dict[str, pl.DataFrame]) -> None:
    def bands(count: int) -> int:
        frames = {f"run {number}": metrics["a"] for number in range(count)}
        return sum(trace.get("fill") not in (None, "none") for trace in curves(frames, "loss").figure["data"])

    assert (bands(6), bands(7)) == (6, 0)


def test_one_run_is_named_by_its_recordings(metrics: dict[str, pl.DataFrame]) -> None:
    assert set(lines(curves({"a": metrics["a"]}).figure)) == {"training"}


def test_a_quantity_that_was_not_measured_at_every_step(metrics: dict[str, pl.DataFrame]) -> None:
    drawn = curves({"a": metrics["a"]}, "test_loss", against="step")
    np.testing.assert_allclose(lines(drawn.figure)["training"], [2.5, 1.5], rtol=1e-6)


def test_axes_are_logarithmic_where_they_can_be(metrics: dict[str, pl.DataFrame]) -> None:
    def kinds(**more: Any) -> list[str]:
        layout = curves(metrics, **more).figure["layout"]
        return [axis["type"] for name, axis in sorted(layout.items()) if name.startswith("yaxis")]

    assert curves(metrics).columns == ("loss", "test_loss", "test_accuracy")
    assert kinds() == ["log", "log", "linear"]
    assert kinds(column="test_accuracy") == ["log"]
    assert kinds(log=False) == ["linear"] * 3
    shifted = {"a": metrics["a"].with_columns(pl.col("loss") - 1)}
    assert curves(shifted, "loss").figure["layout"]["yaxis"]["type"] == "linear"


def test_only_what_two_runs_share(metrics: dict[str, pl.DataFrame]) -> None:
    alone = metrics["a"].rename({"loss": "alone"})
    assert curves({"a": alone, "b": metrics["b"]}).columns == ("test_loss", "test_accuracy")
    assert "alone" in curves({"a": alone}).columns


def test_a_zoom_outlives_new_points_and_there_is_a_narrow_layout(metrics: dict[str, pl.DataFrame]) -> None:
    figure = curves(metrics).figure
    assert figure["layout"]["uirevision"] == figure["narrow"]["uirevision"] == "kept"
    assert figure["narrow"]["height"] > figure["layout"]["height"]


def test_nothing_recorded(metrics: dict[str, pl.DataFrame]) -> None:
    assert curves({}).figure is None
    nothing = metrics["a"].with_columns(loss=pl.lit(float("nan")))
    assert curves({"a": nothing}, "loss").figure is None


def test_what_cannot_be_chosen(metrics: dict[str, pl.DataFrame]) -> None:
    with pytest.raises(InputError, match="there is no quantity 'los', did you mean 'loss'"):
        curves(metrics, "los")
    with pytest.raises(InputError, match="against must be epoch or step, found 'time'"):
        curves(metrics, against="time")

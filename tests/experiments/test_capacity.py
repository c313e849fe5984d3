"""Peaks against a search over all triples; thresholds; single sizes together tell what all sizes at once tell."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest

from thalweg.experiments.capacity.config import PRESETS
from thalweg.experiments.capacity.measure import measure
from thalweg.experiments.capacity.report import merge, peak
from thalweg.experiments.framework.options import override
from thalweg.runs import Run


def made_run(root, name):
    return Run.create(root, name, {}, seed=0, device="cpu", data_checksum=None, command="")


def sizes(test: list[float], train: list[float], spread: float = 0.01) -> pl.DataFrame:
    """Three runs of every size, as `measure` gives them."""
    rows = []
    for size, (error, accuracy) in enumerate(zip(test, train, strict=True)):
        for replica, offset in enumerate((-spread, 0.0, spread)):
            same = {"member": f"width {2**size}", "value": 2.0**size, "replica": replica, "status": "completed"}
            same |= {"message": "", "parameters": 10 * 2**size, "samples": 50, "outputs": 10}
            metrics = {"train_loss": 1.01 - accuracy, "test_loss": error * 2, "train_accuracy": accuracy}
            rows.append(same | metrics | {"test_accuracy": 1 - error - offset})
    return pl.DataFrame(rows)


@pytest.mark.parametrize("seed", range(20))
def test_peak_is_the_best_of_all_triples(seed):
    rng = np.random.default_rng(seed)
    values = rng.random(8).round(2)
    heights = {
        (i, j, k): min(values[j] - values[i], values[j] - values[k]) for i, j, k in itertools.combinations(range(8), 3)
    }
    found = peak(values, values, values)
    best = max(heights.values())
    assert (found.height if found else 0.0) == pytest.approx(max(best, 0.0))
    if found:
        assert heights[found.before, found.at, found.after] == pytest.approx(best)


def test_a_peak_is_clear_only_beyond_the_range():
    errors, train = [0.5, 0.3, 0.4, 0.2, 0.1], [0.2, 0.6, 0.9, 1.0, 1.0]
    clear = merge(PRESETS["quick"], sizes(errors, train))
    assert clear.numbers["test_error_peak"] == pytest.approx(0.1)
    assert clear.numbers["test_error_peak_parameters"] == 40
    assert clear.numbers["test_error_peak_clear"] is True
    assert (
        "falls to 30 % at 20 parameters, rises to 40 % at 40 parameters and falls again to 10 %" in clear.statements[0]
    )
    vague = merge(PRESETS["quick"], sizes(errors, train, spread=0.06))
    assert vague.numbers["test_error_peak_clear"] is False
    assert "not larger than the range over the runs" in vague.statements[0]
    none = merge(PRESETS["quick"], sizes([0.5, 0.4, 0.3, 0.2, 0.2], train))
    assert none.numbers["test_error_peak"] == 0.0
    assert "has no inner peak: its lowest median is 20 %" in none.statements[0]


def test_the_threshold_is_the_first_size_that_fits_everything():
    found = merge(PRESETS["quick"], sizes([0.5, 0.3, 0.2], [0.5, 1.0, 1.0]))
    assert found.numbers["threshold"] == 20
    assert "reached with 20 parameters; samples times outputs are 500" in found.statements[1]
    short = merge(PRESETS["quick"], sizes([0.5, 0.3, 0.2], [0.5, 0.6, 0.7]))
    assert short.numbers["threshold"] is None
    assert "No size fits" in short.statements[1]
    assert "at best 70 %" in short.statements[1]


def test_sizes_alone_are_the_rows_of_all_together(tmp_path):
    config = override(PRESETS["tiny"], {"values": [2, 6], "training.epochs": 3})
    run = made_run(tmp_path, "all")
    with run.writing():
        together = measure(config, run)
    alone = []
    for width in config.values:
        single = made_run(tmp_path, f"single{width}")
        with single.writing():
            alone.append(measure(override(config, {"values": [width]}), single))
    assert pl.concat(alone, how="diagonal").equals(together)
    assert merge(config, pl.concat(alone)) == merge(config, together)


def test_regression_has_no_accuracy_and_no_threshold(tmp_path):
    changes = {"data.name": "function", "data.samples": None, "data.test_samples": None, "data.points": 20}
    config = override(PRESETS["tiny"], changes | {"data.test_points": 30, "values": [1, 4, 9]})
    run = made_run(tmp_path, "function")
    with run.writing():
        found = merge(config, measure(config, run))
    assert [panel.y.label for panel in found.figures[0].panels] == ["loss"]
    assert found.numbers["threshold"] is None
    assert "test_error_peak" not in found.numbers


@pytest.mark.slow
def test_a_fifth_of_random_labels_makes_a_peak_below_the_threshold(tmp_path):
    config = override(PRESETS["paper"], {"values": [8, 32, 48, 512]})
    run = made_run(tmp_path, "peak")
    with run.writing():
        found = merge(config, measure(config, run))
    assert found.numbers["threshold"] == 48 * 75 + 10
    assert found.numbers["test_error_peak_parameters"] in (32 * 75 + 10, 48 * 75 + 10)
    assert found.numbers["test_error_peak"] > 0.02
    assert found.numbers["test_error_peak_clear"]

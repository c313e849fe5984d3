"""What `sensitivity` reports is what the library measures of the recorded weights; other variations; dead units."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from thalweg.errors import InputError
from thalweg.experiments import execute
from thalweg.experiments.framework.execution import load_findings
from thalweg.experiments.sensitivity.config import PRESETS, Config
from thalweg.experiments.sensitivity.report import merge
from thalweg.experiments.shared.training import build
from thalweg.generalization import sensitivity
from thalweg.models.config import ModelConfig
from thalweg.tasks import load
from thalweg.tasks.config import TaskConfig
from thalweg.training.recipe import Recipe

TINY = PRESETS["tiny"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory):
    return execute("sensitivity", TINY, tmp_path_factory.mktemp("runs"))


def measured(run) -> pl.DataFrame:
    parts = [run.load(name) for name in run.results if name.startswith("measured-")]
    return pl.concat(parts, how="diagonal").with_columns(network=pl.lit("MLP"), task=pl.lit("digits"), samples=60)


def test_columns_are_the_sensitivity_of_the_recorded_weights(finished) -> None:
    import torch

    table = measured(finished)
    assert table["value"].to_list() == [6, 6, 10, 10, 20, 20, 30, 30, 60, 60]
    setup = build(TINY, load(TINY.data, torch.float32))
    for name, part in zip(sorted(finished.recordings), table.partition_by("member", maintain_order=True), strict=True):
        theta = finished.recording(name).snapshots[-1]
        for of in ("loss", "probabilities", "outputs"):
            found = sensitivity(setup.evaluate["test"], theta, of=of)
            assert part[f"sensitivity_{of}"].to_list() == pytest.approx(found.mean.tolist(), rel=1e-5)
            assert part[f"sensitivity_{of}_error"].to_list() == pytest.approx(found.standard_error.tolist(), rel=1e-5)


def test_tells_the_budget_the_trap_and_the_correlation(finished) -> None:
    found = load_findings(finished)
    assert [figure.name for figure in found.figures] == [
        "sensitivity",
        "definitions",
        "correlations",
        "evaluation-batch",
    ]
    assert "each over 10 epochs, which are 10 to 100 steps" in found.statements[1]
    assert any(sentence.startswith("The trap: the norm of the batch-mean gradient") for sentence in found.statements)
    assert any("Kendall τ" in sentence for sentence in found.statements)
    assert len(found.tables["Settings"]) == 5


def test_equal_steps_are_told(finished) -> None:
    table = measured(finished).with_columns(steps=pl.lit(100), epochs=pl.col("value") * 100 / 60)
    found = merge(TINY, table)
    assert "each with 100 steps, which are 10 to 100 epochs" in found.statements[1]


def test_a_table_of_many_runs_pools_equal_settings(finished) -> None:
    table = measured(finished)
    twice = merge(TINY, pl.concat([table, table.with_columns(pl.col("sensitivity_loss") * 3)]))
    (once_row, *_), (row, *_) = merge(TINY, table).tables["Settings"], twice.tables["Settings"]
    assert row["runs that completed"] == 2 * once_row["runs that completed"]
    assert row["gradient of the loss"] == pytest.approx(
        float(np.median(np.outer([1, 3], table["sensitivity_loss"][:2].to_numpy())))
    )


def test_one_setting_needs_no_correlation(tmp_path) -> None:
    config = TINY.model_copy(update={"values": (), "replicas": 1, "training": Recipe(lr=0.01, epochs=2)})
    found = load_findings(execute("sensitivity", config, tmp_path))
    assert "No rank correlation with the generalization gap: 1 setting completed." in found.statements
    assert "correlations" not in [figure.name for figure in found.figures]


def test_words_may_vary_and_values_may_be_predicted(tmp_path) -> None:
    config = Config(
        replicas=2,
        data=TaskConfig(name="function", points=20, test_points=20),
        model=ModelConfig(hidden=(5,), activation="tanh"),
        training=Recipe(lr=0.01, epochs=5),
        vary="training.optimizer",
        values=("sgd", "adam"),
        definition="outputs",
        norm=1.0,
    )
    found = load_findings(execute("sensitivity", config, tmp_path))
    (frame,) = found.figures[0].panels  # a loss, and no accuracy
    assert [word for _, word in frame.x.ticks] == ["optimizer sgd", "optimizer adam"]
    assert "entrywise 1-norm of the Jacobian of the outputs" in found.figures[0].caption
    assert not any("probabilities" in name for name in found.numbers)


def test_dead_networks_are_told(finished) -> None:
    zero = [name for name in measured(finished).columns if name.startswith("sensitivity")]
    found = merge(TINY, measured(finished).with_columns(pl.lit(0.0).alias(name) for name in zero))
    assert any("reacts to none of the inputs (sensitivity 0)" in warning for warning in found.warnings)


def test_bad_settings_are_refused() -> None:
    with pytest.raises((InputError, ValueError), match="greater than or equal to 1"):
        Config(norm=0.5)

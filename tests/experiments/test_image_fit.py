"""What is told of several networks on images: who is best, whether clearly, and who still learns."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from thalweg.errors import InputError
from thalweg.experiments import execute
from thalweg.experiments.framework.execution import load_findings
from thalweg.experiments.framework.options import override
from thalweg.experiments.image_fit.config import PRESETS, Config
from thalweg.experiments.image_fit.report import _falling
from thalweg.tasks.config import TaskConfig
from thalweg.training.recipe import Cadence, Recipe


def test_the_figures_hold_what_was_recorded(tmp_path):
    config = Config(
        replicas=3,
        data=TaskConfig(samples=80, test_samples=40),
        networks=("linear", "cnn 2"),
        tolerance=None,
        training=Recipe(lr=0.02, epochs=4, batch_size=20, record=Cadence(every=1)),
    )
    run = execute("image-fit", config, tmp_path)
    found = load_findings(run)
    curves = next(figure for figure in found.figures if figure.name == "curves")
    labels = [panel.y.label for panel in curves.panels]
    assert labels == ["training loss", "test loss", "training accuracy", "test accuracy"]
    for name, label in (("01-linear-650", "linear (650)"), ("02-cnn-2-350", "cnn 2 (350)")):
        rows = run.recording(name).metrics.filter(pl.col("train_loss").is_not_null())
        for panel, column in zip(
            curves.panels, ("train_loss", "test_loss", "train_accuracy", "test_accuracy"), strict=True
        ):
            line = next(mark for mark in panel.marks if mark.label == label)
            expected = rows.group_by("step", maintain_order=True).agg(pl.col(column).median())[column]
            assert line.y == pytest.approx(expected.to_numpy(), rel=1e-6)
            assert list(line.x) == [0, 1, 2, 3, 4]
    last = [row for row in run.metrics.iter_rows(named=True) if row["step"] == 16]
    best = max(("linear (650)", "cnn 2 (350)"), key=lambda label: found.numbers[f"test_accuracy: {label}"])
    values = [
        row["test_accuracy"]
        for row in last
        if row["recording"] == ("01-linear-650" if "lin" in best else "02-cnn-2-350")
    ]
    assert found.numbers[f"test_accuracy: {best}"] == pytest.approx(np.median(values))
    assert found.statements[0].startswith(f"Best in the median test accuracy is {best} with ")


def test_a_loss_that_falls_at_the_end_is_noticed():
    def history(losses):
        return pl.DataFrame({"epoch": np.arange(len(losses)), "train_loss": losses})

    assert _falling(history([1.0] * 10 + [0.5]))
    assert not _falling(history([1.0, 0.5] + [0.1] * 20))
    assert not _falling(history([1.0]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": TaskConfig(name="function")}, "data.name must name images"),
        ({"tolerance": 0.001}, "equal numbers of parameters within 0.001, found mlp depth 1 2,035"),
    ],
)
def test_what_cannot_be_compared_is_refused(change, message, tmp_path):
    with pytest.raises(InputError, match=message):
        execute("image-fit", override(PRESETS["quick"], change), tmp_path)

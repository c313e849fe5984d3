"""Random labels are fitted with test accuracy at chance; too few steps are called so; figures follow the rows."""

from __future__ import annotations

import polars as pl
import pytest

from thalweg.errors import InputError
from thalweg.experiments import execute
from thalweg.experiments.framework.execution import load_findings
from thalweg.experiments.framework.options import override
from thalweg.experiments.random_labels.config import CORRUPTIONS, PRESETS, Config
from thalweg.experiments.random_labels.measure import measure
from thalweg.experiments.random_labels.report import merge
from thalweg.models.config import ModelConfig
from thalweg.runs import Run
from thalweg.tasks.config import TaskConfig
from thalweg.tasks.places import locate, source
from thalweg.training.recipe import Cadence, Recipe


def history(label: str, accuracies: list[float], value: float | None = None) -> pl.DataFrame:
    """Two runs of the same course, as `measure` gives them."""
    rows = [
        {
            "step": 10 * s,
            "epoch": float(s),
            "replica": r,
            "train_accuracy": a,
            "test_accuracy": 0.1,
            "train_loss": 1 - a / 2,
        }
        for s, a in enumerate(accuracies)
        for r in range(2)
    ]
    same = {"member": label, "value": value, "status": "completed", "message": "", "parameters": 100, "loss": 1.0}
    same |= {"test_loss": 2.0, "samples": 50, "test_samples": 400, "classes": 10}
    return pl.DataFrame([row | same for row in rows], schema_overrides={"value": pl.Float64})


def test_epochs_until_fitted_and_what_was_not_fitted():
    table = pl.concat([history("true labels", [0.1, 0.9, 1.0, 1.0]), history("random labels", [0.1, 0.2, 0.3, 0.4])])
    found = merge(PRESETS["tiny"], table)
    assert found.numbers["fitted_epochs: true labels"] == 2.0
    assert (
        "not fitted for lack of steps: 2 of 2 runs did not reach 99.9 % of the training labels within 3 epochs"
        in (found.statements[3])
    )
    assert "training accuracy 40 %" in found.statements[3]
    later = merge(PRESETS["tiny"], pl.concat([table.head(8), history("random labels", [0.1, 0.2, 0.3, 0.4, 0.5, 1.0])]))
    assert (
        "after 5 epochs, 2.5 times as many as true labels; test accuracy 10 %, at chance (10 %)" in later.statements[3]
    )


def test_what_lies_between_two_looks_is_not_compared():
    true = history("true labels", [0.1, 0.9, 1.0])
    found = merge(PRESETS["tiny"], pl.concat([true, history("random labels", [0.1, 0.2, 0.3, 1.0])]))
    assert "after 3 epochs, as true labels as far as can be told;" in found.statements[3]
    seldom = pl.concat([true, history("random labels", [0.1, 0.2, 1.0])]).with_columns(pl.col("epoch") * 5)
    assert found.statements[1].endswith("for each kind of data.")
    assert merge(PRESETS["tiny"], seldom).statements[1].endswith("; accuracies are looked at every 5 epochs.")


def test_a_share_has_its_own_figure_with_its_runs_together():
    parts = [history(f"label noise {v}", [0.1, *[0.5] * k, 1.0], v) for k, v in ((1, 0.0), (2, 0.5), (3, 1.0))]
    config = override(PRESETS["noise"], {})
    found = merge(config, pl.concat([*parts, *parts], how="diagonal"))  # two tables of a sweep over seeds
    figure = next(figure for figure in found.figures if figure.name == "against")
    line = next(mark for mark in figure.panels[0].marks if mark.label == "epochs until fitted")
    assert list(line.x) == [0.0, 0.5, 1.0]
    assert list(line.y) == [2.0, 3.0, 4.0]
    assert "4 runs" not in found.statements[1]
    assert len(found.tables["Data"]) == 3


def test_corruptions_change_what_they_say(tmp_path):
    config = override(PRESETS["tiny"], {"values": list(CORRUPTIONS)[1:], "training.epochs": 1})
    run = Run.create(tmp_path, "demo", {}, seed=0, device="cpu", data_checksum=None, command="")
    with run.writing():
        table = measure(config, run)
    assert table["member"].unique(maintain_order=True).to_list() == list(CORRUPTIONS)[1:]
    checksums = run.environment["data_checksum"].split("+")
    assert len(set(checksums)) == 5  # five different sets of data
    assert table["classes"].unique().to_list() == [10]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data.label_noise": 0.2}, "corruption says what is done to the data"),
        ({"data.shuffle_labels": True}, "corruption says what is done to the data"),
        ({"values": "random label"}, "corruption must"),
        ({"data": TaskConfig(name="function")}, "data must have labels that can be random"),
    ],
)
def test_contradictions_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        override(PRESETS["tiny"], change)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "samples", "tests"), [("digits", None, None), ("mnist", 2000, 2000)])
def test_three_layers_of_256_fit_shuffled_labels_at_chance(name, samples, tests, tmp_path):
    if name == "mnist" and locate(source("mnist"), None) is None:
        pytest.skip("needs MNIST")
    config = Config(
        replicas=1,
        data=TaskConfig(name=name, samples=samples, test_samples=tests),
        model=ModelConfig(depth=3, width=256),
        values=("random labels",),
        training=Recipe(lr=1e-3, epochs=150, batch_size=100, record=Cadence(every=150)),
        fitted=1.0,
    )
    found = load_findings(execute("random-labels", config, tmp_path))
    assert found.numbers["train_accuracy: random labels"] == 1.0
    assert "at chance (10 %)" in found.statements[2]
    assert found.numbers["test_accuracy: random labels"] == pytest.approx(0.1, abs=0.05)

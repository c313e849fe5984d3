"""`training.stop` in experiments: asked for in TOML words, told in the findings, refused where it has no meaning."""

from __future__ import annotations

from pathlib import Path

import pytest

from thalweg.errors import InputError
from thalweg.experiments.framework.discovery import find
from thalweg.experiments.framework.execution import execute, load_findings
from thalweg.experiments.framework.options import override

STOP = {"training.stop": "fitted", "training.epochs": 400}


def test_random_labels_are_fitted_and_no_step_is_made_after(tmp_path: Path) -> None:
    config = override(find("random-labels").preset("tiny"), STOP)
    run = execute("random-labels", config, tmp_path)
    found = load_findings(run)
    for recording in map(run.recording, run.recordings):
        ends = [entry["step"] for entry in recording.status]
        assert recording.last == max(ends) < 400 * 3
        rows = recording.metrics.sort("step", "replica")
        for replica, end in enumerate(ends):
            own = rows.filter((rows["replica"] == replica) & rows["train_accuracy"].is_not_null())
            first = own.filter(own["train_accuracy"] >= 1.0)["step"].min()
            assert first == end, "it stops at the first look that finds everything right"
    epochs = {name.removeprefix("fitted_epochs: "): v for name, v in found.numbers.items() if "fitted_epochs" in name}
    assert epochs["random labels"] > epochs["true labels"]
    assert "until every training label is right" in " ".join(found.statements)
    assert not any("not fitted" in one for one in found.statements)


def test_the_table_has_the_steps_of_every_run_and_image_fit_the_end_of_every_network(tmp_path: Path) -> None:
    config = override(find("capacity").preset("tiny"), {**STOP, "values": [8, 50]})
    run = execute("capacity", config, tmp_path)
    table = run.load("table")
    ends = [entry["step"] for name in run.recordings for entry in run.recording(name).status]
    assert table["steps"].to_list() == ends
    assert table["epochs"].to_list() == pytest.approx([step / 3 for step in ends])
    assert len(set(ends)) > 2
    images = override(find("image-fit").preset("tiny"), {**STOP})
    run = execute("image-fit", images, tmp_path)
    lasts, ends = [run.recording(name).last for name in run.recordings], []
    for name in run.recordings:
        metrics = run.recording(name).metrics
        ends.append(metrics.filter(metrics["step"] == metrics["step"].max())["train_accuracy"].median())
    assert lasts[0] != lasts[1], "the networks of this test must end at different steps"
    assert [row["train accuracy"] for row in load_findings(run).tables["Networks"]] == pytest.approx(ends)


@pytest.mark.parametrize(
    ("experiment", "fields", "sentence"),
    [
        ("function-fit", {"training.stop": "fitted"}, "training.stop must be 'loss' or None for a task whose targets"),
        ("edge-of-stability", {"training.stop": "fitted"}, "training.stop must be None for paths of one length"),
        ("gradient-norm", {"first.training.stop": "fitted"}, "first.training.stop must be None where every iteration"),
        ("interpolation", {"curve_training.stop": "fitted"}, "curve_training.stop must be None for a curve"),
        ("random-labels", {"training.stop": "loss"}, "stop_loss must be a number for stop 'loss', found None"),
    ],
)
def test_where_it_has_no_meaning_it_is_refused(experiment: str, fields: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        override(find(experiment).preset("tiny"), fields)

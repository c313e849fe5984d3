from __future__ import annotations

import math
import sys
from pathlib import Path

import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

from thalweg.errors import InputError
from thalweg.runs import Run, WriteError, export


@pytest.fixture
def filled(run: Run) -> Run:
    with run.writing():
        recording = run.recording()
        for step in range(3):
            metrics = {"loss": torch.tensor([1.0 / (step + 1), math.nan])}
            if step == 2:
                metrics["accuracy"] = torch.tensor([0.5, 0.25])
            recording.append(step, step / 2, metrics=metrics)
        recording.finish()
        run.save("table", pl.DataFrame({"x": [1, 2], "name": ["a", "b, c"]}))
        run.save("other", {"no": "table"})
    return run


def test_csv(filled: Run, tmp_path: Path) -> None:
    folder = export(filled, "csv")
    assert folder == filled.files.exports / "csv"
    assert sorted(path.name for path in folder.iterdir()) == ["metrics.csv", "table.csv"]
    assert_frame_equal(pl.read_csv(folder / "table.csv"), filled.load("table"))
    lines = (folder / "metrics.csv").read_text().splitlines()
    assert lines[0] == "recording,step,epoch,replica,loss,accuracy"
    assert lines[1] == "training,0,0.0,0,1.0,"  # not measured: empty
    assert lines[2] == "training,0,0.0,1,NaN,"
    metrics = pl.read_csv(folder / "metrics.csv", schema_overrides=filled.metrics.schema)
    assert_frame_equal(metrics, filled.metrics)
    assert export(filled, "csv", tmp_path / "here") == tmp_path / "here"
    assert (tmp_path / "here" / "metrics.csv").read_bytes() == (folder / "metrics.csv").read_bytes()


def test_csv_with_a_full_disk(filled: Run, file_limit) -> None:
    with file_limit(50), pytest.raises(WriteError, match=r"cannot write .*metrics.csv: file too large"):
        export(filled, "csv")
    assert list((filled.files.exports / "csv").iterdir()) == []


def test_tensorboard(filled: Run) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):  # an export replaces the one before
        folder = export(filled, "tensorboard")
        assert sorted(path.name for path in (folder / "training").iterdir()) == ["replica-0000", "replica-0001"]
        for replica in range(2):
            reader = EventAccumulator(str(folder / "training" / f"replica-{replica:04d}"))
            reader.Reload()
            assert sorted(reader.Tags()["scalars"]) == ["accuracy", "loss"]
            events = reader.Scalars("loss")
            assert [event.step for event in events] == [0, 1, 2]
            if replica == 0:
                assert [event.value for event in events] == pytest.approx([1.0, 1 / 2, 1 / 3])
            else:
                assert all(math.isnan(event.value) for event in events)
            assert [(event.step, event.value) for event in reader.Scalars("accuracy")] == [(2, [0.5, 0.25][replica])]
    assert [path.name for path in filled.files.exports.iterdir()] == ["tensorboard"]


def test_tensorboard_is_missing(filled: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.event_file_writer", None)
    with pytest.raises(InputError, match=r"needs the package tensorboard: pip install 'thalweg\[tensorboard\]'"):
        export(filled, "tensorboard")
    assert not filled.files.exports.exists()


def test_unknown_format(filled: Run) -> None:
    with pytest.raises(
        InputError, match="to must be one of csv, tensorboard, found 'tensorbord', did you mean 'tensorboard'"
    ):
        export(filled, "tensorbord")

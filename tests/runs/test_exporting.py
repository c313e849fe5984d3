from __future__ import annotations

import json
import math
import sqlite3
import struct
import sys
import warnings
from collections.abc import Iterator
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


def records(file: Path) -> Iterator[bytes]:
    """The records of a small file of W&B: after 7 bytes, (checksum, length, kind, content), as in a log of LevelDB."""
    content, place = file.read_bytes(), 7
    assert len(content) < 2**15  # one block
    while place < len(content):
        length, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        assert kind == 1  # whole
        yield content[place + 7 : place + 7 + length]
        place += 7 + length


def test_wandb(filled: Run) -> None:
    pytest.importorskip("wandb", reason="pip install 'thalweg[wandb]'")
    from wandb.proto import wandb_internal_pb2 as proto

    folder = export(filled, "wandb")
    files = sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))
    assert len(files) == 2
    assert all(path.is_dir() or path.suffix == ".log" for path in (folder / "wandb").iterdir())
    found = {}
    for file in files:
        name, rows = "", []
        for data in records(file):
            record = proto.Record.FromString(data)
            name = record.run.display_name or name
            if record.HasField("history"):
                items = record.history.item
                rows.append({item.key or item.nested_key[0]: json.loads(item.value_json) for item in items})
        found[name] = rows
    assert sorted(found) == [f"{filled.name} training {replica}" for replica in range(2)]
    first, second = (found[name] for name in sorted(found))
    assert [row["_step"] for row in first] == [0, 1, 2]
    assert [row["epoch"] for row in first] == [0, 0.5, 1]
    assert [row["loss"] for row in first] == pytest.approx([1, 1 / 2, 1 / 3])
    assert all(math.isnan(row["loss"]) for row in second)
    assert [row.get("accuracy") for row in second] == [None, None, 0.25]


def test_mlflow(filled: Run) -> None:
    for package in ("mlflow", "sqlalchemy", "alembic"):
        pytest.importorskip(package, reason="pip install 'thalweg[mlflow]'")
    folder = export(filled, "mlflow")
    with warnings.catch_warnings(), sqlite3.connect(folder / "mlflow.db") as database:
        warnings.simplefilter("error")
        rows = database.execute(
            "select r.name, m.key, m.step, m.value, m.is_nan from metrics m join runs r using (run_uuid) "
            "order by r.name, m.key, m.step"
        ).fetchall()
        params = dict(database.execute("select key, value from params").fetchall())
        statuses = {status for (status,) in database.execute("select status from runs").fetchall()}
    database.close()
    name = f"{filled.name} training 0"
    assert [row[3] for row in rows if row[:2] == (name, "loss")] == pytest.approx([1, 1 / 2, 1 / 3])
    assert [row[2:4] for row in rows if row[:2] == (name, "epoch")] == [(0, 0), (1, 0.5), (2, 1)]
    assert [row[4] for row in rows if row[0] == f"{filled.name} training 1" and row[1] == "loss"] == [1, 1, 1]
    assert [row[2:4] for row in rows if row[1] == "accuracy"] == [(2, 0.5), (2, 0.25)]
    assert params == {key: str(value) for key, value in filled.config.items()}
    assert statuses == {"FINISHED"}


@pytest.mark.parametrize("tracker", ["wandb", "mlflow"])
def test_a_tracker_is_missing(tracker: str, filled: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, tracker, None)
    with pytest.raises(InputError, match=rf"needs the package {tracker}: pip install 'thalweg\[{tracker}\]'"):
        export(filled, tracker)
    assert not filled.files.exports.exists()


def test_unknown_format(filled: Run) -> None:
    with pytest.raises(
        InputError,
        match="to must be one of csv, tensorboard, wandb, mlflow, found 'tensorbord', did you mean 'tensorboard'",
    ):
        export(filled, "tensorbord")

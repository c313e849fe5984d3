"""Metrics of several recordings, before and after they are merged."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

from thalweg.errors import InputError
from thalweg.runs import Run
from thalweg.runs.checksums import write_sealed


def test_several_recordings(run: Run) -> None:
    """Each with its own R, P and metrics; the same before and after completion."""
    with run.writing():
        training, probe = run.recording(), run.recording("probe")
        for step in range(3):
            training.append(
                step, 0.0, torch.randn(2, 5), {"loss": torch.rand(2), "steps_done": torch.tensor([step, step])}
            )
            training.commit({}, {})
            probe.append(
                step, 1.0, torch.randn(3, 4, dtype=torch.float64), {"loss": torch.rand(3, dtype=torch.float64)}
            )
        probe.commit({}, {})
        with pytest.raises(InputError, match="the name of a recording must be"):
            run.recording("a/b")
        assert run.recordings == ["training", "probe"]
        assert run.recording() is training
        theta = training.snapshots[:]
        frames = [training.metrics, probe.metrics]
        together = run.metrics
        run.complete()
    again = Run.open(run.path)
    assert not list(run.path.rglob("*.metrics.parquet"))
    assert torch.equal(again.snapshots[:], theta)
    assert again.recording("probe").snapshots.shape == (3, 3, 4)
    for name, frame in zip(("training", "probe"), frames, strict=True):
        assert_frame_equal(again.recording(name).metrics, frame)  # its columns and types, not those of the other
    assert_frame_equal(again.metrics, together)
    assert_frame_equal(pl.read_parquet(run.files.metrics), together)
    assert together.columns == ["recording", "step", "epoch", "replica", "loss", "steps_done"]
    assert together["recording"].to_list() == ["training"] * 6 + ["probe"] * 9
    with pytest.raises(InputError, match=r"has no recording 'prob', did you mean 'probe'"):
        again.recording("prob")


def test_reading_across_completion(run: Run) -> None:
    """A reader that had looked for the parts just before they were merged finds the table."""
    with run.writing():
        run.recording().append(0, 0.0, torch.ones(1, 2), {"loss": 0.5})
        run.recording().finish()
        reader = Run.open(run.path).recording()
        run.complete()
    looks = [lambda name: None, reader._merged]
    reader._merged = lambda name: looks.pop(0)(name)
    assert reader.metrics["loss"].to_list() == [0.5]


@pytest.mark.parametrize("root", ["a[1]*b", "x?y", "{a,b}", "**", "[!c]", "~", "file:", "s3:"])
def test_a_folder_of_any_name(root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No bracket, star, home or address is read out of the path of a run, even where others match."""
    monkeypatch.chdir(tmp_path)
    for number, place in enumerate(("a1xb", "xzy", "c", root)):  # what the patterns would find, first
        run = Run.create(place, "demo", {}, seed=0, device="cpu", data_checksum=None, command="demo")
        with run.writing():
            run.recording().append(0, 0.0, torch.ones(1, 2), {"loss": float(number)})
            run.recording().finish()
            run.save("table", pl.DataFrame({"value": [number]}))
            before = run.recording().metrics
            run.complete()
        again = Run.open(run.path)
        assert_frame_equal(again.recording().metrics, before)
        assert again.metrics["loss"].to_list() == [number]
        assert again.load("table")["value"].to_list() == [number]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["a1xb", "xzy", "c", root])


def test_no_recordings(run: Run) -> None:
    with run.writing():
        run.complete()
    assert run.metrics.columns == ["recording", "step", "epoch", "replica"]
    assert run.metrics.height == 0


def test_a_damaged_table(run: Run) -> None:
    with run.writing():
        run.recording().append(0, 0.0, torch.ones(1, 2), {"loss": 0.5})
        run.recording().finish()
        run.complete()
    run.files.metrics.write_bytes(run.files.metrics.read_bytes()[:-9])
    for read in (lambda: run.metrics, lambda: run.recording().metrics):
        with pytest.raises(InputError, match=r"metrics.parquet is corrupt"):
            read()
    write_sealed(run.files.complete, {"columns": {}}, run.ledger.identity)
    with pytest.raises(InputError, match=r"complete.json is corrupt: it does not know recording 'training'"):
        _ = run.recording().metrics

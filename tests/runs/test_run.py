"""A run as a whole: finding, completing, reading."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from thalweg.errors import InputError
from thalweg.runs import Run, WriteError, find_runs

ORIGIN = {"seed": 0, "device": "cpu", "data_checksum": None, "command": "thalweg run demo"}


def create(root: Path, config: dict, **changes: object) -> Run:
    return Run.create(root, "demo", config, **{**ORIGIN, **changes})


def test_open(run: Run, tmp_path: Path) -> None:
    assert Run.open(str(run.path)).config == {"width": 10}
    assert repr(run) == f"Run('{run.path}')"
    with pytest.raises(InputError, match="nothing is no run: there is no such folder"):
        Run.open(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"is no run: config.json is missing"):
        Run.open(tmp_path)
    run.files.environment.unlink()
    with pytest.raises(InputError, match=r"is no run: environment.json is missing"):
        Run.open(run.path)
    run.files.config.write_text("[1]")
    with pytest.raises(InputError, match=r"config.json is corrupt, or checksums.json is that of another run"):
        _ = run.config
    run.files.checksums.unlink()  # as of a run that was begun before there were checksums
    with pytest.raises(InputError, match=r"config.json is corrupt: it is no config of a run"):
        _ = run.config


def test_find_runs(tmp_path: Path) -> None:
    assert find_runs(tmp_path / "none") == []
    made = [create(tmp_path, {"n": n}) for n in range(3)]
    (tmp_path / "notes.txt").touch()
    (tmp_path / "other").mkdir()
    made[0].files.environment.write_text("broken")  # still listed
    assert [run.path for run in find_runs(tmp_path)] == sorted(run.path for run in made)
    with pytest.raises(InputError, match=r"root must be a folder of runs, found the file .*notes.txt"):
        find_runs(tmp_path / "notes.txt")


def test_listing_runs_needs_no_torch(run: Run) -> None:
    script = (
        "import sys; from thalweg.runs import find_runs; run, = find_runs(sys.argv[1]);"
        "print(run.state, run.size > 0, run.age >= 0, run.experiment, 'torch' in sys.modules, 'polars' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, str(run.path.parent)], capture_output=True, text=True, check=True
    )
    assert result.stdout == "new True True demo False False\n"


def test_complete_needs_the_lock_and_nothing_pending(run: Run) -> None:
    with pytest.raises(InputError, match="must be open for writing"):
        run.complete()
    with run.writing():
        run.recording().append(0, 0.0, torch.ones(1, 2))
        with pytest.raises(InputError, match="recording 'training' holds steps that were never committed"):
            run.complete()
        run.recording().finish()
        run.complete()


def test_the_marker_is_written_last(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    replace = os.replace

    def noting(source: object, target: Path) -> None:
        order.append(Path(target).name)
        replace(source, target)

    monkeypatch.setattr(os, "replace", noting)
    with run.writing():
        run.recording().append(0, 0.0, torch.ones(1, 2), {"loss": 0.5})
        run.recording().finish()
        run.complete()
    assert order[-4:-1] == ["metrics.parquet", "environment.json", "complete.json"]
    assert order[-1] == "checksums.json"  # a note that from now on the marker must be there


@pytest.mark.parametrize("name", ["metrics.parquet", "environment.json", "complete.json"])
def test_a_full_disk_at_completion(run: Run, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    replace = os.replace

    def full(source: object, target: Path) -> None:
        if Path(target).name == name and "finished" in (
            Path(source).read_text() if name == "complete.json" else "finished"
        ):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    def finish() -> None:
        with run.writing():
            run.recording().append(0, 0.0, torch.ones(1, 2), {"loss": 0.5})
            run.recording().finish()
            with monkeypatch.context() as patch:
                patch.setattr(os, "replace", full)
                run.complete()

    with pytest.raises(WriteError, match=rf"cannot write .*{name}: no space left on device"):
        finish()
    assert run.state == "failed"
    assert run.message == f"cannot write {run.path / name}: no space left on device"
    assert run.metrics["loss"].to_list() == [0.5]
    with run.writing():
        run.complete()
    assert run.state == "complete"


def test_snapshots_of_a_run(run: Run) -> None:
    with pytest.raises(InputError, match=r"must have one recording or one called 'training', found \[\]"):
        _ = run.snapshots
    with run.writing():
        for name in ("b", "a"):
            run.recording(name).append(0, 0.0, torch.ones(1, 2))
            run.recording(name).finish()
            if name == "b":
                assert run.snapshots.shape == (1, 1, 2)
    with pytest.raises(InputError, match=r"found \['a', 'b'\]"):
        _ = run.snapshots


def test_results(run: Run) -> None:
    run.save("a", {"x": torch.ones(2)})
    assert run.cached("b", lambda: {"y": 1}) == {"y": 1}
    assert run.results == ["a", "b"]
    assert torch.equal(run.load("a")["x"], torch.ones(2))
    assert (run.files.results / "b.json").is_file()


def test_size_and_age(run: Run) -> None:
    before = run.size - run.files.checksums.stat().st_size
    run.save("a", "x" * 1000)
    assert run.size - run.files.checksums.stat().st_size == before + 1003  # quotes and a line end
    assert 0 <= run.age < 60

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

from thalweg.errors import InputError
from thalweg.runs import Run, WriteError, config_hash, find_runs

ORIGIN = {"seed": 0, "device": "cpu", "data_checksum": None, "command": "thalweg run demo"}


def create(root: Path, config: dict, **changes: object) -> Run:
    return Run.create(root, "demo", config, **{**ORIGIN, **changes})


# ---- creation


def test_the_name_is_the_hash_of_the_canonical_config(tmp_path: Path) -> None:
    config = {"widths": [10, 10], "rate": 1e-3, "name": "ü", "nested": {"b": None, "a": True}}
    text = '{"name":"\\u00fc","nested":{"a":true,"b":null},"rate":0.001,"widths":[10,10]}'
    digest = hashlib.sha256(text.encode()).hexdigest()[:10]
    assert config_hash(config) == digest
    run = create(tmp_path, config)
    assert run.path == tmp_path / f"demo-{digest}"
    assert run.name == f"demo-{digest}"
    assert run.experiment == "demo"
    assert run.config == config
    assert list(json.loads(run.files.config.read_text())) == list(config)  # stored in the order of the fields


def test_the_same_config_is_the_same_run(tmp_path: Path) -> None:
    first = create(tmp_path, {"a": (1, 2), "b": float("nan")})
    again = create(tmp_path, {"b": float("nan"), "a": [1, 2]}, command="another")
    assert again.path == first.path
    assert again.environment["command"] == "thalweg run demo"
    assert create(tmp_path, {"a": [1, 2], "b": 0.0}).path != first.path
    assert sorted(path.name for path in first.path.iterdir()) == ["config.json", "environment.json"]
    assert len(list(tmp_path.iterdir())) == 2


def test_another_seed_or_other_data_are_refused(tmp_path: Path) -> None:
    create(tmp_path, {}, data_checksum="abc")
    create(tmp_path, {}, data_checksum=None)
    with pytest.raises(InputError, match="seed must stay 0 within one run, found 1"):
        create(tmp_path, {}, seed=1)
    with pytest.raises(InputError, match="data_checksum must stay 'abc' within one run, found 'xyz'"):
        create(tmp_path, {}, data_checksum="xyz")


def test_a_checksum_learnt_later_is_kept(tmp_path: Path) -> None:
    create(tmp_path, {})
    run = create(tmp_path, {}, data_checksum="abc")
    with run.writing():
        assert run.environment["data_checksum"] == "abc"


@pytest.mark.parametrize("name", ["", "Demo", "a b", "../x", "-x"])
def test_bad_experiment_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="experiment must be lower-case letters"):
        Run.create(tmp_path, name, {}, **ORIGIN)


def test_bad_config(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"value.path must be made of"):
        create(tmp_path, {"path": tmp_path})
    assert list(tmp_path.iterdir()) == []


def test_something_else_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / f"demo-{config_hash({})}"
    path.mkdir()
    create(tmp_path, {})  # an empty folder is fine
    other = tmp_path / f"demo-{config_hash({'a': 1})}"
    other.mkdir()
    (other / "notes.txt").touch()
    with pytest.raises(InputError, match="is no run, but there is something in it"):
        create(tmp_path, {"a": 1})
    (tmp_path / f"demo-{config_hash({'b': 1})}").touch()
    with pytest.raises(InputError, match="cannot become a run: something else is there"):
        create(tmp_path, {"b": 1})
    (path / "config.json").write_text('{"edited": true}')
    with pytest.raises(InputError, match="holds another config than its name says"):
        create(tmp_path, {})
    assert not list(tmp_path.glob(".tmp-*"))


def test_nowhere_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"root must be a folder of runs, found the file .*/file"):
        create(tmp_path / "file", {})
    with pytest.raises(WriteError, match=r"cannot write .*/file/deeper/demo-.*: not a directory"):
        create(tmp_path / "file" / "deeper", {})

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match=r"cannot write .*/runs/.*: no space left on device"):
        create(tmp_path / "runs", {})
    assert list((tmp_path / "runs").iterdir()) == []


def test_read_only_folder(run: Run) -> None:
    with run.writing():
        run.save("a", 1)
    run.path.chmod(0o555)
    run.files.lock.chmod(0o444)
    if os.access(run.path, os.W_OK):
        pytest.skip("this user may write anywhere")
    try:
        assert Run.open(run.path).load("a") == 1  # reading needs no permission to write
        with pytest.raises(WriteError, match=r"cannot write .*lock: permission denied"), run.writing():
            pass
    finally:
        run.path.chmod(0o755)


def test_a_read_only_file_system(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def read_only(path: object, flags: int, *rest: object, **named: object) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(path, flags, *rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", read_only)
        with pytest.raises(WriteError, match=rf"cannot write {run.path}/lock: read-only file system"), run.writing():
            pass
    assert run.state == "new"


# ---- finding


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


# ---- states


def test_states(run: Run) -> None:
    assert (run.state, run.message) == ("new", "")
    with run.writing():
        assert (run.state, Run.open(run.path).state) == ("running", "running")
    assert (run.state, run.message) == ("interrupted", "left before it was complete")
    with pytest.raises(ZeroDivisionError), run.writing():
        _ = 1 // 0
    assert (run.state, run.message) == ("failed", "ZeroDivisionError: integer division or modulo by zero")
    with pytest.raises(InputError), run.writing():
        raise InputError("first line\n  second line")
    assert (run.state, run.message) == ("failed", "first line second line")
    with pytest.raises(KeyboardInterrupt), run.writing():
        raise KeyboardInterrupt
    assert (run.state, run.message) == ("interrupted", "interrupted by the user")
    with run.writing():
        assert (run.state, run.message) == ("running", "")
        run.complete()
        assert run.state == "complete"
    assert (run.state, run.message) == ("complete", "")


def test_killed_is_interrupted(run: Run) -> None:
    script = (
        "import os, signal, sys; from thalweg.runs import Run; run = Run.open(sys.argv[1])\n"
        "with run.writing(): os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script, str(run.path)], check=False)
    assert (run.state, run.message) == ("interrupted", "killed")
    assert "-c" in run.environment["sessions"][0]["command"]
    with run.writing():
        run.complete()
    assert run.state == "complete"


def test_two_writers(run: Run) -> None:
    with run.writing():
        with (
            pytest.raises(InputError, match=rf"is being written by process {os.getpid()} "),
            Run.open(run.path).writing(),
        ):
            pass
        assert run.state == "running"  # the refused one has marked nothing
        run.save("a", 1)
        run.complete()
    assert run.state == "complete"
    with pytest.raises(InputError, match="is complete; change the config or remove the folder"), run.writing():
        pass


def test_a_forked_child_may_not_write(run: Run) -> None:
    script = """
import os, sys
from thalweg.runs import Run
run = Run.open(sys.argv[1])
with run.writing():
    child = os.fork()
    if child == 0:
        try:
            run.complete()
        except ValueError as error:
            print(error, flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    assert run.state == "running"  # the child's end did not release the lock
"""
    result = subprocess.run([sys.executable, "-c", script, str(run.path)], capture_output=True, text=True, check=True)
    assert "must be open for writing here" in result.stdout
    assert run.state == "interrupted"


def test_stale_files_go_when_writing_begins(run: Run) -> None:
    run.files.results.mkdir()
    for folder in (run.path, run.files.results):
        (folder / ".tmp-999999999-0-x.json").touch()
    with run.writing():
        pass
    assert not list(run.path.rglob(".tmp-*"))


# ---- completion


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
    assert order[-3:] == ["metrics.parquet", "environment.json", "complete.json"]


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
    run.files.complete.write_text("{}")
    with pytest.raises(InputError, match=r"complete.json is corrupt: it does not know recording 'training'"):
        _ = run.recording().metrics


def test_results(run: Run) -> None:
    run.save("a", {"x": torch.ones(2)})
    assert run.cached("b", lambda: {"y": 1}) == {"y": 1}
    assert run.results == ["a", "b"]
    assert torch.equal(run.load("a")["x"], torch.ones(2))
    assert (run.files.results / "b.json").is_file()


def test_size_and_age(run: Run) -> None:
    before = run.size
    run.save("a", "x" * 1000)
    assert run.size == before + 1003  # quotes and a line end
    assert 0 <= run.age < 60

"""An experiment in its run folder: resumed, not repeated, guarded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from thalweg.errors import InputError
from thalweg.experiments import Experiment, execute, override
from thalweg.experiments.framework.execution import compute, load_findings, reopen, start
from thalweg.runs import Run


def test_executes_once(ladder: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = ladder.preset("tiny")
    run = execute("ladder", config, tmp_path, "thalweg run ladder")
    assert run.state == "complete"
    assert run.environment["command"] == "thalweg run ladder"
    assert load_findings(run).numbers["steps"] == 20
    monkeypatch.setattr(ladder.module, "run", None)  # would fail if it were called again
    assert load_findings(execute("ladder", config, tmp_path)) == load_findings(run)


def test_interrupted_runs_go_on_and_end_the_same(ladder: Experiment, tmp_path: Path) -> None:
    whole = override(ladder.preset("tiny"), {"stop_after": 1000})
    pieces = override(ladder.preset("tiny"), {"stop_after": 8})
    expected = execute("ladder", whole, tmp_path)
    run = start("ladder", pieces, tmp_path)
    sessions = 0
    while run.state != "complete":
        sessions += 1
        try:
            compute(run)
        except KeyboardInterrupt:
            assert run.state == "interrupted"
            run = reopen(run.path)
    assert sessions == 4  # commits every 5 steps, so 8 steps of a session keep 5, and 5, and 5, and the rest
    assert load_findings(run) == load_findings(expected)
    assert torch.equal(run.snapshots[:], expected.snapshots[:])


def test_fresh_discards(ladder: Experiment, tmp_path: Path) -> None:
    config = ladder.preset("tiny")
    run = execute("ladder", config, tmp_path)
    (run.path / "note").write_text("mine")
    again = start("ladder", config, tmp_path, fresh=True)
    assert (again.path, again.state) == (run.path, "new")
    assert sorted(path.name for path in again.path.iterdir()) == ["checksums.json", "config.json", "environment.json"]
    assert [path.name for path in tmp_path.iterdir()] == [run.name]


@pytest.mark.parametrize("file", ["config.json", "environment.json", "checksums.json"])
def test_fresh_discards_a_damaged_run(file: str, ladder: Experiment, tmp_path: Path) -> None:
    config = ladder.preset("tiny")
    run = execute("ladder", config, tmp_path)
    (run.path / file).write_bytes(b"{")
    with pytest.raises(InputError, match=f"{file} is corrupt"):
        start("ladder", config, tmp_path)
    assert start("ladder", config, tmp_path, fresh=True).state == "new"
    assert [path.name for path in tmp_path.iterdir()] == [run.name]


@pytest.mark.parametrize("damage", ["is missing", "is corrupt"])
def test_a_run_with_a_damaged_snapshot_is_not_completed(damage: str, ladder: Experiment, tmp_path: Path) -> None:
    config = override(ladder.preset("tiny"), {"stop_after": 12})
    run = start("ladder", config, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        compute(run)
    shard = run.path / "snapshots" / "training" / "00000.safetensors"
    content = shard.read_bytes()
    shard.unlink() if damage == "is missing" else shard.write_bytes(content[:-1])
    with pytest.raises(InputError, match=f"00000.safetensors {damage}"):
        compute(reopen(run.path))
    assert Run.open(run.path).state == "failed"
    shard.write_bytes(content)
    compute(reopen(run.path))  # nothing else was lost
    assert Run.open(run.path).state == "complete"


def test_fresh_never_discards_a_run_in_use(ladder: Experiment, tmp_path: Path) -> None:
    run = start("ladder", ladder.preset("tiny"), tmp_path)
    with run.writing(), pytest.raises(InputError, match="is being written by process"):
        start("ladder", ladder.preset("tiny"), tmp_path, fresh=True)
    assert run.files.config.is_file()


def test_threads_are_set_for_the_run_only(ladder: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    original = ladder.module.run
    monkeypatch.setattr(ladder.module, "run", lambda *given: seen.append(torch.get_num_threads()) or original(*given))
    execute("ladder", override(ladder.preset("tiny"), {"threads": 2}), tmp_path)
    assert (seen, torch.get_num_threads()) == ([2], 1)


def test_failure_is_kept_with_its_message(ladder: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise InputError("data must be finite, found NaN in row 3")

    monkeypatch.setattr(ladder.module, "run", fails)
    with pytest.raises(InputError, match="found NaN"):
        execute("ladder", ladder.preset("tiny"), tmp_path)
    (folder,) = tmp_path.iterdir()
    run = reopen(folder)
    assert (run.state, run.message) == ("failed", "data must be finite, found NaN in row 3")
    with pytest.raises(InputError, match="has no findings, it is failed: `thalweg resume"):
        load_findings(run)


def test_bad_input(ladder: Experiment, tmp_path: Path) -> None:
    config = ladder.preset("tiny")
    with pytest.raises(InputError, match="unknown experiment 'lader', did you mean 'ladder'"):
        execute("lader", config, tmp_path)
    with pytest.raises(InputError, match=r"config must be a Config of ladder, found builtins.dict"):
        execute("ladder", {"seed": 0}, tmp_path)
    with pytest.raises(InputError, match="device must be one of this machine, found 'cuda:99'"):
        execute("ladder", override(config, {"device": "cuda:99"}), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_runs_of_another_version(ladder: Experiment, tmp_path: Path) -> None:
    more = {"seed": 0, "device": "cpu", "data_checksum": None, "command": ""}
    run = Run.create(tmp_path, "ladder", {"seed": 0, "colour": "red"}, **more)
    with pytest.raises(InputError, match="cannot be continued by this version: unknown field 'colour'"):
        reopen(run.path)
    run = Run.create(tmp_path, "forgotten", {"seed": 0}, **more)
    with pytest.raises(InputError, match="cannot be continued by this version: unknown experiment 'forgotten'"):
        reopen(run.path)

"""What a recording keeps in its folder, and what happens to it when the disk does not play along."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

from thalweg._files.writing import WriteError
from thalweg.errors import InputError
from thalweg.runs import Run


def names(run: Run) -> list[str]:
    return sorted(path.name for path in (run.files.snapshots / "training").iterdir())


def test_layout(run: Run, fill) -> None:
    with run.writing():
        fill(run.recording(), 6, every=3)
    assert names(run) == [
        "00000.metrics.parquet", "00000.safetensors", "00001.metrics.parquet", "00001.safetensors", "state.safetensors",
    ]  # fmt: skip


def test_shards_explain_themselves(run: Run, fill) -> None:
    """Any safetensors reader can use a shard without this package."""
    from safetensors.torch import load_file

    with run.writing():
        theta = fill(run.recording(), 6, every=3)
    shard = load_file(run.files.snapshots / "training" / "00001.safetensors")
    assert torch.equal(shard["theta"], theta[3:])
    assert shard["steps"].tolist() == [3, 4, 5]
    assert shard["epochs"].tolist() == [1.5, 2.0, 2.5]


def test_no_pickle_in_any_file(run: Run, fill) -> None:
    with run.writing():
        fill(run.recording())
        run.save("a", {"x": torch.ones(3)})
    files = [path for path in run.path.rglob("*") if path.is_file()]
    assert {".json", ".safetensors", ".parquet"} <= {path.suffix for path in files}
    assert all(path.suffix in (".json", ".safetensors", ".parquet") or path.name == "lock" for path in files)


def test_another_process_reads_what_is_committed(run: Run, fill) -> None:
    with run.writing():
        recording = run.recording()
        theta = fill(recording, 3, every=3)
        reader = Run.open(run.path).recording()
        before = reader.snapshots
        recording.append(3, 1.5, theta[0])
        assert len(reader.snapshots) == 3
        recording.commit({}, {})
        assert len(reader.snapshots) == 4
        assert torch.equal(before[:], theta)  # a view taken earlier stays what it was


def test_writing_needs_the_lock(run: Run, fill) -> None:
    message = r"must be open for writing here: use `with run.writing\(\):`"
    recording = run.recording()
    for write in (
        lambda: recording.append(0, 0.0, torch.ones(1, 1)),
        lambda: recording.commit({}, {}),
        recording.restore,
    ):
        with pytest.raises(InputError, match=message):
            write()
    with run.writing():
        fill(recording)
    with pytest.raises(InputError, match=message):
        recording.commit({}, {})
    assert len(recording.snapshots) == 6


def test_steps_kept_over_another_writer(run: Run, fill) -> None:
    """The lock was released in between: what was collected before no longer fits, and must not overwrite a commit."""
    with run.writing():
        run.recording().append(0, 0.0, torch.zeros(2, 5))
    other = Run.open(run.path)
    with other.writing():
        theta = fill(other.recording(), 3, every=3)
    with run.writing():
        with pytest.raises(InputError, match=r"was changed by another writer; restore\(\) continues from there"):
            run.recording().commit({}, {})
        run.recording().restore()
        run.recording().append(3, 1.5, torch.ones(2, 5))
        run.recording().commit({}, {})
    assert torch.equal(run.snapshots[:], torch.cat([theta, torch.ones(1, 2, 5)]))


def fails_at(monkeypatch: pytest.MonkeyPatch, number: int, code: int) -> None:
    """The `number`-th replacement of a file fails, and all later ones."""
    replace, count = os.replace, iter(range(1000))

    def failing(source: object, target: object) -> None:
        if next(count) >= number:
            raise OSError(code, os.strerror(code))
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)


@pytest.mark.parametrize("number", [0, 1, 2], ids=["shard", "metrics", "state"])
def test_disk_full_during_a_commit(run: Run, fill, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    with run.writing():
        recording = run.recording()
        theta = fill(recording, 6, every=4)
        before = names(run)
        with monkeypatch.context() as patch:
            fails_at(patch, number, errno.ENOSPC)
            with pytest.raises(
                WriteError, match=rf"cannot write {run.path}/snapshots/training/.*: no space left on device"
            ):
                recording.commit({}, {})
        assert names(run) == before  # nothing half-written, no temporary file
        assert torch.equal(recording.snapshots[:], theta[:4])
        assert recording.pending
        recording.commit({}, {"again": True})  # room was made: nothing is lost
    assert torch.equal(recording.snapshots[:], theta)
    assert recording.metrics["loss"].to_list() == theta.mean(2).flatten().tolist()


def test_a_commit_that_really_runs_out_of_room(run: Run, fill, file_limit) -> None:
    with run.writing():
        recording = run.recording()
        theta = fill(recording, 4, every=4, shape=(2, 500))
        recording.append(4, 2.0, torch.ones(2, 500))
        before = names(run)
        # The shard (some 4 kB) still goes; the state does not.
        with file_limit(16_000), pytest.raises(WriteError, match=r"state.safetensors: file too large"):
            recording.commit({"momentum": torch.zeros(10_000)}, {})
        assert names(run) == before
        assert torch.equal(recording.snapshots[:], theta)


def test_read_only_in_the_middle(run: Run, fill, monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> None:
        with run.writing():
            fill(run.recording(), 3, every=3)
            fails_at(monkeypatch, 0, errno.EROFS)
            fill(run.recording(), 3, every=3)

    with pytest.raises(InputError, match="step must not go back"):
        work()
    monkeypatch.undo()
    assert run.state == "interrupted"  # even the mark could not be written; the lock tells
    with run.writing():
        assert run.recording().restore()[1] == {"step": 2}


def test_restore_removes_what_no_commit_refers_to(run: Run, fill) -> None:
    folder = run.files.snapshots / "training"
    with run.writing():
        fill(run.recording(), 3, every=3)
        before = names(run)
        for name in ("00001.safetensors", "00001.metrics.parquet", ".tmp-999999999-0-state.safetensors"):
            (folder / name).write_bytes(b"half")
        assert len(run.recording().snapshots) == 3
        assert len(run.recording().metrics) == 6
        run.recording().restore()
    assert names(run) == before


def test_a_file_that_no_kill_can_have_left_is_named_and_stays(run: Run, fill) -> None:
    with run.writing():
        fill(run.recording(), 3, every=3)
    strange = run.files.snapshots / "training" / "00007.safetensors"
    strange.write_bytes(b"somebody's")
    with (
        pytest.raises(InputError, match=r"00007.safetensors is none of the files that the run has written; remove it"),
        run.writing(),
    ):
        pass
    assert strange.read_bytes() == b"somebody's"
    strange.unlink()
    with run.writing():
        assert run.recording().restore()[1] == {"step": 2}


def corrupt(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def test_corrupt_files_are_named(run: Run, fill) -> None:
    with run.writing():
        fill(run.recording(), 6, every=3)
    recording = Run.open(run.path).recording()
    folder = run.files.snapshots / "training"
    corrupt(folder / "00001.safetensors")
    with pytest.raises(InputError, match=r"training/00001.safetensors is corrupt"):
        recording.snapshots[:]
    assert len(recording.snapshots[:3]) == 3
    corrupt(folder / "00000.metrics.parquet")
    with pytest.raises(InputError, match=r"training/00000.metrics.parquet is corrupt"):
        _ = recording.metrics
    corrupt(folder / "state.safetensors")
    with pytest.raises(InputError, match=r"training/state.safetensors is corrupt"):
        _ = recording.steps


def test_a_foreign_or_newer_state(run: Run) -> None:
    from thalweg._files.tensors import save_tensors

    path = run.files.snapshots / "training" / "state.safetensors"
    save_tensors(path, {"x": torch.ones(1)})
    with pytest.raises(InputError, match=r"state.safetensors is corrupt: it is no training state"):
        _ = run.recording().steps
    steps = {"contents/steps": torch.zeros(0), "contents/epochs": torch.zeros(0)}
    save_tensors(path, steps, {"contents": '{"format": 3}', "meta": "{}"})
    with pytest.raises(InputError, match=r"state.safetensors must be of format 2 for this thalweg, found 3"):
        _ = run.recording().steps

"""Checksums of files and documents, and what becomes of a run that has none."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from polars.testing import assert_frame_equal

from tests.runs.damage import unchecked
from thalweg.errors import InputError
from thalweg.runs import Run
from thalweg.runs.checksums import Checksum, checksum_of, read_sealed, verify, write_sealed

ORIGIN = {"seed": 0, "device": "cpu", "data_checksum": None, "command": "thalweg run demo"}


def test_a_checksum_is_that_of_sha256sum(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc" * 100_000)
    assert checksum_of(path) == Checksum(300_000, hashlib.sha256(path.read_bytes()).hexdigest())
    assert Checksum.from_json(json.loads(json.dumps(checksum_of(path).to_json()))) == checksum_of(path)


def test_a_change_of_one_bit_that_leaves_size_and_time_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(1000))
    os.utime(path, (1, 1))
    expected = checksum_of(path)
    verify(path, expected)
    path.write_bytes(bytes(999) + b"\x01")
    os.utime(path, (1, 1))
    with pytest.raises(InputError, match="a is corrupt: it does not match its checksum"):
        verify(path, expected)
    path.write_bytes(bytes(999))
    with pytest.raises(InputError, match="a is corrupt: it has 999 bytes, 1,000 were written"):
        verify(path, expected)


def test_a_document_counts_under_its_name_in_its_run(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_sealed(path, {"x": (1, float("nan"))}, "run 1")
    assert repr(read_sealed(path, "run 1")) == "{'x': [1, nan]}"
    other = path.rename(tmp_path / "b.json")
    for identity in ("run 1", "run 2"):
        with pytest.raises(InputError, match=r"b.json is corrupt: it does not match its checksum"):
            read_sealed(other, identity)


def test_the_files_of_a_run_are_noted(run: Run, fill) -> None:
    with run.writing():
        fill(run.recording(), 6, every=3)
        run.recording().finish()
        run.save("a", {"x": torch.ones(2)})
        run.save("a", 3)
        run.complete()
    noted = json.loads(run.files.checksums.read_text())["files"]
    assert sorted(noted) == [
        "complete.json", "config.json", "environment.json", "results/a.json", "snapshots/training/state.safetensors",
        "state.json",
    ]  # fmt: skip
    content = (run.files.results / "a.json").read_bytes()
    assert noted["results/a.json"] == [len(content), hashlib.sha256(content).hexdigest()]
    Run.open(run.path).check()


def test_what_is_lost_is_not_computed_again(run: Run) -> None:
    with run.writing():
        run.cached("a", lambda: 1)
    (run.files.results / "a.json").unlink()
    again = Run.open(run.path)
    assert again.results == ["a"]
    with pytest.raises(InputError, match=r"results/a.json is missing"):
        again.cached("a", lambda: 2)
    with pytest.raises(InputError, match=r"results/a.json is missing"), again.writing():
        pass
    assert again.state == "interrupted"


def test_a_result_that_somebody_has_put_there_is_refused(run: Run) -> None:
    run.save("a", 1)
    (run.files.results / "b.json").write_text("2")
    for use in (lambda: run.load("b"), lambda: run.cached("b", lambda: 3), run.check):
        with pytest.raises(InputError, match=r"results/b.json is none of the files that the run has written"):
            use()
    run.save("b", 3)  # said aloud, it takes the place
    assert run.load("b") == 3
    run.check()


def test_results_are_removed(run: Run) -> None:
    run.save("a", 1)
    run.save("b", {"x": torch.ones(1)})
    run.remove(["a", "b", "never"])
    assert (run.results, list(run.files.results.iterdir())) == ([], [])
    run.check()


def test_many_savers_at_once_lose_nothing(run: Run) -> None:
    """Threads of this process and another process, none of which holds the run."""
    script = (
        "import sys; from thalweg.runs import Run; run = Run.open(sys.argv[1])\n"
        "for i in range(20): run.save(f'other-{i}', i)"
    )
    other = subprocess.Popen([sys.executable, "-c", script, str(run.path)])
    readers: list[object] = []

    def save(thread: int) -> None:
        mine = Run.open(run.path)
        for number in range(10):
            mine.save(f"{thread}-{number}", number)
            mine.save("shared", {"of": thread, "padding": "x" * number})
            readers.append(mine.load("shared"))

    threads = [threading.Thread(target=save, args=(thread,)) for thread in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert other.wait() == 0
    assert len(readers) == 30
    assert len(run.results) == 20 + 30 + 1
    run.check()


def walked(root: Path, *, until: int | None = None) -> Run:
    """A walk of three commits that goes on where it stopped."""
    run = Run.create(root, "walk", {}, **ORIGIN)
    with run.writing():
        recording = run.recording()
        restored = recording.restore()
        theta, first = (torch.ones(2, 3), 0) if restored is None else (restored[0]["theta"], restored[1]["step"])
        for step in range(first, 6):
            theta = theta * 0.9
            recording.append(step, step / 2, theta, {"loss": theta.mean(1)})
            if step % 2:
                recording.commit({"theta": theta}, {"step": step + 1})
            if step == until:
                return run
        recording.finish()
        run.cached("last", lambda: {"theta": theta})
        run.complete()
    return run


def test_a_run_from_before_there_were_checksums_goes_on(tmp_path: Path) -> None:
    undisturbed = walked(tmp_path / "a")
    begun = walked(tmp_path / "b", until=3)
    unchecked(begun.path)
    assert Run.open(begun.path).snapshots.shape == (4, 2, 3)
    assert Run.open(begun.path).ledger.read() is None
    run = walked(tmp_path / "b")
    assert run.state == "complete"
    assert torch.equal(run.snapshots[:], undisturbed.snapshots[:])
    assert_frame_equal(run.metrics, undisturbed.metrics)
    assert torch.equal(run.load("last")["theta"], undisturbed.load("last")["theta"])
    assert not run.files.checksums.exists()
    run.check()
    for number in (1, 2):
        shard = run.files.snapshots / "training" / f"{number:05d}.safetensors"
        content = shard.read_bytes()
        shard.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert run.snapshots[2].shape == (2, 3)  # nothing tells that it was altered
    with pytest.raises(InputError, match=r"00002.safetensors is corrupt"):  # what was written since has its checksum
        run.snapshots[4]


def test_a_complete_run_from_before_is_read(tmp_path: Path) -> None:
    run = walked(tmp_path)
    expected = run.metrics
    unchecked(run.path)
    old = Run.open(run.path)
    old.check()
    assert_frame_equal(old.metrics, expected)
    assert old.recording().metrics.height == expected.height
    assert old.environment["command"] == ORIGIN["command"]


def test_lost_checksums_are_not_taken_for_a_run_from_before(tmp_path: Path) -> None:
    run = walked(tmp_path)
    run.files.checksums.unlink()
    for use in (lambda: run.metrics, lambda: run.load("last"), lambda: run.config, run.check):
        with pytest.raises(InputError, match=r"checksums.json is missing"):
            use()

"""The lines of the table: what they say of runs of every kind, damaged ones included."""

from __future__ import annotations

import os
import re
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.viewer.conftest import EVIL, completed, make, record
from thalweg.errors import InputError
from thalweg.experiments import Experiment, execute
from thalweg.viewer import listing
from thalweg.viewer.application import application
from thalweg.viewer.listing import described, line, opened, rows


def test_a_complete_run(root: Path) -> None:
    run = completed(root, lr=0.1, widths=[8, 8])
    row = line(root, run.name)
    assert (row.state, row.message, row.progress, row.share, row.live) == ("complete", "", "", None, False)
    assert (row.experiment, row.preset, row.changes) == ("mine", "", ("lr=0.1", "widths=8, 8"))
    assert (row.finding, row.picture, row.report) == (f"The loss is 0.25. {EVIL}", "figures/first-figure.png", True)
    assert row.bytes == run.size
    assert row.age.endswith(" s")
    assert abs(row.created - datetime.fromisoformat(run.environment["created"]).timestamp()) < 0.01


def test_a_report_that_is_still_to_come(root: Path) -> None:
    run = completed(root)
    run.files.report.unlink()
    assert line(root, run.name).live
    os.utime(run.files.complete, (1e9, 1e9))
    assert not line(root, run.name).live  # it will not come any more


def test_progress_of_a_running_run(root: Path) -> None:
    run = make(root, lr=1)
    assert line(root, run.name).state == "new"
    with run.writing():
        record(run, steps=4, finished=False, total=12)
        row = line(root, run.name)
        assert (row.state, row.progress, row.share, row.live) == ("running", "training: step 3 of 12", 0.25, True)
        run.recording().commit({}, {"step": 3, "total": 12}, [{"status": "running"}, {"status": "diverged"}])
        assert line(root, run.name).progress == "training: step 3 of 12, 1 of 2 replicas diverged"
        run.recording().finish()
        run.save("x", 1)
        assert line(root, run.name).progress == "1 recording finished, 1 result kept"
    row = line(root, run.name)
    assert (row.state, row.message, row.live) == ("interrupted", "left before it was complete", False)


def test_a_failed_run_says_why(root: Path) -> None:
    run = make(root)
    with pytest.raises(ValueError, match="exploded"), run.writing():
        raise ValueError("it exploded")
    row = line(root, run.name)
    assert (row.state, row.message) == ("failed", "ValueError: it exploded")


def test_a_line_follows_its_files(root: Path) -> None:
    run = completed(root)
    assert line(root, run.name).picture
    for path in run.files.figures.iterdir():
        path.unlink()
    assert not line(root, run.name).picture


def test_the_nearest_preset_and_what_differs(ladder: Experiment, tmp_path: Path) -> None:
    config = ladder.preset("quick").model_dump(mode="json") | {"seed": 7}
    assert described("ladder", config) == ("quick", ("seed=7",))
    config["slopes"], config["descent"]["steps"] = [3.0], 41
    assert described("ladder", config) == ("quick", ("seed=7", "slopes=3.0", "descent.steps=41"))
    run = execute("ladder", ladder.preset("tiny"), tmp_path)
    assert line(tmp_path, run.name).preset == "tiny"


def test_a_sweep_names_what_it_sweeps(ladder: Experiment) -> None:
    config = ladder.preset("tiny").model_dump(mode="json")
    seedless = {name: value for name, value in config.items() if name != "seed"}
    assert described("ladder", {"sweep": {"seed": [0, 1]}, "plot": ["loss"], **seedless}) == ("tiny", ("seed: 0, 1",))
    many = {"sweep": {"seed": list(range(10))}, **seedless}
    assert described("ladder", many) == ("tiny", ("seed: 0 … 9 (10 values)",))


def test_progress_of_a_sweep(ladder: Experiment, root: Path) -> None:
    from thalweg.sweeps import plan
    from thalweg.sweeps.sweeping import open_sweep

    made = plan("ladder", ladder.preset("tiny"), {"seed": "0..3"})
    run = open_sweep(made, root)
    execute("ladder", made.tasks[2].config, root)
    with run.writing():
        row = line(root, run.name)
        page = TestClient(application(root), base_url="http://localhost").get(f"/run/{run.name}").text
    assert (row.progress, row.share, row.preset) == ("1 of 4 tasks complete", 0.25, "tiny")
    assert re.findall(r"\?show=(\w+)", page) == ["settings", "files"]  # it records nothing itself


def test_damage_never_breaks_the_list(root: Path, damaged: dict[str, Path]) -> None:
    found = {row.name: row for row in rows(root)}
    assert {path.name for path in damaged.values()} <= found.keys()
    assert (found["config"].state, found["environment"].state) == ("broken", "broken")
    assert found["config"].message.startswith("config.json is corrupt")
    assert found["half-0123456789"].state == "broken"
    assert found["findings"].message.startswith("its findings cannot be read: results/findings.json is corrupt")
    assert found["metrics"].message.startswith("metrics.parquet is corrupt: it has 13 bytes")
    assert found["complete"].message.startswith("complete.json is corrupt")
    assert found["state"].message == "complete.json is missing"
    damaged_ones = [found[path.name] for path in damaged.values()]
    assert {row.state for row in damaged_ones} == {"broken"}
    assert found["metrics"].finding.startswith("The loss is 0.25.")  # what can be told is told


def test_many_runs_are_looked_at_one_by_one(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The work grows with their number, not with its square."""
    asked: list[str] = []
    original = listing._is_run
    monkeypatch.setattr(listing, "_is_run", lambda root, name: asked.append(name) or original(root, name))
    for seed in range(20):
        make(root, seed=seed)
    assert len(rows(root)) == 20
    assert len(asked) == 40


def test_what_is_no_run_is_not_listed(root: Path) -> None:
    (root / "course-figures").mkdir()
    (root / ".hidden").mkdir()
    (root / ".hidden" / "config.json").write_text("{}")
    (root / "course.html").write_text("")
    assert rows(root) == []
    assert rows(root / "nowhere") == []


def test_the_newest_come_first(root: Path) -> None:
    names = [make(root, seed=seed).name for seed in range(3)]
    assert [row.name for row in rows(root)] == names[::-1]


def test_a_link_out_of_the_root_is_not_followed(root: Path, tmp_path: Path) -> None:
    elsewhere = completed(tmp_path / "elsewhere", secret="SECRET")
    (root / "linked").symlink_to(elsewhere.path)
    row = line(root, "linked")
    assert row.state == "broken"
    assert "leads out of" in row.message
    assert "SECRET" not in str(asdict(row))
    inner = completed(root)
    (root / "again").symlink_to(inner.path)
    assert line(root, "again").state == "complete"


@pytest.mark.parametrize("name", ["", ".", "..", "nothing", "mine/..", "/etc", "a\0b", "a" * 5000])
def test_only_names_of_runs_are_opened(root: Path, name: str) -> None:
    completed(root)
    with pytest.raises(InputError, match="there is no run"):
        opened(root, name)

"""`thalweg course`: every experiment once, in the order of the course; what fails hides nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from thalweg import cli
from thalweg.cli import arguments, course
from thalweg.experiments import discover, execute, find
from thalweg.report.course import FURTHER, experiments
from thalweg.runs import Run

SOME = ("function-fit", "trajectory")


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A course of two experiments, whose quick presets are tiny."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("thalweg.report.course.experiments", lambda: SOME)
    monkeypatch.setattr("thalweg.report.course.FURTHER", ())
    monkeypatch.setattr("thalweg.figures.matplotlib.render", lambda _: (b"", b"<svg/>"))  # slow, and tested elsewhere
    for name in SOME:
        presets = find(name).presets
        monkeypatch.setitem(presets, "quick", presets["tiny"])
        monkeypatch.setitem(presets, "course", presets["tiny"].model_copy(update={"seed": 1}))
    return tmp_path


def states(folder: Path) -> dict[str, str]:
    return {run.experiment: run.state for run in map(Run.open, folder.glob("runs/*-*"))}


def test_course_has_every_experiment() -> None:
    assert set(experiments()) | set(FURTHER) == discover().keys()


@pytest.mark.parametrize("name", [*experiments(), *FURTHER])
def test_every_experiment_has_the_presets_of_the_course(name: str) -> None:
    presets = find(name).presets
    assert set(arguments.PRESETS) <= presets.keys()
    data = {getattr(stage, "config", None) and stage.config.data.name for stage in presets["course"].stages()}
    assert data <= {"mnist", "function", None}  # nothing that has to be downloaded apart from MNIST


def test_runs_all_and_writes_the_document(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["course"]) == 0
    out, error = capsys.readouterr()
    assert states(small) == dict.fromkeys(SOME, "complete")
    assert re.search(r"^2 experiments: about \d+ seconds?$", error, re.MULTILINE)
    assert [line for line in error.splitlines() if re.match(r"\d of 2: ", line)] == [
        "1 of 2: function-fit",
        "2 of 2: trajectory",
    ]
    page = small / "runs" / "course.html"
    assert out.splitlines()[-1] == "report: runs/course.html"
    assert f"<title>{course.TOUR}" in page.read_text(encoding="utf-8")


def test_finished_experiments_are_not_run_again(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    execute(SOME[0], find(SOME[0]).preset("course"), "elsewhere")
    monkeypatch.setattr(find(SOME[0]).module, "run", lambda *_: 1 / 0)
    assert cli.main(["course", "--preset", "course", "--runs", "elsewhere"]) == 0
    out, error = capsys.readouterr()
    assert "2 experiments, 1 of them complete already: about" in error
    assert out.splitlines()[-1] == "report: elsewhere/course.html"
    assert course.TOUR not in Path("elsewhere/course.html").read_text(encoding="utf-8")


def test_one_that_fails_does_not_keep_the_others_from_running(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(find(SOME[0]).module, "run", lambda *_: 1 / 0)
        assert cli.main(["course"]) == 1
    out, error = capsys.readouterr()
    assert states(small) == {SOME[0]: "failed", SOME[1]: "complete"}
    assert "ZeroDivisionError" in error
    assert error.splitlines()[-1].startswith(f"thalweg: 1 of 2 failed: {SOME[0]}; `thalweg course --preset quick")
    assert out.splitlines()[-1] == "report: runs/course.html"
    assert cli.main(["course"]) == 0
    assert states(small) == dict.fromkeys(SOME, "complete")


def test_an_interrupt_says_how_to_go_on(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(find(SOME[1]).module, "run", interrupted)
    assert cli.main(["course"]) == 130
    assert states(small) == {SOME[0]: "complete", SOME[1]: "interrupted"}
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "thalweg: interrupted; `thalweg course --preset quick --runs runs` continues"


def test_missing_data_are_told_before_anything_begins(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    presets = find(SOME[1]).presets
    nowhere = presets["tiny"].model_copy(update={"data": presets["course"].data.model_copy(update={"name": "mnist"})})
    monkeypatch.setitem(presets, "quick", nowhere)
    monkeypatch.setattr("thalweg.tasks.places.where", lambda *_: [])
    assert cli.main(["course"]) == 2
    assert "mnist" in capsys.readouterr().err
    assert not (small / "runs").exists()

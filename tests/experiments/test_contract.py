"""What every experiment must do, on its ``tiny`` preset; a new file in experiments/ is picked up by itself."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import thalweg.experiments
from tests.conftest import EXTRA
from thalweg.experiments import Findings, discover, execute, find
from thalweg.experiments.framework.execution import load_findings
from thalweg.experiments.framework.fields import rows
from thalweg.objective import Objective
from thalweg.runs import Run

NAMES = [*discover(), "ladder"]  # the ladder shows that the contract itself holds where nothing is wrong

KILLED = """
import os, signal, sys
real, left = os.replace, int(sys.argv[1])
def replace(*given):  # every file of a run is put into its place by this call
    global left
    real(*given)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = replace
import torch
torch.set_num_threads(1)
from thalweg.experiments import execute, find
execute(sys.argv[2], find(sys.argv[2]).preset("tiny"), sys.argv[3])
"""


@pytest.fixture(scope="module", autouse=True)
def _extra() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thalweg.experiments, "__path__", [*thalweg.experiments.__path__, str(EXTRA)])
        yield


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def finished(name: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, int]:
    """An undisturbed run, and how many files it put into their places."""
    count = 0
    real = os.replace

    def counting(*given: object) -> None:
        nonlocal count
        count += 1
        real(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", counting)
        run = execute(name, find(name).preset("tiny"), tmp_path_factory.mktemp(name))
    return run, count


def same_snapshots(one: Run, other: Run) -> bool:
    return one.recordings == other.recordings and all(
        torch.equal(one.recording(part).snapshots[:].nan_to_num(), other.recording(part).snapshots[:].nan_to_num())
        for part in one.recordings
    )


def test_is_documented(name: str) -> None:
    experiment = find(name)
    docstring = experiment.module.__doc__ or ""
    assert len(docstring.split("\n\n")) > 1, "the docs page needs more than a summary"
    assert {"tiny", "quick"} <= experiment.presets.keys()
    assert [row.name for row in rows(experiment.config) if not row.text] == []


def test_every_field_is_in_the_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    from thalweg.cli import main

    assert main(["run", name, "--help"]) == 0
    short = capsys.readouterr().out.partition("with their values")[2]
    assert 5 <= len(re.findall(r"^  --\w", short, re.MULTILINE)) <= 14
    assert main(["run", name, "--help-all"]) == 0
    shown = capsys.readouterr().out
    fields = [row.name for row in rows(find(name).config) if not row.tables]
    assert [field for field in fields if f"--{field}" not in shown] == []


def test_finishes(finished: tuple[Run, int]) -> None:
    run, _ = finished
    found = load_findings(run)
    assert run.state == "complete"
    assert found.figures
    assert found.statements
    assert found.numbers


def test_same_seed_same_numbers(name: str, finished: tuple[Run, int], tmp_path: Path) -> None:
    again = execute(name, find(name).preset("tiny"), tmp_path)
    assert load_findings(again) == load_findings(finished[0])
    assert same_snapshots(again, finished[0])


def test_resumes_after_a_kill(name: str, finished: tuple[Run, int], tmp_path: Path) -> None:
    run, count = finished
    environment = {**os.environ, "THALWEG_EXPERIMENTS": str(EXTRA), "OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, "-c", KILLED, str(count // 2), name, str(tmp_path)]
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment)
    assert done.returncode == -signal.SIGKILL, done.stderr
    killed = Run.open(tmp_path / run.name)
    assert killed.state == "interrupted"
    resumed = execute(name, find(name).preset("tiny"), tmp_path)
    assert load_findings(resumed) == load_findings(run)
    assert same_snapshots(resumed, run)


def render(found: Findings, folder: Path) -> None:
    """Both ways; every figure must come out, and as something."""
    from thalweg.figures import matplotlib, plotly

    for figure in found.figures:
        matplotlib.save(figure, folder / figure.name)
        for suffix in (".png", ".svg"):
            assert (folder / figure.name).with_suffix(suffix).stat().st_size > 1000
        assert plotly.to_json(figure)["data"]


def test_renders_both_ways(finished: tuple[Run, int], tmp_path: Path) -> None:
    render(load_findings(finished[0]), tmp_path)


def test_reports(finished: tuple[Run, int]) -> None:
    from thalweg import report

    found = load_findings(finished[0])
    page = report.write(finished[0]).read_text()
    for figure in found.figures:
        assert figure.title in page
    assert "<script src=" not in page, "the report opens offline"


@pytest.mark.parametrize("name", list(discover()))  # without the ladder, which trains no network
def test_survives_one_diverging_replica(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last replica starts where the loss overflows; the others must come out as if nothing had happened."""
    original = Objective.initial
    spoilt = 0

    def initial(self: Objective, replicas: int | None = None, seed: int = 0, **more: int) -> torch.Tensor:
        nonlocal spoilt
        theta = original(self, replicas, seed, **more)
        if replicas is None or replicas < 2:
            return theta
        spoilt += 1
        theta = theta.clone()
        theta[-1] *= 1e30
        return theta

    monkeypatch.setattr(Objective, "initial", initial)
    run = execute(name, find(name).preset("tiny"), tmp_path)
    assert spoilt, "the tiny preset must start at least two replicas by Objective.initial"
    statuses = [entry["status"] for part in run.recordings for entry in run.recording(part).status]
    assert "diverged" in statuses
    assert "completed" in statuses
    found = load_findings(run)
    assert any("diverge" in warning for warning in found.warnings)
    render(found, tmp_path)

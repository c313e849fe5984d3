"""The table of a sweep, where tasks differ in what they have left."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from thalweg._files.writing import write_bytes
from thalweg.experiments import Experiment, execute
from thalweg.experiments.framework.execution import start
from thalweg.sweeps import Plan, plan
from thalweg.sweeps.table import collect
from thalweg.sweeps.working import Outcome


@pytest.fixture
def five(weather: Experiment, tmp_path: Path) -> Plan:
    """Tasks that are complete, begun, running, damaged, and not there."""
    made = plan("weather", weather.preset("tiny"), {"seed": "0..4"})
    for task in (made.tasks[0], made.tasks[3]):
        execute("weather", task.config, tmp_path)
    start("weather", made.tasks[1].config, tmp_path)
    start("weather", made.tasks[2].config, tmp_path)
    write_bytes(tmp_path / made.tasks[3].name / "results" / "findings.json", b"{")
    return made


def test_every_ending(five: Plan, tmp_path: Path) -> None:
    run = start("weather", five.tasks[2].config, tmp_path)
    with run.writing():
        table = collect(five, tmp_path)
    assert table["status"].to_list() == ["complete", "missing", "running", "failed", "missing"]
    assert "findings.json is corrupt" in table["message"][3]
    assert table["result.force"].is_null().to_list() == [False, True, True, True, True]


def test_a_worker_says_why(five: Plan, tmp_path: Path) -> None:
    names = [task.name for task in five.tasks]
    told = {names[4]: Outcome("failed", "device must be one of this machine"), names[0]: Outcome("failed", "late")}
    table = collect(five, tmp_path, told)
    assert table["message"][4] == "device must be one of this machine"
    assert (table["status"][0], table["message"][0]) == ("complete", "")  # what the folder says counts


def test_a_folder_that_is_not_shared(five: Plan, tmp_path: Path) -> None:
    name = five.tasks[0].name
    shutil.rmtree(tmp_path / name)
    table = collect(five, tmp_path, {name: Outcome("complete")})
    assert table["status"][0] == "missing"
    assert table["message"][0] == f"a worker completed it, but {tmp_path / name} is not here: is it shared?"

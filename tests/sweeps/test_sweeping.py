"""Whole sweeps on real workers: faults, repetition, a killed driver."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest

from tests.sweeps.conftest import WEATHER
from thalweg.errors import InputError
from thalweg.experiments import Experiment, execute
from thalweg.runs import Run, find_runs
from thalweg.sweeps import Local, plan, sweep
from thalweg.sweeps.planning import Plan
from thalweg.sweeps.sweeping import missing, open_sweep
from thalweg.sweeps.table import collect

DRIVER = """
import sys
from pathlib import Path
import thalweg.experiments
if __name__ == "__main__":
    thalweg.experiments.__path__.append(sys.argv[1])
    from thalweg.experiments import find
    from thalweg.sweeps import plan, sweep
    config = find("weather").preset("tiny").model_copy(update={"seconds": 0.3, "log": Path(sys.argv[2])})
    sweep(plan("weather", config, {"seed": "0..7"}), sys.argv[3], 2)
"""


def made(experiment: Experiment, log: Path, sweeps: dict[str, object], **settings: object) -> Plan:
    config = experiment.preset("tiny").model_copy(update={"log": log, **settings})
    return plan("weather", config, sweeps)


def beginnings(log: Path) -> int:
    return len(log.read_text().splitlines())


def test_faults_of_single_tasks(weather: Experiment, tmp_path: Path) -> None:
    """Tasks that raise, find NaN, fill the disk or kill their worker; whatever the others do, the rest is complete."""
    log = tmp_path / "log"
    faults = "none,raise,refuse,nan,full-disk,die-once,die"
    everything = made(weather, log, {"fault": faults})
    done = sweep(everything, tmp_path / "runs", 2)
    rows = {row["fault"]: row for row in done.table.iter_rows(named=True)}
    assert {fault: row["status"] for fault, row in rows.items()} == {
        "none": "complete",
        "raise": "failed",
        "refuse": "failed",
        "nan": "complete",
        "full-disk": "failed",
        "die-once": "complete",
        "die": "failed",
    }
    assert rows["raise"]["message"] == "RuntimeError: hail has broken the glass"
    assert rows["refuse"]["message"] == "wind must blow, found none"
    assert rows["full-disk"]["message"].endswith("pressure.safetensors: no space left on device")
    assert rows["die"]["message"] == "its worker process died 3 times (out of memory or killed)"
    assert math.isnan(rows["nan"]["result.force"])
    assert rows["raise"]["result.force"] is None
    assert rows["die-once"]["result.force"] == rows["none"]["result.force"]
    assert (done.run.state, done.run.message) == ("failed", "4 of 7 tasks are not complete")
    assert len(done.findings.warnings) == 4
    assert pl.read_parquet(done.run.path / "sweep.parquet").equals(done.table, null_equal=True)
    assert [task.values["fault"] for task in missing(everything, tmp_path / "runs")] == [
        "raise", "refuse", "full-disk", "die"
    ]  # fmt: skip


def test_again_runs_only_what_is_missing(weather: Experiment, tmp_path: Path) -> None:
    log, root = tmp_path / "log", tmp_path / "runs"
    three = made(weather, log, {"seed": "0..2"})
    five = made(weather, log, {"seed": "0..4"})
    with ThreadPoolExecutor(2) as executor:
        first = sweep(three, root, executor, command="thalweg sweep weather")
        assert beginnings(log) == 3
        second = sweep(five, root, executor)
        assert beginnings(log) == 5
        third = sweep(five, root, executor)
        assert beginnings(log) == 5
    assert [done.run.state for done in (first, second, third)] == ["complete"] * 3
    assert first.run.environment["command"] == "thalweg sweep weather"
    assert first.run.path != second.run.path == third.run.path
    assert third.table.equals(second.table)
    assert third.findings == second.findings
    assert second.table.head(3).drop("seed").equals(first.table.drop("seed"))
    assert len(find_runs(root)) == 5 + 2


def test_failed_tasks_are_tried_again(weather: Experiment, tmp_path: Path) -> None:
    full = made(weather, tmp_path / "log", {"fault": "none,full-disk"})
    with ThreadPoolExecutor(1) as executor:
        assert sweep(full, tmp_path, executor).run.state == "failed"
        again = sweep(full, tmp_path, executor)
    assert again.run.state == "complete"
    assert again.table["result.force"].n_unique() == 1
    assert beginnings(tmp_path / "log") == 3


def test_driver_killed(weather: Experiment, tmp_path: Path) -> None:
    """`kill -9` at the driver: its workers stop, and the next sweep does only what is missing."""
    log, root = tmp_path / "log", tmp_path / "runs"
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    eight = made(weather, log, {"seed": "0..7"}, seconds=0.3)
    driver = subprocess.Popen([sys.executable, str(script), str(WEATHER), str(log), str(root)])
    deadline = time.monotonic() + 120
    while len(missing(eight, root)) > 5 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    time.sleep(1.0)  # for workers that would go on
    left = missing(eight, root)
    assert 2 <= len(left) <= 5
    assert open_sweep(eight, root).state == "interrupted"
    before = log.read_text().splitlines()
    with ThreadPoolExecutor(1) as executor:
        done = sweep(eight, root, executor)
    assert done.run.state == "complete"
    after = [line.split()[0] for line in log.read_text().splitlines()[len(before) :]]
    assert after == [task.name for task in left]
    serial = tmp_path / "serial"
    for task in eight.tasks:
        execute("weather", task.config, serial)
    assert done.table.equals(collect(eight, serial))


def test_two_drivers(weather: Experiment, tmp_path: Path) -> None:
    one = made(weather, tmp_path / "log", {"seed": "0"})
    with (
        open_sweep(one, tmp_path).writing(),
        ThreadPoolExecutor(1) as executor,
        pytest.raises(InputError, match=f"weather-sweep-.* is being written by process {os.getpid()}"),
    ):
        sweep(one, tmp_path, executor)


def test_ctrl_c_leaves_a_table(weather: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    three = made(weather, tmp_path / "log", {"seed": "0..2"})
    from thalweg.sweeps import sweeping

    monkeypatch.setattr(sweeping, "dispatch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sweep(three, tmp_path, Local(1))
    run = open_sweep(three, tmp_path)
    assert run.state == "interrupted"
    assert pl.read_parquet(run.path / "sweep.parquet")["status"].to_list() == ["complete", "missing", "missing"]


def interrupted(orders: list, workers: object, done: object) -> None:
    from thalweg.sweeps.working import perform

    done(orders[0], perform(orders[0]))  # type: ignore[operator]
    raise KeyboardInterrupt


def test_table_of_all_settings(weather: Experiment, tmp_path: Path) -> None:
    both = made(weather, tmp_path / "log", {"wind.layers": "[8],[8,4]", "wind.gusts": "1,None"})
    with ThreadPoolExecutor(1) as executor:
        table = sweep(both, tmp_path, executor).table
    assert table.columns[:5] == ["wind.layers", "wind.gusts", "status", "message", "run"]
    assert set(table.columns[5:]) == {
        "seed", "device", "dtype", "threads", "wind.speed", "fault", "seconds", "log",
        "result.force", "result.seed", "result.place",
    }  # fmt: skip
    assert table["wind.layers"].to_list() == [[8], [8], [8, 4], [8, 4]]
    assert table["wind.gusts"].to_list() == [1, None, 1, None]
    assert table["run"].to_list() == [task.name for task in both.tasks]
    assert table["result.place"].to_list() == ["north"] * 4
    assert Run.open(tmp_path / table["run"][0]).config["wind"]["layers"] == [8]

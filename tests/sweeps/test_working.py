"""One task in a worker: delivered once, twice, or to two workers at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import thalweg.experiments
from tests.sweeps.conftest import WEATHER
from thalweg.experiments import Experiment
from thalweg.experiments.framework.execution import load_findings, start
from thalweg.runs import Run
from thalweg.sweeps import plan
from thalweg.sweeps.working import Order, Outcome, perform

HOLD = """
import sys, time
import thalweg.experiments
thalweg.experiments.__path__.append(sys.argv[1])
from thalweg.runs import Run
with Run.open(sys.argv[2]).writing():
    print("held", flush=True)
    time.sleep(60)
"""


def order(experiment: Experiment, root: Path, **settings: object) -> Order:
    config = experiment.preset("tiny").model_copy(update={"log": root / "log", **settings})
    (task,) = plan("weather", config, {"seed": "1"}).tasks
    data = task.config.model_dump(mode="json")
    return Order(task.name, "weather", data, str(root), (str(WEATHER),), "thalweg sweep weather")


def beginnings(root: Path) -> int:
    return len((root / "log").read_text().splitlines())


def test_a_second_delivery_does_nothing(weather: Experiment, tmp_path: Path) -> None:
    told = order(weather, tmp_path)
    assert perform(told) == Outcome("complete")
    run = Run.open(tmp_path / told.name)
    assert run.environment["command"] == "thalweg sweep weather"
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    assert perform(told) == Outcome("complete")
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before
    assert beginnings(tmp_path) == 1


def test_two_workers_at_once_do_it_once(weather: Experiment, tmp_path: Path) -> None:
    told = order(weather, tmp_path, seconds=0.3)
    found: list[Outcome] = []
    threads = [threading.Thread(target=lambda: found.append(perform(told))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [Outcome("complete")] * 3
    assert beginnings(tmp_path) == 1


def test_takes_over_from_a_dead_worker(weather: Experiment, tmp_path: Path) -> None:
    told = order(weather, tmp_path)
    (task,) = plan("weather", weather.preset("tiny").model_copy(update={"log": tmp_path / "log"}), {"seed": "1"}).tasks
    run = start("weather", task.config, tmp_path)
    script = [sys.executable, "-c", HOLD, str(WEATHER), str(run.path)]
    holder = subprocess.Popen(script, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    found: list[Outcome] = []
    waiting = threading.Thread(target=lambda: found.append(perform(told)))
    waiting.start()
    time.sleep(0.5)
    assert found == []  # it waits as long as the other one lives
    assert not (tmp_path / "log").exists()
    os.kill(holder.pid, signal.SIGKILL)
    waiting.join(20)
    holder.wait()
    holder.stdout.close()
    assert found == [Outcome("complete")]
    assert beginnings(tmp_path) == 1


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("raise", "RuntimeError: hail has broken the glass"),
        ("refuse", "wind must blow, found none"),
        ("full-disk", "pressure.safetensors: no space left on device"),
    ],
)
def test_an_error_is_a_value(weather: Experiment, tmp_path: Path, fault: str, message: str) -> None:
    told = order(weather, tmp_path, fault=fault)
    outcome = perform(told)
    assert outcome.status == "failed"
    assert outcome.message.endswith(message)
    assert Run.open(tmp_path / told.name).state == "failed"


def test_a_full_disk_that_is_emptied(weather: Experiment, tmp_path: Path) -> None:
    """The next delivery goes on as if nothing had been."""
    told = order(weather, tmp_path, fault="full-disk")
    assert [perform(told).status for _ in range(2)] == ["failed", "complete"]
    undisturbed = order(weather, tmp_path)
    assert perform(undisturbed).status == "complete"
    assert load_findings(Run.open(tmp_path / told.name)) == load_findings(Run.open(tmp_path / undisturbed.name))


def test_bad_orders(weather: Experiment, tmp_path: Path) -> None:
    told = order(weather, tmp_path)
    assert perform(Order("x", "wether", {}, str(tmp_path))).message.startswith("unknown experiment 'wether'")
    spoilt = Order(told.name, "weather", {**told.config, "sped": 1}, str(tmp_path))
    assert "unknown field 'sped'" in perform(spoilt).message


def test_experiments_of_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that has never heard of a user's experiment finds it where the driver did."""
    monkeypatch.setattr(thalweg.experiments, "__path__", list(thalweg.experiments.__path__))
    told = Order("x", "weather", {}, str(tmp_path), (str(WEATHER), "/nowhere"))
    assert perform(told) == Outcome("complete")
    assert "/nowhere" not in thalweg.experiments.__path__

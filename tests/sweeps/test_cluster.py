"""Sweeps on a dask cluster, one of whose workers is killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from thalweg import sweeps
from thalweg.errors import InputError
from thalweg.experiments import Experiment, execute
from thalweg.experiments.framework.execution import load_findings
from thalweg.runs import Run
from thalweg.sweeps.table import collect

distributed = pytest.importorskip("distributed")


@pytest.fixture
def cluster() -> Iterator[str]:
    """Two worker processes of one thread each; the scheduler's address."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as cluster:
        yield cluster.scheduler_address


def begun(log: Path) -> list[tuple[str, int]]:
    """(run, process) of every beginning that the weather has noted."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [(line.split()[0], int(line.split()[1])) for line in lines]


def test_a_worker_killed_in_the_middle(weather: Experiment, tmp_path: Path, cluster: str) -> None:
    log = tmp_path / "log"
    config = weather.preset("tiny").model_copy(update={"seconds": 0.8, "log": log})
    plan = sweeps.plan("weather", config, {"wind.speed": "1,2,3", "seed": "0..1"})
    killed: list[tuple[str, int]] = []

    def kill() -> None:
        while len(begun(log)) < 3:
            time.sleep(0.02)
        killed.append(begun(log)[-1])
        os.kill(killed[0][1], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    done = sweeps.sweep(plan, tmp_path / "cluster", sweeps.Cluster(cluster))
    killer.join()
    assert done.run.state == "complete"
    assert killed[0][0] in [name for name, process in begun(log) if process != killed[0][1]]  # done by another one

    serial = tmp_path / "serial"
    for task in plan.tasks:
        execute("weather", task.config, serial)
    assert done.table.equals(collect(plan, serial))
    for task in plan.tasks:
        assert load_findings(Run.open(serial / task.name)) == load_findings(Run.open(tmp_path / "cluster" / task.name))


def test_nobody_answers(weather: Experiment, tmp_path: Path) -> None:
    plan = sweeps.plan("weather", weather.preset("tiny"), {"seed": "0..1"})
    for address in ("tcp://127.0.0.1:9", "nowhere"):
        with pytest.raises(InputError, match=f"cluster must be the address of a dask scheduler, found {address}: "):
            sweeps.sweep(plan, tmp_path, sweeps.Cluster(address, timeout=1))

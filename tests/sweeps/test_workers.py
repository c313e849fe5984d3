"""Processes of this machine: their threads, and their end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from thalweg.errors import InputError
from thalweg.sweeps import Given, Local
from thalweg.sweeps.workers import cores

SLEEPERS = """
import os, sys, time
from thalweg.sweeps import Local
if __name__ == "__main__":
    with Local(2).opened() as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 60).result()
"""


@pytest.mark.parametrize(
    ("count", "asked", "threads"), [(1, None, 6), (2, None, 3), (4, None, 1), (9, None, 1), (2, "2", 2), (2, "8", 3)]
)
def test_cores_are_shared_out(count: int, asked: str | None, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thalweg.sweeps.workers.cores", lambda: 6)
    monkeypatch.delenv("OMP_NUM_THREADS")
    if asked is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert Local(count).threads == threads


def test_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thalweg.sweeps.workers.cores", lambda: 2)
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert Local(1).words == "1 worker with 2 threads each"
    assert Local(2).words == "2 workers with 1 thread each"
    with ThreadPoolExecutor(1) as executor:
        assert Given(executor).words == "a ThreadPoolExecutor"
    assert cores() >= 1
    with pytest.raises(InputError, match="workers must be at least 1, found 0"):
        Local(0)


def test_a_worker_has_its_threads_and_no_ear_for_ctrl_c() -> None:
    with Local(1).opened() as pool:
        assert pool.submit(os.getenv, "OPENBLAS_NUM_THREADS").result() == str(Local(1).threads)
        import torch

        assert pool.submit(torch.get_num_threads).result() == Local(1).threads
        process = pool.submit(os.getpid).result()
        os.kill(process, signal.SIGINT)
        assert pool.submit(os.getpid).result() == process


def test_workers_do_not_outlive_a_killed_driver(tmp_path: Path) -> None:
    script = tmp_path / "driver.py"
    script.write_text(SLEEPERS)
    driver = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    worker = int(driver.stdout.readline())
    driver.kill()
    driver.wait()
    driver.stdout.close()
    deadline = time.monotonic() + 10
    while alive(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(worker)


def test_an_error_in_the_block_stops_the_workers_at_once() -> None:
    seen: dict[str, float] = {}

    def interrupted() -> None:
        with Local(1).opened() as pool:
            seen["worker"] = pool.submit(os.getpid).result()
            pool.submit(time.sleep, 60)
            seen["at"] = time.monotonic()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.monotonic() - seen["at"] < 20
    assert not alive(int(seen["worker"]))


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

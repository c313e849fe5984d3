"""``thalweg sweep`` as a user meets it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from tests.sweeps.conftest import WEATHER
from thalweg import cli
from thalweg.experiments import Experiment
from thalweg.runs import Run, find_runs
from thalweg.sweeps import Given, workers

COMMAND = [sys.executable, "-c", "import sys; from thalweg.cli import entry; entry()", "sweep", "weather"]
ENVIRONMENT = {**os.environ, "THALWEG_EXPERIMENTS": str(WEATHER), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def here(weather: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads in place of processes, which need seconds to begin."""
    from concurrent.futures import ThreadPoolExecutor

    class Quick(Given):
        def __init__(self, count: int) -> None:
            super().__init__(ThreadPoolExecutor(count))

    monkeypatch.setattr(workers, "Local", Quick)


def the_sweep() -> Run:
    (found,) = [run for run in find_runs("runs") if run.experiment == "weather-sweep"]
    return found


def test_table_report_and_nothing_twice(here: Path, threads: None, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["sweep", "weather", "--preset", "tiny", "--sweep", "wind.speed=log:1..100:3", "--sweep", "seed=0..1"]
    assert cli.main([*arguments, "--wind.gusts", "7"]) == 0
    out, error = capsys.readouterr()
    run = the_sweep()
    assert error.startswith(f"runs/{run.name}: 0 of 6 tasks complete already; a ThreadPoolExecutor")
    assert out.splitlines()[0].startswith("All 6 tasks of weather are complete; swept: wind.speed (1, 10, 100), seed")
    assert out.splitlines()[-2:] == [f"table: runs/{run.name}/sweep.parquet", f"report: runs/{run.name}/report.html"]
    table = pl.read_parquet(run.path / "sweep.parquet")
    assert table["wind.gusts"].to_list() == [7] * 6
    assert run.files.report.stat().st_size > 1000
    command = "thalweg sweep weather --preset tiny --sweep wind.speed=log:1..100:3 --sweep seed=0..1 --wind.gusts 7"
    assert run.environment["command"] == Run.open(Path("runs") / table["run"][0]).environment["command"] == command
    written = run.files.report.stat().st_mtime_ns
    assert cli.main([*arguments, "--wind.gusts", "7"]) == 0
    again, error = capsys.readouterr()
    assert (again, error) == (out, f"runs/{run.name}: 6 of 6 tasks complete already\n")
    assert run.files.report.stat().st_mtime_ns == written


def test_failed_tasks_are_listed_and_exit_with_1(here: Path, threads: None, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["sweep", "weather", "--sweep=fault=none,raise,full-disk", "--preset=tiny", "--log", str(here / "log")]
    assert cli.main(arguments) == 1
    out, error = capsys.readouterr()
    assert "warning: fault=raise is failed: RuntimeError: hail has broken the glass." in out
    assert "warning: fault=full-disk is failed: cannot write" in out
    assert "thalweg: fault=raise failed: RuntimeError: hail has broken the glass" in error
    assert error.splitlines()[-1] == "thalweg: 2 of 3 tasks are not complete; the same command tries them again"
    run = the_sweep()
    assert (run.state, run.message) == ("failed", "2 of 3 tasks are not complete")
    assert "hail has broken the glass" in run.files.report.read_text()

    assert cli.main(["resume", run.name]) == 1  # the disk is empty again, the glass is not
    out, error = capsys.readouterr()
    assert "full-disk" not in "".join(line for line in out.splitlines() if line.startswith("warning"))
    assert error.splitlines()[-1] == "thalweg: 1 of 3 tasks are not complete; the same command tries them again"


def test_sweep_table_in_toml(here: Path, threads: None) -> None:
    Path("my.toml").write_text('[wind]\nspeed = 2\n[sweep]\nseed = "0..3"\n"wind.gusts" = [1, 2]\n')
    arguments = ["sweep", "weather", "--preset", "tiny", "--config", "my.toml", "--sweep", "seed=0..1"]
    assert cli.main(arguments) == 0
    table = pl.read_parquet(the_sweep().path / "sweep.parquet")
    assert table.select("seed", "wind.gusts", "wind.speed").rows() == [
        (0, 1, 2.0),
        (0, 2, 2.0),
        (1, 1, 2.0),
        (1, 2, 2.0),
    ]


def test_a_single_run_reads_no_sweep(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("my.toml").write_text("[sweep]\nseed = 3\n")
    assert cli.main(["run", "weather", "--config", "my.toml"]) == 2
    sentence = "my.toml must have no table [sweep] for a single run: `thalweg sweep` reads it"
    assert capsys.readouterr().err == f"thalweg: {sentence}\n"


def test_help(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sweep", "weather", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for part in ("thalweg sweep weather", "--sweep FIELD=VALUES", "--cluster ADDRESS", "--wind.speed float"):
        assert part in shown


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["weather"], "sweep must name at least one field, as in --sweep seed=0..4"),
        (["weather", "--sweep", "seed"], "--sweep must be written FIELD=VALUES, found 'seed'"),
        (["weather", "--sweep", "sed=1"], "unknown field 'sed', did you mean 'seed'?"),
        (["weather", "--sweep", "seed=4..0"], "sweep of seed must count upwards, found '4..0'"),
        (["weather", "--sweep", "seed=1", "--sweep", "seed=2"], "field 'seed' must be swept once, found it twice"),
        (["weather", "--sweep", "wind.speed=0"], "wind.speed must be greater than 0, found 0.0"),
        (["weather", "--sweep", "seed=1", "--workers", "0"], "workers must be at least 1, found 0"),
        (
            ["weather", "--sweep", "seed=1", "--workers", "2", "--cluster", "tcp://x:1"],
            "--workers counts processes of this machine and --cluster has its own, found 2 of them",
        ),
        (["weather", "--sweep", "seed=1", "--wind.sped", "1"], "unknown field 'wind.sped', did you mean 'wind.speed'?"),
        (["wether", "--sweep", "seed=1"], "unknown experiment 'wether', did you mean 'weather'?"),
    ],
)
def test_bad_input_is_one_sentence(
    here: Path, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["sweep", *arguments]) == 2
    assert capsys.readouterr().err == f"thalweg: {sentence}\n"
    assert list(here.iterdir()) == []  # nothing was begun


def test_without_dask(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert cli.main(["sweep", "weather", "--sweep", "seed=1", "--cluster", "tcp://127.0.0.1:1"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "thalweg: a cluster needs dask.distributed: install thalweg[cluster]"
    )


def test_ctrl_c_in_a_real_process(here: Path) -> None:
    arguments = [*COMMAND, "--sweep", "seed=0..30", "--seconds", "0.3", "--workers", "2"]
    running = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, start_new_session=True)
    deadline = time.monotonic() + 120
    while not list(here.glob("runs/weather-*/complete.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to the workers as well
    _, error = running.communicate(timeout=60)
    assert running.returncode == 130
    run = the_sweep()
    last = error.splitlines()[-1]
    assert last.startswith("thalweg: interrupted, ")
    assert last.endswith(f"tasks are missing; `thalweg resume runs/{run.name}` does the rest")
    assert "Traceback" not in error
    assert run.state == "interrupted"
    status = pl.read_parquet(run.path / "sweep.parquet")["status"]
    assert 1 <= (status == "complete").sum() < 31


def test_a_task_that_cannot_fit_is_refused_before_the_sweep(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["sweep", "trajectory", "--preset", "tiny", "--sweep", "replicas=2,1000000000", "--sweep", "seed=0..1"]
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("thalweg: replicas must fit in the memory of")
    assert error.endswith("(replicas=1000000000, seed=0)\n")
    assert not (here / "runs").exists()

"""The command line as a user meets it: what it prints, where, and with which exit code."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from thalweg import cli, tasks
from thalweg.experiments import Experiment, execute
from thalweg.experiments.execution import start
from thalweg.runs import Run
from thalweg.runs.results import save

EXTRA = Path(__file__).parent / "experiments" / "extra"
COMMAND = [sys.executable, "-c", "import sys; from thalweg.cli import entry; entry()"]
ENVIRONMENT = {**os.environ, "THALWEG_EXPERIMENTS": str(EXTRA), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def the_run(folder: Path) -> Run:
    (path,) = (folder / "runs").iterdir()
    return Run.open(path)


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence with which a command is refused."""
    assert cli.main(arguments) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith("thalweg: ")
    assert error.count("\n") == 1
    return error.removeprefix("thalweg: ").strip()


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["run", "--help"], ["sweep", "--help"], ["--version"]])
def test_answers_without_torch(arguments: list[str]) -> None:
    code = (
        "import sys; from thalweg.cli import main; code = main(sys.argv[1:]);"
        "slow = {'torch', 'numpy', 'pydantic', 'rich', 'polars'} & sys.modules.keys();"
        "sys.exit(f'imported {slow}' if slow else code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=ENVIRONMENT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_list_shows_every_summary(extra: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list"]) == 0
    shown = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "ladder Walk down a quadratic ladder, as small as an experiment can be." in shown


def test_help_of_an_experiment(extra: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "ladder", "--preset", "tiny", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for part in (
        "Walk down",
        "presets: tiny, quick",
        "--preset NAME",
        "--descent.rate float",
        "Learning rate. [0.1]",
        "[descent] The descent:",
    ):
        assert part in shown


def test_run_computes_reports_and_is_not_repeated(extra: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", "ladder", "--preset", "tiny", "--descent.rate", "0.05", "--slopes", "1", "3"]
    assert cli.main(arguments) == 0
    out, error = capsys.readouterr()
    run = the_run(here)
    assert run.state == "complete"
    assert run.config["descent"]["rate"] == 0.05
    assert run.config["slopes"] == [1.0, 3.0]
    assert run.environment["command"] == "thalweg run ladder --preset tiny --descent.rate 0.05 --slopes 1 3"
    assert out.splitlines()[-1] == f"report: {run.files.report.relative_to(here)}"
    assert "The loss of the first replica fell to" in out
    assert "running: runs/ladder-" in error
    assert run.files.report.stat().st_size > 1000

    written = run.files.report.stat().st_mtime_ns
    assert cli.main(arguments) == 0
    again, error = capsys.readouterr()
    assert again == out
    assert "complete already" in error
    assert run.files.report.stat().st_mtime_ns == written


def test_settings_from_toml_and_root(extra: Path, here: Path) -> None:
    Path("my.toml").write_text("[descent]\nsteps = 7\n")
    assert cli.main(["run", "ladder", "--preset=tiny", "--config", "my.toml", "--root", "elsewhere", "--seed=4"]) == 0
    (path,) = (here / "elsewhere").iterdir()
    config = Run.open(path).config
    assert (config["descent"]["steps"], config["seed"]) == (7, 4)


def test_interrupt_says_how_to_go_on(extra: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "ladder", "--preset", "tiny", "--stop_after", "12"]) == 130
    run = the_run(here)
    name = f"runs/{run.name}"
    assert capsys.readouterr().err.splitlines()[-1] == f"thalweg: interrupted; `thalweg resume {name}` continues"
    assert run.state == "interrupted"
    assert cli.main(["resume", run.name]) == 0
    assert run.state == "complete"
    assert f"report: {name}/report.html" in capsys.readouterr().out


def test_ctrl_c_in_a_real_process(here: Path) -> None:
    steps = "--descent.steps=10000000"
    running = subprocess.Popen([*COMMAND, "run", "ladder", steps], stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    deadline = time.monotonic() + 60
    while not list(here.glob("runs/ladder-*/snapshots/training/00001.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, error = running.communicate(timeout=60)
    assert running.returncode == 130
    assert error.splitlines()[-1].startswith("thalweg: interrupted; `thalweg resume runs/ladder-")
    assert "Traceback" not in error
    assert the_run(here).state == "interrupted"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["rnu"], "unknown command 'rnu', did you mean 'run'?"),
        ([], "the following arguments are required: COMMAND, see `thalweg --help`"),
        (["run"], "the following arguments are required: EXPERIMENT, see `thalweg run --help`"),
        (["run", "lader"], "unknown experiment 'lader', did you mean 'ladder'?"),
        (["run", "ladder", "--preset", "tyni"], "unknown preset 'tyni' of ladder, did you mean 'tiny'?"),
        (["run", "ladder", "--descent.stps", "3"], "unknown field 'descent.stps', did you mean 'descent.steps'?"),
        (["run", "ladder", "--seed", "x"], "seed must be a valid integer, found 'x'"),
        (["run", "ladder", "--seed"], "field 'seed' must be given a value"),
        (["run", "ladder", "quick"], "unexpected argument 'quick': fields are given as --field VALUE"),
        (["run", "ladder", "--config", "no.toml"], "cannot read no.toml: no such file or directory"),
        (["run", "ladder", "--preset"], "argument --preset: expected one argument, see `thalweg run ladder --help`"),
        (["resume", "ladder-0123456789"], "there is no run 'ladder-0123456789' in runs"),
        (["resume", "a/b"], "a/b is no run: there is no such folder"),
        (["resume", "."], ". is no run: config.json is missing"),
        (["report", "nothing"], "there is no run 'nothing' in runs"),
        (["export", "x", "--to", "cvs"], "unknown value for to 'cvs', did you mean 'csv'?"),
        (["data", "fech"], "unknown action 'fech', did you mean 'fetch'?"),
        (["runs", "--root", "file"], "root must be a folder of runs, found the file file"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], sentence: str, extra: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("file").touch()
    assert refused(arguments, capsys) == sentence
    assert [path.name for path in here.iterdir()] == ["file"]  # nothing was begun


def test_unknown_run_offers_the_nearest(ladder: Experiment, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = execute("ladder", ladder.preset("tiny"), "runs").name
    assert refused(["resume", name[:-1]], capsys) == f"there is no run '{name[:-1]}' in runs, did you mean '{name}'?"


def test_read_only_folder(
    extra: Path, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(path: Path, *_: object, **__: object) -> None:  # root, as in a container, may write anywhere
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", read_only)
    assert refused(["run", "ladder"], capsys).endswith(": permission denied")


def test_root_that_is_a_file(extra: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").touch()
    assert refused(["run", "ladder", "--root", "file"], capsys) == "root must be a folder of runs, found the file file"


def test_unexpected_errors_keep_their_traceback(
    ladder: Experiment, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ladder.module, "run", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["run", "ladder"])
    assert the_run(here).state == "failed"


def test_runs_table(ladder: Experiment, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["runs"]) == 0
    assert capsys.readouterr().out == "no runs in runs\n"
    execute("ladder", ladder.preset("tiny"), "runs")
    assert cli.main(["run", "ladder", "--stop-after", "3"]) == 130
    capsys.readouterr()
    assert cli.main(["runs"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if "ladder-" in line]
    assert sorted(line[1] for line in lines) == ["complete", "interrupted"]
    assert all(line[0].startswith("ladder-") and line[3] in ("B", "kB") for line in lines)


def test_report_again(ladder: Experiment, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = execute("ladder", ladder.preset("tiny"), "runs")
    assert cli.main(["report", run.name]) == 0
    assert capsys.readouterr().out == f"report: {run.files.report}\n"
    assert "fell to" in run.files.report.read_text()


def test_report_of_an_unfinished_run(ladder: Experiment, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "ladder", "--stop-after", "3"]) == 130
    capsys.readouterr()
    assert "has no findings, it is interrupted: `thalweg resume runs/ladder-" in refused(
        ["report", the_run(here).name], capsys
    )


def test_export_csv(ladder: Experiment, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = execute("ladder", ladder.preset("tiny"), "runs")
    assert cli.main(["export", str(run.path), "--to", "csv"]) == 0
    folder = Path(capsys.readouterr().out.strip())
    lines = (folder / "metrics.csv").read_text().splitlines()
    assert lines[0] == "recording,step,epoch,replica,loss"
    assert len(lines) == 1 + 20 * 2


def test_export_surfaces(ladder: Experiment, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = execute("ladder", ladder.preset("tiny"), "runs")
    assert "keeps no surface that could be written as vtk" in refused(["export", run.name, "--to", "vtk"], capsys)
    save(run.files.results, "surface-plane", {"axis/a": np.arange(3.0), "value/loss": np.ones(3)})
    assert cli.main(["export", run.name, "--to", "vtk"]) == 0
    folder = Path(capsys.readouterr().out.strip())
    assert [file.name for file in folder.iterdir()] == ["plane.vts"]


def test_data(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cli.main(["data", "list"]) == 0
    listed = capsys.readouterr().out
    assert {"digits", "mnist", "fashion-mnist", "cifar10", "function"} <= set(listed.split())
    assert cli.main(["data", "where"]) == 0
    assert "thalweg" in capsys.readouterr().out
    assert "mnist" in refused(["data", "fetch", "mnits"], capsys)
    monkeypatch.setattr(tasks, "fetch", lambda name: tmp_path / name)
    assert cli.main(["data", "fetch", "mnist"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'mnist'}\n"


def test_a_reader_that_has_seen_enough() -> None:
    shell = shutil.which("bash")
    assert shell is not None
    python = f"{sys.executable} -c 'import sys; from thalweg.cli import entry; entry()'"
    script = f"set -o pipefail; {python} run --help | head -n 0"
    done = subprocess.run([shell, "-c", script], capture_output=True, text=True, env=ENVIRONMENT)
    assert done.stderr == ""


def test_two_processes_on_one_run(ladder: Experiment, here: Path) -> None:
    run = start("ladder", ladder.preset("tiny"), "runs")
    with run.writing():
        sentence = second_writer(here)
    assert f"is being written by process {os.getpid()}" in sentence
    assert json.loads(run.files.config.read_text()) == run.config


def second_writer(folder: Path) -> str:
    arguments = [*COMMAND, "run", "ladder", "--preset", "tiny"]
    done = subprocess.run(arguments, capture_output=True, text=True, env=ENVIRONMENT, cwd=folder)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    return done.stderr

"""The command line as a user meets it: what it prints, where, and with which exit code."""

from __future__ import annotations

import errno
import importlib
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
from torch import nn

from thalweg import cli, tasks
from thalweg.cli import arguments
from thalweg.experiments import Experiment, discover, execute, override
from thalweg.experiments.framework.execution import start
from thalweg.runs import Run
from thalweg.training import Recorder

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


@pytest.mark.parametrize(
    "arguments", [["--help"], ["list"], ["run", "--help"], ["sweep", "--help"], ["view", "--help"], ["--version"]]
)
def test_answers_without_torch(arguments: list[str]) -> None:
    code = (
        "import sys; from thalweg.cli import main; code = main(sys.argv[1:]);"
        "slow = {'torch', 'numpy', 'pydantic', 'rich', 'polars'} & sys.modules.keys();"
        "sys.exit(f'imported {slow}' if slow else code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=ENVIRONMENT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_every_command_is_there() -> None:
    (commands,) = [action.choices for action in arguments.commands()._actions if isinstance(action.choices, dict)]
    assert {"list", "run", "sweep", "course", "runs", "view", "resume", "report", "export", "data"} <= commands.keys()
    for parser in commands.values():
        module, name = parser.get_default("command").split(".")
        assert callable(getattr(importlib.import_module(f"thalweg.cli.{module}"), name))


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
        (["run", "ladder", "--out", "x"], "unknown option '--out': --root names the folder that keeps the runs"),
        (["run", "ladder", "--persets", "tiny"], "unknown field 'persets', did you mean '--preset'?"),
        (["run", "ladder", "--xyz", "1"], "unknown field 'xyz', see `thalweg run ladder --help`"),
        (["sweep", "ladder", "--xyz", "1"], "unknown field 'xyz', see `thalweg sweep ladder --help`"),
        (["run", "ladder", "--preset", "tiny", "--preset", "quick"], "option --preset is given twice"),
        (
            ["run", "ladder", "--root", ""],
            "argument --root: must name a folder, found '', see `thalweg run ladder --help`",
        ),
        (["runs", "--root="], "argument --root: must name a folder, found '', see `thalweg runs --help`"),
        (["run", "ladder", "--slopes", "a"], "slopes[0] must be a valid number, found 'a'"),
        (["run", "ladder", "--seed", "4294967296"], "seed must be less than 4294967296, found 4294967296"),
        (["run", "ladder", "--threads", "5000"], "threads must be less than or equal to 1024, found 5000"),
        (
            ["sweep", "ladder", "--sweep", "seed=0..2", "--seed", "4"],
            "field 'seed' must be swept or given a value, found both",
        ),
        (
            ["sweep", "ladder", "--sweep", "seed=0..10000000000"],
            "sweep of seed must have at most 100,000 values, found '0..10000000000'",
        ),
        (["resume", ""], "there is no run '' in runs"),
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


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (MemoryError(), "these settings need more memory than there is"),
        (
            RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000 bytes."
            ),
            "these settings need more memory than there is: 4000 bytes at once",
        ),
        (
            RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has"),
            "these settings need more memory than there is: 2.00 GiB at once",
        ),
    ],
)
def test_missing_memory_is_one_sentence(
    error: Exception,
    sentence: str,
    ladder: Experiment,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(*_: object) -> None:
        raise error

    monkeypatch.setattr(ladder.module, "run", run)
    assert cli.main(["run", "ladder"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"thalweg: {sentence}"


def test_a_run_of_a_loop_of_ones_own(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Recorder("runs/mine", nn.Linear(2, 1)) as recorder:
        recorder.step(loss=1.0)
    name = recorder.run.name
    sentence = refused(["resume", name], capsys)
    assert sentence.startswith(f"run runs/{name} was recorded from a training loop of your own and cannot be continued")
    assert f"`thalweg report runs/{name}`" in sentence
    assert cli.main(["report", name]) == 0
    assert cli.main(["export", name, "--to", "csv"]) == 0


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


def test_runs_table_says_the_preset_and_what_differs(
    ladder: Experiment, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    execute("ladder", ladder.preset("tiny"), "runs")
    changed = execute("ladder", override(ladder.preset("tiny"), {"seed": "5"}), "runs")
    capsys.readouterr()
    assert cli.main(["runs"]) == 0
    shown = {line.split()[0]: line.split()[-2:] for line in capsys.readouterr().out.splitlines() if "ladder-" in line}
    assert shown.pop(changed.name) == ["tiny", "seed=5"]
    ((_, preset),) = shown.values()
    assert preset == "tiny"


@pytest.mark.parametrize("name", sorted(discover()))
def test_presets_are_read_without_torch(name: str) -> None:
    """The table of runs, and help, do not wait for it."""
    code = f"import sys; from thalweg.experiments import find; find({name!r}).presets; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_runs_table_on_a_narrow_terminal_keeps_the_names(
    ladder: Experiment, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = execute("ladder", ladder.preset("tiny"), "runs")
    monkeypatch.setenv("COLUMNS", "20")
    assert cli.main(["runs"]) == 0
    (line,) = [line.split() for line in capsys.readouterr().out.splitlines() if run.name in line]
    assert line[:2] == [run.name, "complete"]


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
    run.save("surface-plane", {"axis/a": np.arange(3.0), "value/loss": np.ones(3)})
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


def test_a_terminal_without_greek_letters() -> None:
    ascii_only = ENVIRONMENT | {"PYTHONIOENCODING": "ascii", "THALWEG_EXPERIMENTS": ""}
    done = subprocess.run([*COMMAND, "list"], capture_output=True, text=True, env=ascii_only)
    assert (done.returncode, done.stderr) == (0, "")
    assert "full-batch gradient descent against 2/\\u03b7" in done.stdout


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

"""Every experiment on two networks of a user's file: a plain convolutional one, and an odd one with two inputs."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from thalweg import InputError, Subject, cli, experiments, report
from thalweg.experiments import configure, discover, execute, find, override
from thalweg.experiments.framework.execution import load_findings
from thalweg.runs import Run
from thalweg.sources import Source

FILE = Path(__file__).parent / "own" / "mine.py"
SUBJECTS = {
    "plain": {"model": "mine.py:Plain", "data": "mine.py:images", "loss": "mine.py:smoothed"},
    "odd": {"model": "mine.py:Odd", "data": "mine.py:records", "loss": "mine.py:loss", "metrics": "mine.py:metrics"},
}
FIELDS = {
    "capacity": {"vary": "model.args.width", "values": "1,2"},
    "image-fit": {"networks": "width=1,width=2", "tolerance": "None"},
    "interpolation": {"points": "7", "subsets": "2"},
    "sensitivity": {"values": "6,12"},
    "sharpness": {"values": "12", "pairs": "2"},
    "zero-gradient": {"replicas": "2"},
}
REFUSED = {
    ("random-labels", "odd"): "data must have classes, which can be random labels, found others in mine.py:records",
    ("sensitivity", "odd"): "loss must be one of (outputs, targets) for the sensitivity to inputs, which a loss of "
    "(model, batch) does not tell from targets, found mine.py:loss",
}
NONE = {"train_accuracy", "test_accuracy", "fitted_epochs", "threshold"}  # what a task without classes does not have
NONE |= {"batch_size_width_first", "batch_size_width_second"}  # infinite where a valley is wider than the line


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the user's, with the file in it."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(FILE, tmp_path / "mine.py")
    return tmp_path


@pytest.mark.parametrize("which", SUBJECTS)
@pytest.mark.parametrize("name", discover())
def test_every_experiment(name: str, which: str, here: Path) -> None:
    changes = SUBJECTS[which] | FIELDS.get(name, {})
    if (name, which) in REFUSED:
        with pytest.raises(InputError) as refused:
            execute(name, configure(find(name), preset="tiny", changes=changes))
        assert str(refused.value) == REFUSED[name, which]
        assert not (here / "runs").exists()
        return
    run = execute(name, configure(find(name), preset="tiny", changes=changes))
    found = load_findings(run)
    assert found.figures
    assert "mine.py" in " ".join(found.statements)
    numbers = {key: value for key, value in found.numbers.items() if isinstance(value, int | float)}
    assert numbers
    odd = [key for key, value in numbers.items() if not math.isfinite(value) and key.split(":")[0] not in NONE]
    assert not odd
    assert (run.path / "sources" / "mine.py").read_text() == FILE.read_text()
    report.write(run)
    assert "mine.py" in run.files.report.read_text()


def _run(name: str, which: str = "plain", **changes: str) -> Run:
    fields = SUBJECTS[which] | {"training.epochs": "2", "replicas": "2"} | changes
    return execute(name, configure(find(name), preset="tiny", changes=fields))


def test_replica_2_of_3_is_replica_2_alone(here: Path) -> None:
    three = _run("trajectory", replicas="3").recording().snapshots[0]
    config = configure(find("trajectory"), preset="tiny", changes=SUBJECTS["plain"])
    from thalweg.experiments.shared.subjects import task
    from thalweg.experiments.shared.training import build

    objective = build(config, task(config.data)).objective
    assert torch.equal(three[2], objective.initial(1, config.seed, first=2)[0].to(three.dtype))


def test_a_changed_file_is_another_run(here: Path) -> None:
    first = _run("trajectory")
    assert _run("trajectory").path == first.path
    (here / "mine.py").write_text(FILE.read_text() + "\n# changed\n")
    assert _run("trajectory").path != first.path


FOREIGN = "open('ran', 'w').close()\n"


def test_resume_runs_no_code_that_was_not_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "mine.py").write_text(FOREIGN + FILE.read_text())
    config = configure(find("trajectory"), preset="tiny", changes=SUBJECTS["plain"])
    run = Run.create("runs", "trajectory", config.model_dump(mode="json"), seed=0, device="cpu", data_checksum=None,
                     command="somebody else's")  # fmt: skip
    assert cli.main(["resume", str(run.path)]) == 2
    said = capsys.readouterr().err
    assert said == (
        f"thalweg: run {run.path} runs code of mine.py, which must be named to be run: "
        f"`thalweg resume {run.path} --source mine.py`\n"
    )
    assert cli.main(["report", str(run.path)]) == 2
    assert not (here / "ran").exists()
    (here / "elsewhere").mkdir()
    (here / "mine.py").rename(here / "elsewhere" / "mine.py")
    assert cli.main(["resume", str(run.path), "--source", "elsewhere/mine.py"]) == 0
    assert (here / "ran").exists()
    (here / "ran").unlink()
    capsys.readouterr()
    assert cli.main(["report", str(run.path)]) == 0
    assert not (here / "ran").exists()


def test_a_file_that_the_run_does_not_use_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = _run("trajectory")
    (here / "mine.py").write_text(FILE.read_text() + "\n# changed\n")
    assert cli.main(["resume", str(run.path), "--source", "mine.py"]) == 2
    assert "source mine.py must be a file that the run uses, unchanged" in capsys.readouterr().err


def test_toml_says_the_same(here: Path) -> None:
    (here / "my.toml").write_text(
        'loss = "mine.py:smoothed"\ndata = "mine.py:images"\n[model]\nsource = "mine.py:Plain"\nargs = { width = 3 }\n'
    )
    by_file = configure(find("spectrum"), preset="tiny", file=here / "my.toml")
    typed = configure(find("spectrum"), preset="tiny", changes=SUBJECTS["plain"] | {"model.args.width": "3"})
    assert by_file == typed


def test_settings_without_sources_are_what_they_were() -> None:
    data = find("spectrum").preset("tiny").model_dump(mode="json")
    assert not {"metrics"} & data.keys()
    assert not {"source", "args", "test_share"} & (data["model"].keys() | data["data"].keys())


def test_sweep_of_a_keyword_argument(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fields = [text for key, value in SUBJECTS["plain"].items() for text in (f"--{key}", value)]
    fields += ["--training.epochs", "1", "--replicas", "2", "--sweep", "model.args.width=log:1..4:3"]
    done = cli.main(["sweep", "trajectory", "--preset", "tiny", *fields, "--workers", "1"])
    assert done == 0, capsys.readouterr().err
    widths = sorted(
        Run.open(path).config["model"]["args"]["width"]
        for path in (here / "runs").iterdir()
        if "sweep" not in path.name
    )
    assert widths == [1, 2, 4]


def test_objects_of_a_program(here: Path) -> None:
    x = torch.linspace(-1, 1, 24)[:, None]

    def subject(factor: float, width: int = 2) -> Subject:
        def net(width: int = 2) -> nn.Module:
            made = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, 1))
            made[0].weight.data.mul_(factor)
            return made

        return Subject(net, (x, x**2), model_args={"width": width})

    def done(one: Subject) -> Run:
        return experiments.run("trajectory", one, preset="tiny", training__epochs=2, replicas=2)

    first = done(subject(1.0))
    assert done(subject(1.0)).path == first.path
    assert done(subject(2.0)).path != first.path
    assert done(subject(1.0, width=3)).path != first.path
    assert load_findings(first).statements


REFUSALS = [
    (["--model", "mine.py:Plane"], "model must name something in mine.py, found no 'Plane', did you mean 'Plain'?"),
    (["--model", "mine.py"], "model must be written FILE.py:NAME, found 'mine.py'"),
    (["--model", "gone.py:Net"], "gone.py must be a file that is there, found none"),
    (["--model", "mine.py:torch"], "model mine.py:torch must be a class or function that makes a module"),
    (["--model", "mine.py:Plain", "--model.hidden", "5"], "model and hidden both choose the network: give one"),
    (["--model.args.width", "5"], "args goes with a network of your own, found no source and args width"),
    (["--model", "mine.py:Plain", "--model.args.wide", "5"], "model arguments must fit Plain"),
    (
        ["--model", "mine.py:Plain", "--data", "mine.py:records"],
        "loss must be one of your own for data that are no pairs",
    ),
    (["--model", "mine.py:Odd", "--data", "mine.py:images"], "do not fit together: TypeError: Odd.forward() missing 1"),
    (["--data", "mine.py:images", "--loss", "mse2"], "found 'mse2', did you mean 'mse'?"),
    (["--data", "d.npz", "--data.points", "5"], "data and points both choose the data"),
    (["--data", "d.npz", "--data.target", "y"], "data.target names a column of a table"),
    (["--data", "d.npz", "--loss", "cross-entropy"], "loss must be mse or auto for a task whose targets are values"),
    (["--data.test_share", "0.5"], "test_share goes with data of your own"),
    (["--model", "bad.py:Net"], "bad.py:2: "),
    (["--model", "raises.py:Net"], "raises.py:4: ValueError: not today"),
    (["--model", "mine.py:Plain", "--model.source", "mine.py:Odd"], "field 'model.source' must be given once"),
]


@pytest.mark.parametrize(("arguments", "sentence"), REFUSALS, ids=lambda given: " ".join(given)[:40])
def test_refusals(arguments: list[str], sentence: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "bad.py").write_text("import torch\nclass Net(:\n")
    (here / "raises.py").write_text("import torch\n\ndef Net():\n    raise ValueError('not today')\n")
    np.savez(here / "d.npz", x_train=np.zeros((9, 2)), y_train=np.zeros(9))
    assert cli.main(["run", "trajectory", "--preset", "tiny", *arguments]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert not (here / "runs").exists() or not list((here / "runs").iterdir())


def test_capacity_asks_for_an_argument_of_the_network(here: Path) -> None:
    with pytest.raises(InputError, match=r"vary must be a keyword argument of your own network, such as model.args"):
        configure(find("capacity"), preset="tiny", changes=SUBJECTS["plain"])


def test_gradient_norm_of_one_case_of_ones_own(here: Path) -> None:
    config = configure(find("gradient-norm"), preset="tiny", changes=SUBJECTS["plain"])
    assert [Source.of(case.model.source).name for case in config.cases.values()] == ["Plain"]
    beside = override(find("gradient-norm").preset("tiny"), {"second.model": "mine.py:Plain"})
    assert len(beside.cases) == 2

"""What the configuration alone shows to be impossible is refused before a run is made: no failed run stays behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from thalweg import cli
from thalweg.experiments import find, override
from thalweg.experiments.framework.discovery import discover
from thalweg.experiments.framework.execution import execute, start

REFUSED = {  # arguments of `thalweg run` -> the sentence
    "error-surface --perplexity 40": "perplexity must be at most 8.667, a third of the 27 weights to embed, found 40",
    "error-surface --perplexity 9 --last 2": "perplexity must be at most 8.667",
    "error-surface --training.epochs 0": "training.epochs must be at least 1",
    "error-surface --data.expression 1/x --data.points 33": "data.expression '1/x' must be finite on [0, 1]",
    "interpolation --high 1e6": "points must be enough to tell 0 from 1 between -1 and 1e+06, found 13",
    "interpolation --low -1e308 --high 1e308": "points must be enough to tell 0 from 1",
    "interpolation --low -40 --points 11": "points must be enough to tell 0 from 1 between -40 and 2, found 11",
    "interpolation --model.kind resnet --model.hidden None": "align must be false for this network: ",
    "interpolation --learning-rates 1,1e300": "learning-rates must be at most 3.403e+38 in float32, found 1e+300",
    "interpolation --training.warmup 50": "training.warmup must be at most the number of steps (20), found 50",
    "interpolation --curve_training.lr 1e39": "curve_training.lr must be at most 3.403e+38 in float32",
    "interpolation --curve_training.batch_size given": "curve_training.batch_size must be a number or None",
    "zero-gradient --indices 1,14": "indices must be at most the number of parameters (13), found 14",
    "trajectory --layer 9.*": "layer must match a parameter of the network (1.weight, 1.bias, ",
    "trajectory --labels test --data.name function --data.samples None --data.test_samples None": "labels must be",
    "capacity --loss cross-entropy --data.target inputs --values 4": "loss must be mse or auto for a task whose",
    "zero-gradient --loss cross-entropy": "loss must be mse or auto for a task whose targets are values",
    "sensitivity --measured-on test --vary seed --values 1 --data.name function --data.samples None "
    "--data.test_samples None": "measured-on must be 'train' for a task without a test set, found 'test'",
    "edge-of-stability --learning-rates 1,1e300": "learning-rates must be at most 3.403e+38 in float32, found 1e+300",
    "edge-of-stability --learning-rates 1,1.0000001": "learning-rates must differ in their first six digits",
    "function-fit --functions sinc,1/x": "data.expression '1/x' must be finite on [0, 1], found inf at x = 0",
    "function-fit --networks 3,50": "networks must have equal numbers of parameters",
    "image-fit --networks 3,50 --tolerance 0.02": "networks must have equal numbers of parameters within 0.02",
    "spectrum --training.batch_size given": "training.batch_size must be a number or None",
    "gradient-norm --first.training.batch_size given": "first.training.batch_size must be a number or None",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _no_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("THALWEG_DATA", raising=False)


@pytest.mark.parametrize("arguments", REFUSED)
def test_refused_before_the_run(arguments: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name, *rest = arguments.split()
    assert cli.main(["run", name, "--preset", "tiny", *rest, "--root", str(tmp_path / "runs")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"thalweg: {REFUSED[arguments]}")
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", sorted(set(discover()) - {"function-fit"}))
def test_data_that_are_not_there(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = "first." if name == "gradient-norm" else ""
    defaults = {"points": "256", "expression": "sinc", "interval": "None", "test_points": "0"}
    rest = [word for field, value in defaults.items() for word in (f"--{table}data.{field}", value)]
    arguments = [f"--{table}data.name", "fashion-mnist", *rest, "--root", str(tmp_path / "runs")]
    assert cli.main(["run", name, "--preset", "tiny", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("thalweg: data set 'fashion-mnist' was not found in ")
    assert not (tmp_path / "runs").exists()


def test_an_incomplete_folder_of_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "train-images-idx3-ubyte").write_bytes(b"")
    rest = ["--data.name", "mnist", "--data.path", str(folder), "--root", str(tmp_path / "runs")]
    assert cli.main(["run", "spectrum", "--preset", "tiny", *rest]) == 2
    assert "must hold all files of MNIST, found no t10k-images-idx3-ubyte" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_run_that_is_there_needs_no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was computed is found again on a machine without the data; computing it anew is refused."""
    config = override(find("trajectory").preset("tiny"), {"training.epochs": 2, "replicas": 1, "control_walks": 1})
    run = execute("trajectory", config, tmp_path)
    refusals = []

    def refuse(self: object) -> None:
        refusals.append(self)
        raise OSError("no data")

    monkeypatch.setattr(type(config), "check_data", refuse)
    assert start("trajectory", config, tmp_path).state == "complete"
    assert not refusals
    with pytest.raises(OSError, match="no data"):
        start("trajectory", config, tmp_path, fresh=True)
    assert run.state == "complete"  # nothing was removed


def test_the_limits_of_perplexity_and_index_themselves_pass(tmp_path: Path) -> None:
    """The largest values that are accepted come to their end."""
    config = override(find("error-surface").preset("tiny"), {"perplexity": 26 / 3, "parts": ["visited"]})
    assert execute("error-surface", config, tmp_path).state == "complete"
    override(find("zero-gradient").preset("tiny"), {"indices": [13]}).check_sizes(tmp_path)
    override(find("interpolation").preset("tiny"), {"low": -1, "high": 1.0}).check_sizes(tmp_path)

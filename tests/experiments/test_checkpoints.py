"""Experiments on checkpoints: nothing is trained, and the numbers are those of the instruments on the same weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor, nn

from thalweg import checkpoints, landscape, models
from thalweg.cli import main
from thalweg.curvature import eigenpairs, hessian_operator
from thalweg.generalization import hessian_sharpness
from thalweg.models.config import ModelConfig
from thalweg.objective import Objective
from thalweg.report import write
from thalweg.runs import Recording, Run

MINE = """
import torch
from torch import nn

def net(width=3):
    return nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width), nn.Tanh(), nn.Linear(width, 2))

def data():
    x = torch.linspace(-1, 1, 24).reshape(12, 2)
    return x, (x[:, 0] > 0).long()
"""
STEPS = (2, 10, 20)
OWN = ["--model", "mine.py:net", "--data", "mine.py:data", "--preset", "tiny"]

REFUSES = ["capacity", "function-fit", "gradient-norm", "image-fit", "random-labels", "sensitivity", "zero-gradient"]
X = torch.linspace(-1, 1, 24).reshape(12, 2)


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Linear(3, 2))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plain loop has left three files, running statistics among them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("thalweg.report.write", lambda *_: None)  # pictures take longer than the numbers
    Path("mine.py").write_text(MINE)
    torch.manual_seed(0)
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for step in range(1, max(STEPS) + 1):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(X), (X[:, 0] > 0).long()).backward()
        optimizer.step()
        if step in STEPS:
            torch.save(model.state_dict(), f"at{step}.pt")
    return tmp_path


def objective() -> Objective:
    return Objective(net().eval(), nn.CrossEntropyLoss(), (X, (X[:, 0] > 0).long()))


def loaded() -> tuple[Objective, Recording]:
    """The library's own way: the loss with the running statistics of the last file, and the weights of all."""
    recording = checkpoints.load(objective(), "at*.pt")
    return checkpoints.with_buffers(objective(), recording, -1).double(), recording


def run(*words: str) -> Run:
    name, *options = words
    assert main(["run", name, *OWN, *options]) == 0
    (folder,) = Path("runs").glob(f"{name}-*")
    return Run.open(folder)


def last(recording: Recording) -> Tensor:
    return recording.snapshots[-1, 0].double()


def test_trajectory(place: Path) -> None:
    done, (_, recording) = run("trajectory", "--checkpoint", "at*.pt"), loaded()
    torch.testing.assert_close(done.snapshots[:], recording.snapshots[:], rtol=0, atol=0)
    assert done.recording().steps.tolist() == list(STEPS)
    torch.testing.assert_close(
        done.load("projections")["whole_explained"], landscape.pca(recording.snapshots[:]).ratio(10)
    )
    model = net().eval()
    for step, row in zip(STEPS, done.metrics.iter_rows(named=True), strict=True):
        model.load_state_dict(torch.load(f"at{step}.pt", weights_only=True))
        model.zero_grad()
        loss = nn.functional.cross_entropy(model(X), (X[:, 0] > 0).long())
        loss.backward()
        norm = nn.utils.parameters_to_vector([p.grad for p in model.parameters() if p.grad is not None]).norm()
        assert (row["train_loss"], row["grad_norm"]) == pytest.approx((loss.item(), norm.item()), rel=1e-5)
    write(done)
    text = done.files.report.read_text()
    assert "Nothing was trained: the weights are those of 3 checkpoints" in text
    assert "at20.pt" in text


def test_error_surface(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done, (own, recording) = run("error-surface", "--checkpoint", "at20.pt", "--planes", "random"), loaded()
    surface = done.load("plane-random").surface
    middle = surface.values["loss"].shape[0] // 2
    expected = own.with_batchnorm("recomputed").value(last(recording))
    assert float(surface.values["loss"][middle, middle]) == pytest.approx(float(expected), rel=1e-5)
    assert "need several checkpoints, found one" in capsys.readouterr().out


@pytest.mark.parametrize("paths", ["at20.pt", "at*.pt"])
def test_spectrum(paths: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done, (own, recording) = run("spectrum", "--checkpoint", paths), loaded()
    found = eigenpairs(hessian_operator(own, last(recording)), 4, tolerance=1e-3, relative_to="norm", seed=0)
    torch.testing.assert_close(done.load("largest-hessian").values, found.values, rtol=1e-6, atol=1e-9)
    said = capsys.readouterr().out
    assert ("At the last checkpoint" if "*" in paths else "At the checkpoint") in said
    assert "training" not in said


def test_interpolation(place: Path) -> None:
    done = run("interpolation", "--checkpoint", "at2.pt", "at20.pt", "--bends", "0")
    (_, recording), profile = loaded(), done.load("checkpoints-line").profile
    ends, both = (recording.snapshots[0], recording.snapshots[-1]), [recording.snapshots.buffers(s) for s in (0, -1)]
    expected = landscape.interpolate(
        {"train": objective()}, *ends, profile.positions, batchnorm="recomputed", buffers=(both[0], both[1]), subsets=4
    )
    torch.testing.assert_close(profile.values["train"]["loss"], expected.values["train"]["loss"])


def test_sharpness(place: Path) -> None:
    done, (own, recording) = run("sharpness", "--checkpoint", "at*.pt"), loaded()
    table: pl.DataFrame = done.load("table")
    assert table["member"].to_list() == ["at2.pt", "at10.pt", "at20.pt"]
    found = hessian_sharpness(own.with_batchnorm("recomputed"), last(recording)[None], tolerance=1e-3, trace_products=6)
    assert table["lambda_max"][-1] == pytest.approx(float(found.largest[0]), rel=2e-3)


def test_edge_of_stability(place: Path) -> None:
    done = run("edge-of-stability", "--checkpoint", "at*.pt", "--learning-rates", "0.5", "--loss", "cross-entropy")
    own, recording = loaded()
    found = eigenpairs(hessian_operator(own, last(recording)), 1, tolerance=1e-3, check=False, seed=0)
    sharpness = np.asarray(done.load("sharpness-0.5")["sharpness"])
    assert sharpness.shape == (3, 1)
    assert sharpness[-1, 0] == pytest.approx(float(found.values[0]), rel=1e-9)


def test_a_run_is_named_after_the_weights(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not after how their path is written, nor after settings of a training."""
    done = run("trajectory", "--checkpoint", "at2.pt", "at20.pt")
    run("trajectory", "--checkpoint", str(place / "at2.pt"), str(place / "at20.pt"))  # the same folder
    assert "complete already" in capsys.readouterr().err
    stamps = done.config["checkpoint"]
    assert [stamp.partition("@sha256:")[0] for stamp in stamps] == ["at2.pt", "at20.pt"]
    shutil.copy("at10.pt", "at2.pt")
    assert main(["run", "trajectory", *OWN, "--checkpoint", "at2.pt", "at20.pt"]) == 0
    assert len(list(Path("runs").glob("trajectory-*"))) == 2


def test_it_goes_on_without_the_files(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights are in the run as soon as they were read."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("thalweg.experiments.spectrum.measure.minimal_ratio", interrupt)
        assert main(["run", "spectrum", *OWN, "--checkpoint", "at20.pt"]) == 130
    Path("at20.pt").unlink()
    (folder,) = Path("runs").glob("spectrum-*")
    assert main(["resume", str(folder), "--source", "mine.py"]) == 0
    assert Run.open(folder).state == "complete"


def test_built_in_networks_too(place: Path) -> None:
    torch.save(models.build(ModelConfig(hidden=(6,), activation="tanh"), (1, 8, 8), 10).state_dict(), "mine.pt")
    options = ["--preset", "tiny", "--checkpoint", "mine.pt", "--learning-rates", "0.1"]
    assert main(["run", "edge-of-stability", *options]) == 0


@pytest.mark.parametrize("name", REFUSES)
def test_others_refuse(name: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", name, "--preset", "tiny", "--checkpoint", "at2.pt"]) == 2
    said = capsys.readouterr().err
    assert f"--checkpoint has no place in {name}: this experiment compares trainings" in said
    assert said.count("\n") == 1


WRONG = {
    "one for a path": (["trajectory", "--checkpoint", "at2.pt"], "checkpoint must be at least 2 of them, found 1"),
    "three for a line": (["interpolation", "--checkpoint", "at*.pt"], "checkpoint must be 2 of them, found 3"),
    "no such file": (["spectrum", "--checkpoint", "at3.pt"], "checkpoint at3.pt is missing"),
    "replicas": (["spectrum", "--checkpoint", "at2.pt", "--replicas", "2"], "replicas must be 1 with checkpoints"),
    "a recipe": (["spectrum", "--checkpoint", "at2.pt", "--training.lr", "0.1"], "training must be left alone"),
    "no rate": (["edge-of-stability", "--checkpoint", "at2.pt"], "learning_rates must be the one with which"),
    "another network": (["spectrum", "--checkpoint", "other.pt"], "must have the parameters"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_a_sentence(kind: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(nn.Linear(3, 2).state_dict(), "other.pt")
    (name, *options), words = WRONG[kind]
    assert main(["run", name, *OWN, *options]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not Path("runs").exists()


def test_frozen_parameters_are_those_of_the_checkpoint(place: Path) -> None:
    code = MINE.replace("    return nn.Seq", "    model = nn.Seq")
    made = "nn.Linear(width, 2))"
    code = code.replace(made, f"{made}\n    model[0].requires_grad_(False)\n    return model")
    Path("mine.py").write_text(code)
    done = run("trajectory", "--checkpoint", "at*.pt")
    model = net().eval()
    model.load_state_dict(torch.load("at20.pt", weights_only=True))
    loss = nn.functional.cross_entropy(model(X), (X[:, 0] > 0).long())
    assert done.metrics["train_loss"][-1] == pytest.approx(float(loss.detach()), rel=1e-5)

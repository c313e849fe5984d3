"""``thalweg import`` and ``thalweg analyze`` as they are typed, and what is wrong in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from thalweg.cli import main
from thalweg.runs import Run

MINE = """
import torch
from torch import nn

def net(width=3):
    return nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, 2))

def data():
    x = torch.linspace(-1, 1, 24).reshape(12, 2)
    return x, (x[:, 0] > 0).long()
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(MINE)
    for step in (2, 10):
        torch.manual_seed(step)
        model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2))
        torch.save({"model": model.state_dict(), "step": step}, f"at{step}.pt")
    return tmp_path


OWN = ["--model", "mine.py:net", "--model.args.width", "4", "--data", "mine.py:data"]


def test_import(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "at*.pt", *OWN]) == 0
    assert "2 checkpoints of 22 parameters, step 2 to 10" in capsys.readouterr().out
    (folder,) = place.glob("runs/checkpoints-*")
    run = Run.open(folder)
    assert run.state == "complete"
    assert run.recording().steps.tolist() == [2, 10]
    torch.manual_seed(10)
    model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2))
    torch.testing.assert_close(run.snapshots[1, 0], nn.utils.parameters_to_vector(model.parameters()).detach())
    x = torch.linspace(-1, 1, 24).reshape(12, 2)
    expected = float(nn.functional.cross_entropy(model(x), (x[:, 0] > 0).long()).detach())
    assert run.metrics["train_loss"][1] == pytest.approx(expected)


def test_analyze(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["analyze", *OWN, "--checkpoint", "at10.pt", "--minutes", "0.2", "--out", "a.html"]
    assert main(command) == 0
    assert "The loss is" in capsys.readouterr().out
    (place / "a.html").unlink()
    assert main(command) == 0  # complete: the report is written again
    assert "Gradient norm by layer" in (place / "a.html").read_text()


WRONG = {
    "another architecture": (["--model", "mine.py:net"], "must have the parameters of the objective's model"),
    "no such name": (["--model", "mine.py:nets"], "did you mean 'net'"),
    "no such file": (["--model", "other.py:net"], "other.py"),
}


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("command", [["import", "at2.pt"], ["analyze", "--checkpoint", "at2.pt"]])
def test_what_is_wrong_is_a_sentence(
    kind: str, command: list[str], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options, words = WRONG[kind]
    assert main([*command, *options, "--data", "mine.py:data"]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said
    assert not (place / "runs").exists()

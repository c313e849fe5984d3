"""A folder of runs as a user has it: complete, running, failed, damaged, half-written, and some that mean harm."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from starlette.testclient import TestClient

from thalweg.experiments.framework.findings import Findings
from thalweg.figures import Axis, Figure, Line, Panel
from thalweg.runs import Run
from thalweg.viewer.application import application

EVIL = '</script><script>alert("x")</script><img src=x onerror=alert(1)> & \' "'
PNG = b"\x89PNG\r\n\x1a\n"


def make(root: Path, experiment: str = "mine", **config: Any) -> Run:
    """A run that nobody has begun yet."""
    return Run.create(root, experiment, config, seed=0, device="cpu", data_checksum=None, command=f"typed {EVIL}")


def record(run: Run, *, steps: int = 4, scale: float = 1.0, finished: bool = True, **meta: Any) -> None:
    """Two replicas; the second is twice the first. The test loss comes at every second step only."""
    recording = run.recording()
    for step in range(steps):
        loss = scale * torch.tensor([1.0, 2.0]) / (step + 1)
        more = {"test_loss": loss + 1, "test_accuracy": torch.rand(2)} if step % 2 == 0 else {}
        recording.append(step, step / 2, torch.zeros(2, 3), {"loss": loss, **more})
    recording.commit({}, {"step": steps - 1, **meta})
    if finished:
        recording.finish()


def findings(loss: float) -> Findings:
    panel = Panel(Axis("step"), Axis("loss"), (Line([0, 1], [1.0, loss]),))
    return Findings(
        figures=(Figure("first-figure", "Loss", "", (panel,)),),
        statements=(f"The loss is {loss}. {EVIL}", "And more."),
        numbers={"loss": loss, "gap": float("nan")},
    )


def completed(root: Path, loss: float = 0.25, **config: Any) -> Run:
    run = make(root, **config)
    with run.writing():
        record(run, scale=loss)
        run.save("findings", findings(loss).to_json())
        run.complete()
    run.files.figures.mkdir()
    for kind in ("png", "svg", "json"):
        (run.files.figures / f"first-figure.{kind}").write_bytes(PNG)
    run.files.report.write_text("<!doctype html><title>the report</title>")
    return run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    folder.mkdir()
    return folder


@pytest.fixture
def client(root: Path) -> TestClient:
    return TestClient(application(root), base_url="http://127.0.0.1:8321")


@pytest.fixture
def harmful(root: Path, tmp_path: Path) -> Run:
    """A run whose folder holds links to a secret outside of it."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key.txt").write_text("SECRET")
    (root / "beside.txt").write_text("SECRET")
    run = completed(root, note=EVIL)
    run.files.exports.mkdir()
    (run.files.exports / "data.csv").write_text("a,b\n1,2\n")
    (run.files.exports / "page.html").write_text("<script>alert(1)</script>")
    (run.files.exports / ".hidden").write_text("SECRET")
    (run.path / "out").symlink_to(secret)
    (run.path / "figures" / "key.png").symlink_to(secret / "key.txt")
    (run.path / "within.csv").symlink_to(run.files.exports / "data.csv")
    (run.path / "loop").symlink_to("loop")
    os.mkfifo(run.path / "pipe")
    return run


@pytest.fixture
def damaged(root: Path) -> dict[str, Path]:
    """Every kind of damage by its name."""
    whole = completed(root, name="whole").path
    found = {}
    for kind in ("config", "environment", "findings", "metrics", "complete"):
        found[kind] = root / kind
        shutil.copytree(whole, found[kind])
    (found["config"] / "config.json").write_text('{"a":')
    (found["environment"] / "environment.json").write_text("[]")
    (found["findings"] / "results" / "findings.json").write_text(json.dumps({"statements": 3, "figures": {}}))
    (found["metrics"] / "metrics.parquet").write_bytes(b"PAR1 nonsense")
    (found["complete"] / "complete.json").write_bytes(b"\xff\xfe")
    found["half"] = root / "half-0123456789"
    (found["half"] / "snapshots" / "training").mkdir(parents=True)
    found["state"] = root / "state"
    shutil.copytree(whole, found["state"])
    (found["state"] / "complete.json").unlink()
    (found["state"] / "snapshots" / "training" / "state.safetensors").write_bytes(b"\x00" * 40)
    return found

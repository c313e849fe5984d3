"""What takes minutes is kept piece by piece: a run that is killed goes on at the piece that it had not finished."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from thalweg.experiments import execute, find
from thalweg.experiments.framework.execution import load_findings
from thalweg.runs import Run

KILLED = """
import os, signal, sys
import torch
from thalweg.runs import results
name, last, root = sys.argv[1:]
real = results.cached
def cached(folder, result, compute, ledger=None):
    found = real(folder, result, compute, ledger)
    if result == last:
        os.kill(os.getpid(), signal.SIGKILL)
    return found
results.cached = cached
torch.set_num_threads(1)
from thalweg.experiments import execute, find
execute(name, find(name).preset("tiny"), root)
"""


@pytest.mark.parametrize(
    ("name", "last", "whole", "function"),
    [
        ("spectrum", "signs-start-2", "signs", "experiments.spectrum.measure.minimal_ratio"),
        ("sharpness", "box-02-batch-size-10", "measured-02-batch-size-10", "generalization.hessian_sharpness"),
    ],
)
def test_a_killed_measurement_goes_on_where_it_stopped(
    name: str, last: str, whole: str, function: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, "-c", KILLED, name, last, str(tmp_path / "killed")]
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment)
    assert done.returncode == -signal.SIGKILL, done.stderr
    (path,) = (tmp_path / "killed").iterdir()
    killed = Run.open(path)
    assert last in killed.results
    assert whole not in killed.results
    calls = []
    module, _, called = function.rpartition(".")
    holder = importlib.import_module(f"thalweg.{module}")
    real = getattr(holder, called)
    monkeypatch.setattr(holder, called, lambda *given, **more: calls.append(1) or real(*given, **more))
    resumed = execute(name, find(name).preset("tiny"), tmp_path / "killed")
    again = len(calls)
    whole_run = execute(name, find(name).preset("tiny"), tmp_path / "whole")
    assert again == (len(calls) - again) - 2  # two of them were known: both signs at the start, two members' Hessians
    assert load_findings(resumed) == load_findings(whole_run)

"""`kill -9` costs at most the steps since the last commit, and a resumed run is the undisturbed one, bit by bit."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from polars.testing import assert_frame_equal

from thalweg.runs import Run, find_runs

SCRIPT = Path(__file__).with_name("killed.py")


def killed(*arguments: object) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    spec = importlib.util.spec_from_file_location("killed", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    root = tmp_path_factory.mktemp("undisturbed")
    module.train(root)
    (run,) = find_runs(root)
    assert run.snapshots.shape == (8, 2, 40)
    return run


def assert_same(run: Run, undisturbed: Run) -> None:
    assert run.state == "complete"
    bits = [one.snapshots[:].view(torch.int32) for one in (run, undisturbed)]
    assert torch.equal(*bits)
    assert torch.equal(run.recording().steps, undisturbed.recording().steps)
    assert torch.equal(run.load("distance")["last"], undisturbed.load("distance")["last"])
    assert_frame_equal(run.metrics, undisturbed.metrics, check_exact=True)
    assert run.recording().status == undisturbed.recording().status
    run.check()
    assert run.results == ["distance", "kind"]
    assert torch.equal(run.load("kind")["numbers"], undisturbed.load("kind")["numbers"])
    names = [{str(path.relative_to(one.path)) for path in one.path.rglob("*")} for one in (run, undisturbed)]
    assert names[0] == names[1]  # no temporary, half-written or unreferenced file is left


def test_killed_around_every_replacement_of_a_file(tmp_path: Path, undisturbed: Run) -> None:
    killed(tmp_path, "every")
    roots = sorted(tmp_path.iterdir())
    # Replaced: creation 3, session 3, three commits of 3 and a note, finish 1, four results of 3, a removal 2, metrics,
    # environment, marker and a note; removed: two results and three parts of the metrics.
    assert len(roots) == 2 * (35 + 5) + 1
    for root in roots:
        (run,) = find_runs(root)
        assert_same(run, undisturbed)


def test_killed_at_random_moments(tmp_path: Path, undisturbed: Run) -> None:
    kills = int(killed(tmp_path, "random", 0))
    assert kills >= 3  # how many it takes until the work is done depends on the machine
    (run,) = find_runs(tmp_path)
    assert_same(run, undisturbed)
    sessions = run.environment["sessions"]
    assert sessions[-1]["finished"] is not None
    assert all(session["finished"] is None for session in sessions[:-1])  # a killed session has no end

"""`make course`: every experiment in the order of the course, and what fails hides nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from thalweg.experiments import discover
from thalweg.report.course import experiments

ROOT = Path(__file__).parents[1]

THALWEG = """#!/bin/sh
echo "$@" >> calls
if [ "$1 $2" = "run capacity" ]; then echo "something is wrong" >&2; exit 2; fi
if [ "$1" = run ]; then echo "found"; echo "report: runs/$2-0123456789/report.html"; fi
if [ "$1" = report ]; then echo "report: runs/course.html"; fi
"""


@pytest.mark.skipif(shutil.which("make") is None, reason="no make here")
def test_course(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    binaries = tmp_path / "venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "thalweg").write_text(THALWEG)
    (binaries / "thalweg").chmod(0o755)
    (binaries / "python").touch()
    before = time.time() - 100
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (before, before))
    (tmp_path / "venv" / ".installed-base").touch()  # nothing is installed

    # A make that runs these tests would make this one talk as its child.
    alone = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    done = subprocess.run(["make", "course", "VENV=venv"], cwd=tmp_path, env=alone, capture_output=True, text=True)

    *runs, last = (tmp_path / "calls").read_text().splitlines()
    names = [call.removeprefix("run ") for call in runs]
    assert names[: len(experiments())] == list(experiments())
    assert set(names) == {*experiments(), *discover()}
    folders = [f"runs/{name}-0123456789" for name in names if name != "capacity"]
    assert last == " ".join(["report", *folders, "--course"])
    assert done.stdout.splitlines()[-1] == "report: runs/course.html"
    assert "make course: failed: capacity" in done.stderr
    assert done.returncode != 0
    assert not (tmp_path / "runs" / ".course").exists()

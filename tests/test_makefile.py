"""`make course` and `make classic` hand over to `thalweg course`, each with its preset."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

THALWEG = """#!/bin/sh
echo "$@" >> calls
if [ "$1" = course ]; then exit "$(cat code)"; fi
"""


@pytest.mark.skipif(shutil.which("make") is None, reason="no make here")
@pytest.mark.parametrize(
    ("target", "calls"),
    [("course", ["course --preset quick"]), ("classic", ["data fetch mnist", "course --preset course"])],
)
@pytest.mark.parametrize("code", [0, 1])
def test_targets(target: str, calls: list[str], code: int, tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    binaries = tmp_path / "venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "thalweg").write_text(THALWEG)
    (binaries / "thalweg").chmod(0o755)
    (binaries / "python").touch()
    (tmp_path / "code").write_text(str(code))
    before = time.time() - 100
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (before, before))
    (tmp_path / "venv" / ".installed-base").touch()  # nothing is installed

    # A make that runs these tests would make this one talk as its child.
    alone = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    done = subprocess.run(["make", target, "VENV=venv"], cwd=tmp_path, env=alone, capture_output=True, text=True)

    assert (tmp_path / "calls").read_text().splitlines() == calls
    assert (done.returncode == 0) == (code == 0)

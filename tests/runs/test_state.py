"""What a run's folder says about how far it is."""

from __future__ import annotations

import subprocess
import sys

import pytest

from thalweg.errors import InputError
from thalweg.runs import Run


def test_states(run: Run) -> None:
    assert (run.state, run.message) == ("new", "")
    with run.writing():
        assert (run.state, Run.open(run.path).state) == ("running", "running")
    assert (run.state, run.message) == ("interrupted", "left before it was complete")
    with pytest.raises(ZeroDivisionError), run.writing():
        _ = 1 // 0
    assert (run.state, run.message) == ("failed", "ZeroDivisionError: integer division or modulo by zero")
    with pytest.raises(InputError), run.writing():
        raise InputError("first line\n  second line")
    assert (run.state, run.message) == ("failed", "first line second line")
    with pytest.raises(KeyboardInterrupt), run.writing():
        raise KeyboardInterrupt
    assert (run.state, run.message) == ("interrupted", "interrupted by the user")
    with run.writing():
        assert (run.state, run.message) == ("running", "")
        run.complete()
        assert run.state == "complete"
    assert (run.state, run.message) == ("complete", "")


def test_killed_is_interrupted(run: Run) -> None:
    script = (
        "import os, signal, sys; from thalweg.runs import Run; run = Run.open(sys.argv[1])\n"
        "with run.writing(): os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script, str(run.path)], check=False)
    assert (run.state, run.message) == ("interrupted", "killed")
    assert "-c" in run.environment["sessions"][0]["command"]
    with run.writing():
        run.complete()
    assert run.state == "complete"

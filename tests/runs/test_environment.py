from __future__ import annotations

import importlib.metadata
import logging
import platform
from datetime import UTC, datetime

import numpy as np
import pytest
import torch

from thalweg.errors import InputError
from thalweg.runs import Run, environment


def test_what_is_written_at_creation(run: Run) -> None:
    found = run.environment
    assert found["experiment"] == "demo"
    assert (found["seed"], found["device"], found["data_checksum"]) == (0, "cpu", None)
    assert found["command"] == "thalweg run demo"
    assert found["versions"]["python"] == platform.python_version()
    assert found["versions"]["numpy"] == np.__version__
    assert found["versions"]["torch"] == importlib.metadata.version("torch")
    assert found["versions"]["thalweg"]
    assert found["cpu_threads"] == torch.get_num_threads()
    assert found["platform"] == platform.platform()
    assert (found["finished"], found["seconds"], found["sessions"]) == (None, None, [])
    age = (datetime.now(UTC) - datetime.fromisoformat(found["created"])).total_seconds()
    assert 0 <= age < 60


def test_sessions_and_the_end(run: Run) -> None:
    with run.writing():
        (session,) = run.environment["sessions"]
        assert session["finished"] is None
        assert session["command"] == "thalweg run demo"
    with run.writing():
        first, second = run.environment["sessions"]
        assert first["seconds"] >= 0
        run.complete()
    found = run.environment
    first, second = found["sessions"]
    assert first["started"] < first["finished"] < second["started"] < second["finished"]
    assert found["finished"] == second["finished"]
    assert found["seconds"] == pytest.approx(first["seconds"] + second["seconds"], abs=2e-3)


def test_another_version_is_added_and_said(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = run.environment["versions"]
    with caplog.at_level(logging.WARNING), run.writing():
        pass
    assert caplog.messages == []
    monkeypatch.setattr(
        environment, "version", lambda name: "9.9.9" if name == "torch" else importlib.metadata.version(name)
    )
    with caplog.at_level(logging.WARNING), run.writing():
        pass
    assert caplog.messages == [f"{run.path} continues with torch 9.9.9; it began with {before['torch']}"]
    found = run.environment
    assert found["versions"] == before  # how it began is not overwritten
    assert [session["versions"]["torch"] for session in found["sessions"]] == [before["torch"], "9.9.9"]


def test_more_fields(run: Run) -> None:
    with pytest.raises(InputError, match="must be open for writing"):
        run.set_environment(gpu="none")
    with run.writing():
        run.set_environment(data_checksum="abc", batches=np.int64(3))
        run.set_environment(data_checksum="abc", batches=4)
        assert run.environment["data_checksum"] == "abc"
        assert run.environment["batches"] == 4
        with pytest.raises(InputError, match="data_checksum must stay 'abc' within one run, found 'xyz'"):
            run.set_environment(data_checksum="xyz")
        with pytest.raises(InputError, match="environment field 'sessions' is written by the run itself"):
            run.set_environment(sessions=[])
        run.set_environment(data_checksum=None)
    assert run.environment["data_checksum"] == "abc"


def test_corrupt(run: Run) -> None:
    for content in ("{", "[]", "{}"):
        run.files.environment.write_text(content)
        with pytest.raises(InputError, match=r"environment.json is corrupt"):
            _ = run.environment
    assert run.state == "new"  # a damaged run is still listed
    assert 0 <= run.age < 60

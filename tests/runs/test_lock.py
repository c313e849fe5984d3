from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from thalweg._files.writing import WriteError
from thalweg.errors import InputError
from thalweg.runs.lock import LockedError, is_locked, locked

HOLD = """
import sys, time
from pathlib import Path
from thalweg.runs.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that holds the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_second_writer_is_told_who_writes(tmp_path: Path, holder: subprocess.Popen) -> None:
    assert is_locked(tmp_path / "lock")
    message = rf"{tmp_path} is being written by process {holder.pid} on .* since 20"
    with pytest.raises(LockedError, match=message), locked(tmp_path / "lock"):
        pass
    assert is_locked(tmp_path / "lock")


def test_a_killed_writer_never_blocks(tmp_path: Path, holder: subprocess.Popen) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert str(holder.pid) in (tmp_path / "lock").read_text()  # the stale note is there, and means nothing
    assert not is_locked(tmp_path / "lock")
    with locked(tmp_path / "lock"):
        assert str(os.getpid()) in (tmp_path / "lock").read_text()


def test_within_one_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_locked(path)
    with locked(path):
        assert is_locked(path)
        with pytest.raises(InputError, match=f"process {os.getpid()}"), locked(path):
            pass
        assert is_locked(path)
    assert not is_locked(path)
    with pytest.raises(ZeroDivisionError), locked(path):
        raise ZeroDivisionError
    with locked(path):
        pass


def test_looking_does_not_disturb_a_writer(tmp_path: Path) -> None:
    """A shared lock held for a moment, as `is_locked` takes it, only makes a writer try again."""
    import fcntl
    import threading

    path = tmp_path / "lock"
    path.touch()
    descriptor = os.open(path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    timer = threading.Timer(0.03, os.close, [descriptor])
    timer.start()
    with locked(path):
        assert is_locked(path)
    timer.join()


def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    script = """
import os, sys, time
from pathlib import Path
from thalweg.runs.lock import locked
with locked(Path(sys.argv[1])):
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        time.sleep(60)
        os._exit(0)
    time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    try:
        assert is_locked(tmp_path / "lock")
        parent.kill()
        parent.wait()
        os.kill(child, 0)  # it lives on
        assert not is_locked(tmp_path / "lock")
    finally:
        os.kill(child, signal.SIGKILL)
        parent.stdout.close()


def test_where_no_lock_can_be_made(tmp_path: Path) -> None:
    with (
        pytest.raises(WriteError, match=r"cannot write .*none/lock: no such file or directory"),
        locked(tmp_path / "none" / "lock"),
    ):
        pass
    assert not is_locked(tmp_path / "none" / "lock")

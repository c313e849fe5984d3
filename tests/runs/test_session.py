"""One writer at a time, and what is left when it goes."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from thalweg.errors import InputError
from thalweg.runs import Run, WriteError


def test_read_only_folder(run: Run) -> None:
    with run.writing():
        run.save("a", 1)
    run.path.chmod(0o555)
    run.files.lock.chmod(0o444)
    if os.access(run.path, os.W_OK):
        pytest.skip("this user may write anywhere")
    try:
        assert Run.open(run.path).load("a") == 1  # reading needs no permission to write
        with pytest.raises(WriteError, match=r"cannot write .*lock: permission denied"), run.writing():
            pass
    finally:
        run.path.chmod(0o755)


def test_a_read_only_file_system(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def read_only(path: object, flags: int, *rest: object, **named: object) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(path, flags, *rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", read_only)
        with pytest.raises(WriteError, match=rf"cannot write {run.path}/lock: read-only file system"), run.writing():
            pass
    assert run.state == "new"


def test_two_writers(run: Run) -> None:
    with run.writing():
        with (
            pytest.raises(InputError, match=rf"is being written by process {os.getpid()} "),
            Run.open(run.path).writing(),
        ):
            pass
        assert run.state == "running"  # the refused one has marked nothing
        run.save("a", 1)
        run.complete()
    assert run.state == "complete"
    with pytest.raises(InputError, match="is complete; change the config or remove the folder"), run.writing():
        pass


def test_a_forked_child_may_not_write(run: Run) -> None:
    script = """
import os, sys
from thalweg.runs import Run
run = Run.open(sys.argv[1])
with run.writing():
    child = os.fork()
    if child == 0:
        try:
            run.complete()
        except ValueError as error:
            print(error, flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    assert run.state == "running"  # the child's end did not release the lock
"""
    result = subprocess.run([sys.executable, "-c", script, str(run.path)], capture_output=True, text=True, check=True)
    assert "must be open for writing here" in result.stdout
    assert run.state == "interrupted"


def test_stale_files_go_when_writing_begins(run: Run) -> None:
    run.files.results.mkdir()
    for folder in (run.path, run.files.results):
        (folder / ".tmp-999999999-0-x.json").touch()
    with run.writing():
        pass
    assert not list(run.path.rglob(".tmp-*"))

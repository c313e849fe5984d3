"""The command in a real process: address, answers, Ctrl-C; and what it refuses."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.viewer.conftest import completed
from thalweg import cli

COMMAND = [sys.executable, "-c", "import sys; from thalweg.cli import entry; entry()", "view", "--no-browser"]


def test_from_start_to_ctrl_c(root: Path) -> None:
    run = completed(root)
    command = [*COMMAND, "--root", str(root), "--port", "0"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert running.stdout is not None
        said = running.stdout.readline()
        assert said.startswith(f"runs of {root}: http://127.0.0.1:")
        port = int(said.split("127.0.0.1:")[1].split("/")[0])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/api/runs")
        assert [row["name"] for row in json.load(connection.getresponse())["runs"]] == [run.name]
        connection.request("GET", f"/files/{run.name}/../../beside.txt")  # as it stands: nobody shortens it
        assert connection.getresponse().read().startswith(b"<!doctype html>")
        connection.request("GET", "/", headers={"Host": "evil.example"})
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("server")) == (421, None)
        answer.read()
        addresses = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
        for address in addresses - {"127.0.0.1"}:  # nobody else's machine can ask
            with pytest.raises(OSError, match="refused"):
                socket.create_connection((address, port), timeout=5)
        running.send_signal(signal.SIGINT)  # with a connection that is kept open
        _, error = running.communicate(timeout=30)
        connection.close()
    finally:
        running.kill()
    assert (running.returncode, error) == (130, "thalweg: the viewer has ended\n")


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(["view", "--no-browser", *arguments]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.count("\n") == 1
    return error.removeprefix("thalweg: ").strip()


def test_a_port_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sentence = refused(["--port", str(port)], capsys)
    assert sentence == (f"port {port} of 127.0.0.1 is in use already; choose another by --port, 0 for any that is free")


def test_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert refused(["--root", str(tmp_path / "file")], capsys).startswith(
        "root must be a folder of runs, found the file"
    )
    assert refused(["--port", "65536"], capsys) == "port must be a number from 0 to 65535, found 65536"
    assert refused(["--port", "x"], capsys).startswith("argument --port: invalid int value: 'x'")


@pytest.mark.parametrize("missing", ["uvicorn", "starlette"])
def test_without_the_extra(missing: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [
        name for name in sys.modules if name.startswith(("thalweg.viewer.application", "thalweg.viewer.guard"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    assert refused([], capsys) == 'the viewer needs starlette and uvicorn, use `pip install "thalweg[viewer]"`'


def test_the_browser_is_opened_unless_told_not_to(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def serve(*_: object, ready: object, **__: object) -> None:
        ready("http://127.0.0.1:1/")
        raise KeyboardInterrupt

    class Now:
        """A thread that runs at once."""

        def __init__(self, target: object, args: tuple, daemon: bool) -> None:
            self.start = lambda: target(*args)

    monkeypatch.setattr("thalweg.viewer.serve", serve)
    monkeypatch.setattr("threading.Thread", Now)
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert cli.main(["view", "--root", str(root), "--no-browser"]) == 130
    assert opened == []
    assert cli.main(["view", "--root", str(root)]) == 130
    assert opened == ["http://127.0.0.1:1/"]
    assert capsys.readouterr().err == "thalweg: the viewer has ended\n" * 2

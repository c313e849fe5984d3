"""The browser that tests open pages in, if one is installed, and a page in it that is driven without any library."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["Tab", "chromium", "opened"]

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--enable-unsafe-swiftshader",  # 3-D without a graphics card
    "--use-angle=swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",  # no network
    "--remote-debugging-pipe",
)


def chromium() -> str | None:
    """Its path, first choice first; None if there is none."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Tab:
    """A page, and what it complained of.

    It runs in real time. Chromium's virtual time (`--virtual-time-budget`) leaps over timers faster than frames are
    drawn, so that a page which draws what comes into view may never see it come.

    Attributes:
        complaints: Errors of the console, and those that nothing caught.
    """

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._buffer, self._asked, self._session = b"", 0, ""
        self.complaints: list[str] = []

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of Chromium's DevTools protocol, and its answer."""
        self._asked += 1
        message: dict[str, Any] = {"id": self._asked, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._asked:
                assert "error" not in answer, answer
                return answer["result"]

    def attach(self) -> None:
        """Take the page that opened with the browser, and listen to it."""
        (target,) = [one for one in self.ask("Target.getTargets")["targetInfos"] if one["type"] == "page"]
        found = self.ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = found["sessionId"]
        for domain in ("Runtime", "Log", "Page"):
            self.ask(f"{domain}.enable")

    def evaluate(self, expression: str) -> Any:
        """The value of JavaScript in the page, a promise's after it has come."""
        found = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, condition: str, seconds: float = 90) -> None:
        """Until a condition in JavaScript holds.

        Raises:
            AssertionError: It does not hold in time.
        """
        end = time.monotonic() + seconds
        while not self.evaluate(f"Boolean({condition})"):
            assert time.monotonic() < end, f"not within {seconds} s: {condition}; {self.complaints}"
            time.sleep(0.1)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            part = os.read(self._answers, 1 << 20)
            assert part, "the browser has ended"
            self._buffer += part
        one, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(one)
        params = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description", details["text"]))
        elif message.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(params["entry"]["text"])
        elif message.get("method") == "Runtime.consoleAPICalled" and params["type"] == "error":
            self.complaints.append(str([one.get("value") for one in params["args"]]))
        return message


@contextmanager
def opened(page: Path, profile: Path, *, size: tuple[int, int] = (1200, 900)) -> Iterator[Tab]:
    """A page in a browser of its own, without a network.

    Args:
        page: The file.
        profile: An empty folder that the browser may fill.
        size: Pixels of the window.
    """
    import fcntl  # not on Windows, where tests only ask whether there is a browser

    # The browser reads commands from descriptor 3 and answers on 4: ours lie higher, so that neither is in the way.
    pairs = (os.pipe(), os.pipe())
    low = [one for pair in pairs for one in pair]
    theirs_in, ours_out, ours_in, theirs_out = (fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 10) for one in low)
    for one in low:
        os.close(one)

    def connect() -> None:
        os.dup2(theirs_in, 3)
        os.dup2(theirs_out, 4)

    command = [str(chromium()), *FLAGS, f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}"]
    browser = subprocess.Popen(
        [*command, "about:blank"],
        preexec_fn=connect,
        close_fds=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        os.close(theirs_in)
        os.close(theirs_out)
        tab = Tab(ours_out, ours_in)
        tab.attach()
        tab.ask("Page.navigate", url=page.as_uri())
        tab.wait("document.readyState === 'complete' && location.protocol === 'file:'")
        yield tab
        tab._session = ""
        tab.ask("Browser.close")
        browser.wait(timeout=30)
    finally:
        browser.kill()
        browser.wait()
        os.close(ours_out)
        os.close(ours_in)

"""Progress is silent unless somebody watches, and what it then says is right."""

from __future__ import annotations

import io
import re
import time

import pytest

from thalweg import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_silent_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.track("work", total=2) as advance:
        advance(1)
    assert capsys.readouterr() == ("", "")


def test_plain_lines_estimate_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 5.0, 12.0, 15.0, 30.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    stream = io.StringIO()
    with progress.shown(stream), progress.track("training", total=100) as advance:
        for done in (20, 30, 35, 60):  # resumed at 20: 10 in the first 12 seconds, 40 in 30
            advance(done)
    assert stream.getvalue().splitlines() == [
        "training: 30 of 100 (30 %), about 1 min 24 s left",
        "training: 60 of 100 (60 %), about 30 s left",
    ]


def test_plain_lines_without_a_total() -> None:
    stream = io.StringIO()
    with progress.shown(stream, seconds=0.0), progress.track("reading") as advance:
        advance(7)
    assert stream.getvalue() == "reading: 7\n"


def test_bar_on_a_terminal_shows_nested_tracks() -> None:
    stream = Terminal()
    with progress.shown(stream), progress.track("outer", total=2) as outer, progress.track("inner", total=10) as inner:
        inner(10)
        outer(1)
        time.sleep(0.3)  # the bar is drawn ten times a second
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    assert "outer" in text
    assert "inner" in text
    assert "10/10" in text


def test_silent_again_after_an_error() -> None:
    stream = io.StringIO()
    with pytest.raises(KeyError), progress.shown(stream, seconds=0.0), progress.track("work"):
        raise KeyError
    with progress.track("work") as advance:
        advance(1)
    assert stream.getvalue() == ""

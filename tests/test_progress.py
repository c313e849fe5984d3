"""Progress is silent unless somebody watches, and what it then says is right."""

from __future__ import annotations

import io
import re
import sys
import time
from types import SimpleNamespace

import pytest

from thalweg import _screens, progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """A time that moves only when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Standard error as a terminal of 120 columns."""
    stream = Terminal()
    monkeypatch.setattr(_screens, "sys", SimpleNamespace(stderr=stream, modules=sys.modules))  # pytest has its own
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("THALWEG_PROGRESS", raising=False)
    return stream


def drawn(stream: Terminal) -> list[str]:
    """What was written over itself, one after the other."""
    return stream.getvalue().split("\r\x1b[2K")[1:]


def work(
    clock: Clock, parts: int, seconds: float, label: str = "work", start: float | None = None, at_most: bool = False
) -> None:
    with progress.track(label, total=parts, start=start, at_most=at_most) as advance:
        for part in range(parts):
            clock.now += seconds
            advance(part + 1)


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


def test_bar_on_a_terminal_shows_nested_tracks_that_last() -> None:
    stream = Terminal()
    with progress.shown(stream), progress.track("outer", total=2) as outer:
        with progress.track("brief", total=10) as brief:
            brief(10)
        with progress.track("inner", total=10) as inner:
            time.sleep(0.6)
            inner(10)
            outer(1)
            time.sleep(0.3)  # the bar is drawn ten times a second
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    assert "outer" in text
    assert "inner" in text
    assert "10/10" in text
    assert "brief" not in text


def test_silent_again_after_an_error() -> None:
    stream = io.StringIO()
    with pytest.raises(KeyError), progress.shown(stream, seconds=0.0), progress.track("work"):
        raise KeyError
    with progress.track("work") as advance:
        advance(1)
    assert stream.getvalue() == ""


def test_a_long_call_shows_once_its_first_advances_say_so(clock: Clock, terminal: Terminal) -> None:
    work(clock, 100, 0.5, start=0)
    lines = drawn(terminal)
    assert lines[0].startswith("work ")
    assert lines[0].endswith("2 of 100 (2 %), about 49 s left")  # after one second; 50 s in all
    assert lines[-2].endswith("100 of 100 (100 %), about 0 s left")
    assert lines[-1] == ""  # taken away in the end


def test_a_short_call_never_shows(clock: Clock, terminal: Terminal) -> None:
    work(clock, 100, 0.099, start=0)
    assert terminal.getvalue() == ""


def test_a_resumed_loop_is_not_taken_for_a_fast_one(clock: Clock, terminal: Terminal) -> None:
    with progress.track("training", total=1000) as advance:
        clock.now += 1.0
        advance(900)
        clock.now += 1.0
        advance(901)
    assert drawn(terminal)[0].endswith("901 of 1000 (90 %), about 1 min 39 s left")


def test_a_limit_that_may_not_be_reached_is_called_one(clock: Clock, terminal: Terminal) -> None:
    work(clock, 3, 0.9, start=0, at_most=True)  # a hundred would be long, but it ends early
    with progress.track("eigenpairs", total=100, start=0, at_most=True) as advance:
        for part in range(1, 5):
            clock.now += 0.9
            advance(part)
    assert drawn(terminal) == ["eigenpairs 4 of at most 100, at most 1 min 26 s left", ""]


def test_work_of_unknown_length_shows_after_ten_seconds(clock: Clock, terminal: Terminal) -> None:
    with progress.track("reading") as advance:
        for done in (1, 2, 3):
            clock.now += 4.0
            advance(done)
    assert drawn(terminal) == ["reading 3, 12 s", ""]


def test_only_the_outermost_call_shows(clock: Clock, terminal: Terminal) -> None:
    with progress.track("outer", total=3, start=0) as advance:
        for part in range(3):
            work(clock, 10, 1.0, "inner", start=0)
            advance(part + 1)
    assert "inner" not in terminal.getvalue()
    assert drawn(terminal)[0].endswith("1 of 3 (33 %), about 22 s left")


def test_a_part_inside_shows_that_the_outermost_is_alive(clock: Clock, terminal: Terminal) -> None:
    with progress.track("outer", total=2, start=0) as advance:
        work(clock, 30, 1.0, "inner", start=0)
        advance(1)
    assert drawn(terminal)[0].endswith("0 of 2 (0 %), 11 s")


def test_work_in_one_part_leaves_the_line_to_what_is_inside(clock: Clock, terminal: Terminal) -> None:
    with progress.track("signs", total=1) as advance:
        work(clock, 100, 0.5, "rows", start=0)
        advance(1)
    assert drawn(terminal)[0].startswith("rows ")


@pytest.mark.parametrize("way", ["hidden", "environment", "no terminal", "dumb terminal"])
def test_silent_where_it_was_asked_for_or_nobody_looks(
    way: str, clock: Clock, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "environment":
        monkeypatch.setenv("THALWEG_PROGRESS", "0")
    elif way == "dumb terminal":
        monkeypatch.setenv("TERM", "dumb")
    elif way == "no terminal":
        monkeypatch.setattr(terminal, "isatty", lambda: False)
    if way == "hidden":
        with progress.hidden():
            work(clock, 100, 0.5, start=0)
    else:
        work(clock, 100, 0.5, start=0)
    assert terminal.getvalue() == ""


def test_the_line_goes_when_the_call_fails(clock: Clock, terminal: Terminal) -> None:
    def failing() -> None:
        with progress.track("work", total=100, start=0) as advance:
            clock.now += 2.0
            advance(1)
            raise KeyError

    with pytest.raises(KeyError):
        failing()
    assert drawn(terminal)[-1] == ""
    work(clock, 100, 0.5, "next", start=0)  # and the next call is again the outermost
    assert "next" in terminal.getvalue()


def test_a_long_label_stays_on_one_line(clock: Clock, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    work(clock, 100, 0.5, "a label that is longer than the terminal is wide", start=0)
    assert max(map(len, drawn(terminal))) == 39


def test_a_notebook_has_one_output_that_is_replaced(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THALWEG_PROGRESS", raising=False)
    shows: list[dict[str, str]] = []

    def display(bundle: dict[str, str], **_options: object) -> SimpleNamespace:
        shows.append(bundle)
        return SimpleNamespace(update=lambda again, **_options: shows.append(again))

    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    work(clock, 100, 0.5, "a < b", start=0)
    assert shows[0]["text/plain"] == "a < b 2 of 100 (2 %), about 49 s left"
    assert shows[0]["text/html"].startswith("a &lt; b <progress value='0.0200' max='1'>")
    assert shows[-1]["text/plain"] == ""


def test_each_announces_a_loop(clock: Clock, terminal: Terminal) -> None:
    seen = []
    for item in progress.each("parts", range(40)):
        clock.now += 1.0
        seen.append(item)
    assert seen == list(range(40))
    assert drawn(terminal)[0].endswith("1 of 40 (2 %), about 39 s left")

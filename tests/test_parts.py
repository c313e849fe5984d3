"""One bar for the whole: its share is that of the estimated seconds, whatever is skipped, nested or unknown."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from thalweg import progress
from thalweg.parts import stage, whole


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The percentages that a watcher of the whole sees."""
    seen: list[float] = []

    @contextmanager
    def watcher(work: progress._Work) -> Iterator[progress.Advance]:
        yield seen.append if work.label == "all" else lambda _: None

    monkeypatch.setattr(progress, "_watcher", watcher)
    return seen


def test_shares_are_those_of_the_estimated_seconds(told: list[float]) -> None:
    with whole("all", {"training": 60.0, "measuring": 20.0}, done=20.0):
        with stage("training"), progress.track("training 3 replicas", total=4) as advance:
            advance(1)
            advance(2)
        with stage("measuring"):
            pass
    assert told == [20.0, 35.0, 50.0, 80.0, 100.0]


def test_only_the_outermost_track_of_a_part_counts(told: list[float]) -> None:
    with whole("all", {"outer": 50.0, "inner": 50.0}), stage("outer"):
        with progress.track("parts", total=2) as outer:
            with progress.track("inside", total=10) as inside:
                inside(9)
            outer(1)
        with stage("inner"), progress.track("more", total=2) as more:
            more(1)
    assert told == [0.0, 25.0, 50.0, 75.0, 100.0]


def test_unknown_parts_and_parts_that_fail(told: list[float]) -> None:
    with whole("all", {"a": 1.0, "b": 1.0}):
        with stage("something else"), progress.track("its loop", total=2) as advance:
            advance(1)
        with suppress(KeyError), stage("a"):
            raise KeyError
        with stage("b"):
            pass
    assert told == [0.0, 50.0]  # what has failed is not done
    with stage("a"), progress.track("later", total=2) as advance:  # nobody adds up any more
        advance(1)
    assert told == [0.0, 50.0]


def test_plain_lines_say_how_long_everything_takes() -> None:
    stream = io.StringIO()
    seconds = {"training": 10.0, "rest": 10.0}
    with (
        progress.shown(stream, seconds=0.0),
        whole("the whole run", seconds),
        stage("training"),
        progress.track("training", total=10) as advance,
    ):
        advance(5)
    line = [line for line in stream.getvalue().splitlines() if line.startswith("the whole run: 25 of 100")]
    assert re.search(r"\(25 %\), about \d+ s left$", line[0])

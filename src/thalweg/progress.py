"""How long work will still take: a line on a terminal or in a notebook once a call turns out long, else silence.

Library code wraps every long loop in :func:`track` and never knows who watches. Left alone, a call that its first
advances say will take more than ten seconds shows how far it is, where a person is likely to look: in a notebook, or
where standard error is a terminal. Of calls inside one another only the outermost shows. Scripts that want silence
open :func:`hidden` or set the environment variable ``THALWEG_PROGRESS=0``; :func:`shown` writes always, also to files.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TextIO, TypeVar

from thalweg._screens import Screen, screen
from thalweg.errors import one_line

__all__ = ["track", "each", "hidden", "shown", "duration", "storage"]

Advance = Callable[[float], None]
Item = TypeVar("Item")

PLAIN_SECONDS = 10.0
"""Seconds between two plain lines: seldom enough for a log file, often enough to see that the work is alive."""

LONG_SECONDS = 10.0
"""A call that takes less is not worth a line of its own."""

LABEL = 80
"""Characters of the words before a bar; a name of the user's in them is cut in the middle."""

FIRST, FIRST_AT_MOST = 1.0, 3.0  # seconds that an estimate takes to settle; of a limit that is seldom reached, longer
REDRAWN = 0.2  # seconds between two drawings
NESTED = 0.5  # seconds that a part of a shown work must last to have a bar of its own


@dataclass(frozen=True)
class _Work:
    """What is announced; see `track`."""

    label: str
    total: float | None
    start: float | None
    at_most: bool


_Tracker = Callable[[_Work], AbstractContextManager[Advance]]
_Counter = Callable[[AbstractContextManager[Advance], float], AbstractContextManager[Advance]]
_watcher: _Tracker | None = None  # who was asked to show progress; None leaves it to `_alone`
_outermost: _Line | None = None  # the call that shows, or will if it turns out long
_counting: _Counter | None = None  # who adds up the parts of a run, see `thalweg.parts`


def _ignore(_done: float) -> None:
    """Report to nobody."""


def track(
    label: str, total: float | None = None, *, start: float | None = None, at_most: bool = False
) -> AbstractContextManager[Advance]:
    """Announce a piece of work; the value entered is called with how much of it is done so far.

    Args:
        label: What is being done, such as ``"training 8 replicas"``.
        total: The amount that is everything; None if it is not known beforehand.
        start: The amount that is done at the beginning; default: what the first call says, so that a resumed loop is
            not taken for a fast one.
        at_most: Whether the total is a limit that may never be reached.

    Returns:
        A context manager that yields ``advance(done_so_far)``. The count is absolute, so that a resumed loop simply
        continues where it stood.

    >>> with track("counting", total=3) as advance:
    ...     for number in range(3):
    ...         advance(number + 1)
    """
    if _watcher is None:
        return _alone(label, total, start, at_most)
    found = _watcher(_Work(one_line(label, LABEL), total, start, at_most))
    return found if _counting is None or not total else _counting(found, total)


@contextmanager
def counting(counter: _Counter) -> Iterator[None]:
    """Let somebody see all tracks of a known total while the block runs: the track and its total -> the track."""
    global _counting
    before, _counting = _counting, counter
    try:
        yield
    finally:
        _counting = before


def each(label: str, items: Sequence[Item]) -> Iterator[Item]:
    """Yields the items of a loop, announced as work of so many parts.

    >>> [2 * number for number in each("doubling", range(3))]
    [0, 2, 4]
    """
    with track(label, total=len(items), start=0) as advance:
        for number, item in enumerate(items):
            yield item
            advance(number + 1)


@contextmanager
def hidden() -> Iterator[None]:
    """Show nothing while the block runs, however long a call takes.

    >>> with hidden(), track("counting", total=3) as advance:
    ...     advance(1)
    """
    global _watcher
    before, _watcher = _watcher, _silent
    try:
        yield
    finally:
        _watcher = before


@contextmanager
def shown(stream: TextIO | None = None, *, seconds: float = PLAIN_SECONDS) -> Iterator[None]:
    """Show every :func:`track` while the block runs: bars on a terminal, else plain lines.

    Args:
        stream: Where to write; default standard error.
        seconds: Least time between two plain lines of one track.
    """
    global _watcher
    before = _watcher
    target = sys.stderr if stream is None else stream
    if not target.isatty():
        _watcher = _plain(target, seconds)
        try:
            yield
        finally:
            _watcher = before
        return

    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=target), transient=True) as bars:

        @contextmanager
        def bar(work: _Work) -> Iterator[Advance]:
            task = bars.add_task(work.label, total=work.total) if not bars.task_ids else None
            began = time.monotonic()

            def advance(done: float) -> None:
                nonlocal task
                if task is None and time.monotonic() - began >= NESTED:  # short parts would make the screen flicker
                    task = bars.add_task(work.label, total=work.total)
                if task is not None:
                    bars.update(task, completed=done)

            try:
                yield advance
            finally:
                if task is not None:
                    bars.remove_task(task)

        _watcher = bar
        try:
            yield
        finally:
            _watcher = before


def _silent(_work: _Work) -> AbstractContextManager[Advance]:
    return nullcontext(_ignore)


def _plain(stream: TextIO, seconds: float) -> _Tracker:
    """Lines for a log file: the first after `seconds`, so that quick work stays silent."""

    @contextmanager
    def lines(work: _Work) -> Iterator[Advance]:
        began = last = time.monotonic()
        start = work.start  # else the first count reported: a resumed loop does not begin at zero

        def advance(done: float) -> None:
            nonlocal last, start
            now = time.monotonic()
            start = done if start is None else start
            if now - last < seconds:
                return
            last = now
            print(f"{work.label}: {_words(work, done, _left(work, now - began, done, start))}", file=stream, flush=True)

        yield advance

    return lines


# -- what shows by itself


def _alone(label: str, total: float | None, start: float | None, at_most: bool) -> AbstractContextManager[Advance]:
    """The outermost call shows if it turns out long; those inside it only show that it is alive."""
    if _outermost is not None:
        return nullcontext(_outermost.tick)
    if total is not None and total <= 1:  # one part says nothing of the time: what is inside it does
        return nullcontext(_ignore)
    found = screen()
    if found is None:
        return nullcontext(_ignore)
    return _first(_Work(one_line(label, LABEL), total, start, at_most), found)


@contextmanager
def _first(work: _Work, where: Screen) -> Iterator[Advance]:
    global _outermost
    _outermost = line = _Line(work, where)
    try:
        yield line.advance
    finally:
        if _outermost is line:
            _outermost = None
        line.close()


class _Line:
    """One piece of work that is shown once it is known to be long."""

    def __init__(self, work: _Work, where: Screen) -> None:
        self.work, self.screen = work, where
        self.began = self.since = time.monotonic()
        self.last, self.visible = self.began, False
        self.start, self.done = work.start, work.start or 0.0

    def advance(self, done: float) -> None:
        """So much is done."""
        if self.start is None:  # the rate is measured from the first count on: before it, a loop may have been resumed
            self.start, self.since = done, time.monotonic()
        self.done = done
        self.tick(0.0)

    def tick(self, _done: float) -> None:
        """Something has moved: the line is drawn, if it is time."""
        now = time.monotonic()
        if now - self.last < REDRAWN:
            return
        self.last = now
        left = None if self.start is None else _left(self.work, now - self.since, self.done, self.start)
        if not self.visible:
            elapsed = now - self.began
            if elapsed < (FIRST_AT_MOST if self.work.at_most else FIRST) or elapsed + (left or 0.0) <= LONG_SECONDS:
                return
            self.visible = True
        share = self.done / self.work.total if self.work.total and not self.work.at_most else None
        since = "" if left is not None else f", {duration(now - self.began)}"
        self.screen.draw(self.work.label, share, _words(self.work, self.done, left) + since)

    def close(self) -> None:
        """The work has ended, well or not."""
        if self.visible:
            self.screen.clear()


# -- words


def _words(work: _Work, done: float, left: float | None) -> str:
    limit = "at most " if work.at_most else ""
    amount = f"{done:g}" if not work.total else f"{done:g} of {limit}{work.total:g}"
    share = f" ({100 * done / work.total:.0f} %)" if work.total and not limit else ""
    return f"{amount}{share}" + ("" if left is None else f", {limit or 'about '}{duration(left)} left")


def _left(work: _Work, elapsed: float, done: float, start: float) -> float | None:
    """How long the rest takes at the rate measured so far; None until there is a rate."""
    if not work.total or done <= start:
        return None
    return elapsed * (work.total - done) / (done - start)


def duration(seconds: float) -> str:
    """A time in words that a person reads at a glance.

    >>> duration(4), duration(75), duration(7500), duration(200000)
    ('4 s', '1 min 15 s', '2 h 5 min', '2 d 7 h')
    """
    whole = round(seconds)
    for size, name, below, below_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // below
            return f"{whole // size} {name}" + (f" {rest} {below_name}" if rest else "")
    return f"{whole} s"


def storage(count: float) -> str:
    """A number of bytes in words.

    >>> storage(999), storage(1234), storage(999_900), storage(5e9)
    ('999 B', '1.23 kB', '1 MB', '5 GB')
    """
    if count > 1e300:  # an integer may be larger than any float
        return "more than 1e+285 PB"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} PB"

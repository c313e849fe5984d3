"""How long work will still take: silent in the library, a bar or plain lines under the command line.

Library code wraps every long loop in :func:`track` and never knows who watches. A caller who wants to see it opens
:func:`shown`; only then anything is written, and only to standard error. Tracks may nest.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TextIO

from thalweg.errors import one_line

__all__ = ["track", "shown", "duration", "storage"]

Advance = Callable[[float], None]
_Tracker = Callable[[str, float | None], AbstractContextManager[Advance]]

PLAIN_SECONDS = 10.0
"""Seconds between two plain lines: seldom enough for a log file, often enough to see that the work is alive."""

LABEL = 80
"""Characters of the words before a bar; a name of the user's in them is cut in the middle."""

_watcher: _Tracker | None = None  # who shows progress now; None is silence, the state of the library on its own


def _ignore(_done: float) -> None:
    """Report to nobody."""


def track(label: str, total: float | None = None) -> AbstractContextManager[Advance]:
    """Announce a piece of work; the value entered is called with how much of it is done so far.

    Args:
        label: What is being done, such as ``"training 8 replicas"``.
        total: The amount that is everything; None if it is not known beforehand.

    Returns:
        A context manager that yields ``advance(done_so_far)``. The count is absolute, so that a resumed loop simply
        continues where it stood.

    >>> with track("counting", total=3) as advance:
    ...     for number in range(3):
    ...         advance(number + 1)
    """
    return nullcontext(_ignore) if _watcher is None else _watcher(one_line(label, LABEL), total)


@contextmanager
def shown(stream: TextIO | None = None, *, seconds: float = PLAIN_SECONDS) -> Iterator[None]:
    """Show every :func:`track` while the block runs: a bar on a terminal, else plain lines.

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
        def bar(label: str, total: float | None) -> Iterator[Advance]:
            task = bars.add_task(label, total=total)
            try:
                yield lambda done: bars.update(task, completed=done)
            finally:
                bars.remove_task(task)

        _watcher = bar
        try:
            yield
        finally:
            _watcher = before


def _plain(stream: TextIO, seconds: float) -> _Tracker:
    """Lines for a log file: the first after `seconds`, so that quick work stays silent."""

    @contextmanager
    def lines(label: str, total: float | None) -> Iterator[Advance]:
        began = last = time.monotonic()
        start: float | None = None  # the first count reported: a resumed loop does not begin at zero

        def advance(done: float) -> None:
            nonlocal last, start
            now = time.monotonic()
            start = done if start is None else start
            if now - last < seconds:
                return
            last = now
            print(
                f"{label}: {_amount(done, total)}{_remaining(now - began, done, start, total)}", file=stream, flush=True
            )

        yield advance

    return lines


def _amount(done: float, total: float | None) -> str:
    return f"{done:g}" if not total else f"{done:g} of {total:g} ({100 * done / total:.0f} %)"


def _remaining(elapsed: float, done: float, start: float, total: float | None) -> str:
    """How long the rest takes at the rate measured so far; nothing until there is a rate."""
    if not total or done <= start:
        return ""
    return f", about {duration(elapsed * (total - done) / (done - start))} left"


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

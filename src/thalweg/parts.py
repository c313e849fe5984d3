"""How much of everything is done, where it is known beforehand how long each part takes.

Who knows the parts opens :func:`whole`; the parts say by :func:`stage` that they are at work. Inside a part its
outermost track says how far it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from thalweg import progress
from thalweg.progress import Advance

__all__ = ["stage", "whole"]

_whole: _Whole | None = None  # the parts of the work, if anybody has said them


@contextmanager
def whole(label: str, seconds: Mapping[str, float], *, done: float = 0.0) -> Iterator[None]:
    """Show how much is done of work whose parts take known times, beside the tracks that are opened in it.

    Args:
        label: What all of it is.
        seconds: Estimated time of each part that is still to be done, by the name that it gives to :func:`stage`.
        done: Estimated time of the parts that were done before.

    >>> with whole("a run", {"training": 60.0, "measuring": 20.0}), stage("training"):
    ...     pass
    """
    global _whole
    total = done + sum(seconds.values())
    if not total:
        yield
        return
    before = _whole
    with progress.track(label, total=100) as advance:
        _whole = _Whole(seconds, done, total, advance)
        try:
            with progress.counting(_whole.watching):
                yield
        finally:
            _whole = before


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Says that a part of the work begins and, at the end of the block, that it is done; parts may nest.

    Args:
        name: As in :func:`whole`; any other is passed over.
    """
    inside = _whole
    if inside is None or not inside.begin(name):
        yield
        return
    done = False
    try:
        yield
        done = True
    finally:
        inside.end(done=done)


@dataclass
class _Part:
    """A part at work: its seconds, the share of it that is done, and whether a track tells that share."""

    seconds: float
    share: float = 0.0
    tracked: bool = False


class _Whole:
    """How much is done of all parts.

    Args:
        seconds: Of each part.
        done: Of parts that were done before.
        total: Of all.
        advance: Told the percentage that is done.
    """

    def __init__(self, seconds: Mapping[str, float], done: float, total: float, advance: Advance) -> None:
        self._left, self._done, self._total, self._advance = dict(seconds), done, total, advance
        self._open: list[_Part] = []
        self._tell()

    def begin(self, name: str) -> bool:
        """A part begins, if it is a known one."""
        if name not in self._left:
            return False
        self._open.append(_Part(self._left.pop(name)))
        return True

    def end(self, *, done: bool) -> None:
        """The part that began last is over, at its end or by an error."""
        part = self._open.pop()
        if done:
            self._done += part.seconds
            self._tell()

    @contextmanager
    def watching(self, tracked: AbstractContextManager[Advance], total: float) -> Iterator[Advance]:
        """A track: if it is the outermost one in a part, it says how much of the part is done."""
        if not self._open or self._open[-1].tracked:
            with tracked as advance:
                yield advance
            return
        part = self._open[-1]
        with tracked as advance:
            part.tracked = True

            def told(done: float) -> None:
                advance(done)
                part.share = max(part.share, min(1.0, done / total))
                self._tell()

            try:
                yield told
            finally:
                part.tracked = False

    def _tell(self) -> None:
        done = self._done + sum(part.seconds * part.share for part in self._open)
        self._advance(round(100 * done / self._total, 1))

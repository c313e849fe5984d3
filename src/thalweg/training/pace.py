"""The number of threads of a training: by rule; large steps are timed, and one thread is taken where it is faster.

Small steps take one thread, large ones as many as their operations keep busy: the same number whenever the same
training is done on the same machine. Beside other processes several threads can be slower than one. Where there are
several, the first steps are therefore timed, as many with one thread as with all, and again whenever steps have become
slow. One thread is taken if it is clearly faster, and that is logged. The number is part of what a recording keeps, so
that a resumed training rounds as it would have.
"""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from thalweg import threads

__all__ = ["Pace"]

log = logging.getLogger("thalweg")

BLOCK = 3
"""Steps in a row with one number of threads while it is timed; each number has two such blocks."""
WINDOW = 15
"""Steps whose median is looked at for slowness."""
SLOWER = 1.5
"""Steps that take so many times the best median are a reason to time again."""
CLEARLY = 1.25
"""One thread must be faster by this factor, so that noise changes nothing."""
RUINOUS = 2.0
"""Steps with several threads that take so many times those with one are not repeated."""
REST = 100
"""Least number of steps between two timings; doubled each time."""

Result = TypeVar("Result")


class Pace:
    """Threads of the steps of one training.

    Args:
        seconds: What a typical operation of a step takes with one thread; the rule finds the number from it.
        clock: Seconds, for tests.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self._most = None if threads.decided() else threads.number_for(seconds)  # None: the user has set it
        self._number, self._clock = self._most or 1, clock
        self._ahead: list[int] = []  # numbers of the next steps, while it is timed
        self._times: dict[int, list[float]] = {}
        self._window: list[float] = []
        self._best: dict[int, float] = {}
        self._rest, self._since = REST, 0
        if self._changes:
            self._try()

    @property
    def _changes(self) -> bool:
        return self._most is not None and self._most > 1

    def state(self) -> dict[str, Any]:
        """What a resumed training needs to go on with the same numbers of threads: plain data."""
        if self._most is None:
            return {}
        times = {str(number): list(taken) for number, taken in self._times.items()}
        kept = {"ahead": list(self._ahead), "times": times, "since": self._since, "rest": self._rest}
        return {"number": self._number, "most": self._most, **kept}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state` returned, unless the user has set a number, or the recording knows none."""
        if self._most is None or not state:
            return
        self._most, self._number = min(state["most"], threads.most()), min(state["number"], threads.most())
        self._ahead, self._since, self._rest = list(state["ahead"]), state["since"], state["rest"]
        self._times = {int(number): list(taken) for number, taken in state["times"].items()}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Around all steps: the caller's number of threads comes back at the end."""
        with threads.use(None if self._most is None else self._number):
            if self._most is not None:
                log.debug("training with %d threads by the size of its operations", self._number)
            yield

    def timed(self, step: Callable[[bool], Result], last: bool) -> Result:
        """Does a step with the number of threads that is due."""
        if not self._changes:
            return step(last)
        number = self._ahead[0] if self._ahead else self._number
        threads.switch(number)
        began = self._clock()
        result = step(last)
        self._note(number, self._clock() - began)
        return result

    def _try(self) -> None:
        self._ahead = ([1] * BLOCK + [self._most or 1] * BLOCK) * 2
        self._times, self._window, self._since = {}, [], 0

    def _note(self, number: int, taken: float) -> None:
        if self._ahead:
            self._ahead.pop(0)
            self._times.setdefault(number, []).append(taken)
            if not self._ahead or self._ruinous():
                self._decide()
            return
        self._since += 1
        self._window.append(taken)
        if self._since % WINDOW:
            return
        median, self._window = statistics.median(self._window), []
        best = self._best[number] = min(median, self._best.get(number, median))
        waited = self._since >= self._rest
        if waited and (median > SLOWER * best or number != self._most):  # others may have left by now
            self._rest *= 2
            self._try()

    def _ruinous(self) -> bool:
        """Whether two steps with several threads were so slow that no more are needed to know."""
        several, one = (self._times.get(number, []) for number in (self._most or 1, 1))
        return len(several) > 1 and min(several) > RUINOUS * statistics.median(one)

    def _decide(self) -> None:
        """Compares what was timed."""
        self._ahead = []
        several, one = (statistics.median(self._times[number]) for number in (self._most or 1, 1))
        factor = CLEARLY if self._number != 1 else 1 / CLEARLY  # the one in force stays unless it is clearly slower
        before, self._number = self._number, 1 if factor * one < several else self._most or 1
        if self._number != before:
            words = "thread" if self._number == 1 else "threads"
            log.info("training goes on with %d %s instead of %d, which is faster now", self._number, words, before)

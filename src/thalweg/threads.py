"""How many CPU threads torch takes: one where operations are small, more where one operation keeps several busy.

Torch gives every operation all cores. A network of a few hundred parameters gains nothing by that, and as soon as
anything else runs on the machine its steps wait for threads that are not running: they then take ten to a hundred times
as long. The instruments therefore choose the number by rule from the size of their operations, so that the same work on
the same machine always has the same number, and with it the same rounding. They leave the caller's number as it was.

A number that the user has set is kept: ``OMP_NUM_THREADS`` or ``MKL_NUM_THREADS``, ``torch.set_num_threads`` to
anything else than all cores, or :func:`fixed`.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from thalweg._lazy import torch

__all__ = ["chosen", "cores", "decided", "fixed", "limit", "most", "number_for", "sleeping", "use", "wait_asleep"]

log = logging.getLogger("thalweg")

ASLEEP, SPINNING = 5e-5, 5e-4
"""Seconds of work that each thread must find in one operation: where waiting threads sleep, and where they spin.

Measured by `benchmarks/threads.py`. Two threads that sleep while they wait pay from 0.1 ms per operation, also beside
other processes. Threads that spin take the core from the very thread they wait for, if the machine is busy.
"""

_ASKED = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}  # of GNU's and of LLVM's OpenMP
_SPIN = (*_WAITING, "GOMP_SPINCOUNT")


class _State(threading.local):
    """What was chosen in this thread: torch's number of threads belongs to the thread that set it."""

    number: int | None = None  # the one in force, if it was chosen here
    fixed = False  # whether it was set by the user for everything inside


_state = _State()
_limit: int | None = None  # of a worker process: its share of the cores


@contextmanager
def chosen(seconds: float) -> Iterator[int]:
    """Take as many threads as the work pays for while the block runs; may be nested.

    Args:
        seconds: What a typical operation of the work takes with one thread; 0 for small work.

    Yields:
        The number of threads.

    >>> import torch
    >>> before = torch.get_num_threads()
    >>> with chosen(0.0) as number:
    ...     inside = torch.get_num_threads()
    >>> inside == number <= before == torch.get_num_threads()
    True
    """
    with use(None if decided() else number_for(seconds)) as number:
        yield number


@contextmanager
def use(number: int | None) -> Iterator[int]:
    """Take a number of threads that was chosen before while the block runs; None leaves the number as it is."""
    before, chosen_before = torch.get_num_threads(), _state.number
    if number is None:
        yield before
        return
    switch(number)
    try:
        yield number
    finally:
        torch.set_num_threads(before)
        _state.number = chosen_before


def switch(number: int) -> None:
    """Change the number of threads within a block of :func:`use`."""
    if torch.get_num_threads() != number:
        torch.set_num_threads(number)
    _state.number = number


@contextmanager
def fixed(number: int) -> Iterator[None]:
    """Take this number of threads for everything in the block, whatever its size."""
    before, fixed_before = torch.get_num_threads(), _state.fixed
    torch.set_num_threads(number)
    _state.fixed = True
    try:
        yield
    finally:
        _state.fixed = fixed_before
        torch.set_num_threads(before)


def decided() -> bool:
    """Whether the user has set the number of threads, or there is but one core: then nothing is chosen."""
    if _state.fixed or most() == 1:
        return True
    if _limit is None and any(os.environ.get(name) for name in _ASKED):
        return True
    now = torch.get_num_threads()
    return now != _state.number and now not in (most(), cores(), _physical())


def number_for(seconds: float) -> int:
    """The number of threads for operations that take `seconds` each with one thread.

    >>> number_for(0.0), number_for(10.0) == most()
    (1, True)
    """
    grain = ASLEEP if sleeping() else SPINNING
    return max(1, min(most(), int(min(seconds, 1.0) / grain)))


def most() -> int:
    """The greatest number that is ever chosen: the physical cores, or a worker's share of them."""
    return _physical() if _limit is None else _limit


def limit(number: int) -> None:
    """Set the share of a worker process; what is chosen in it stays below."""
    global _limit
    _limit = number
    torch.set_num_threads(number)


def cores() -> int:
    """Cores that this process may use."""
    return len(_usable()) or os.cpu_count() or 1


def _usable() -> tuple[int, ...]:
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()


def _physical() -> int:
    return _without_siblings(_usable()) or cores()


@cache
def _without_siblings(numbers: tuple[int, ...]) -> int:
    """Cores of which each counts once, however many hardware threads it has; 0 if the system does not tell."""
    files = (Path(f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list") for number in numbers)
    try:
        return len({file.read_text() for file in files})
    except OSError:
        return 0


def sleeping() -> bool:
    """Whether threads of OpenMP that wait for each other give their core to others."""
    named = {name: os.environ.get(name, "").upper() for name in _SPIN}
    return any(named[name] == value for name, value in _WAITING.items()) or named["GOMP_SPINCOUNT"] == "0"


def wait_asleep(environment: MutableMapping[str, str]) -> list[str]:
    """Let OpenMP's threads sleep while they wait, unless the user has said how they wait.

    It is read when torch is loaded: this must come before, or concern processes that are yet to begin.

    Args:
        environment: Of the process: ``os.environ``.

    Returns:
        The names that were set.
    """
    if any(name in environment for name in _SPIN):
        return []
    environment.update(_WAITING)
    return list(_WAITING)


def start() -> None:
    """Prepare a process of our own, such as the command line, before it loads torch."""
    if "torch" not in sys.modules:
        wait_asleep(os.environ)


@contextmanager
def children_asleep() -> Iterator[None]:
    """Processes that begin while the block runs let their threads sleep while they wait; see :func:`wait_asleep`."""
    names = wait_asleep(os.environ)
    try:
        yield
    finally:
        for name in names:
            os.environ.pop(name, None)

"""Who gets which task when workers die; the executors here are scripted, those of test_sweeping are real."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from thalweg.sweeps import Given
from thalweg.sweeps.dispatch import DEATHS, dispatch
from thalweg.sweeps.working import Order, Outcome


class Scripted(Executor):
    """Takes tasks, and does all it holds when the driver waits; breaks if one of them kills its worker."""

    def __init__(self, crew: Crew) -> None:
        self.crew, self.broken = crew, False
        self.held: list[tuple[Future[Outcome], Order]] = []

    def submit(self, function: Callable[[Order], Outcome], order: Order) -> Future[Outcome]:  # type: ignore[override]
        if self.broken:
            raise BrokenExecutor("broken")
        future: Future[Outcome] = Future()
        self.held.append((future, order))
        return future

    def work(self) -> None:
        names = [order.name for _, order in self.held]
        self.crew.together.append(names)
        self.crew.given.update(names)
        self.broken = any(self.crew.kills(name, self.crew.given[name]) for name in names)
        for future, _ in self.held:
            if self.broken:
                future.set_exception(BrokenExecutor("a process was terminated abruptly"))
            else:
                future.set_result(Outcome("complete"))
        self.held = []


@dataclass
class Crew:
    """Two workers."""

    total: int
    kills: Callable[[str, int], bool]
    width: int = 2
    reopens: bool = True
    words: str = "two"
    given: Counter[str] = field(default_factory=Counter)
    together: list[list[str]] = field(default_factory=list)
    executors: list[Scripted] = field(default_factory=list)

    @contextmanager
    def opened(self) -> Iterator[Executor]:
        self.executors.append(Scripted(self))
        yield self.executors[-1]


def outcomes(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}

    def done(order: Order, outcome: Outcome) -> None:
        assert order.name not in found, "told twice"
        found[order.name] = outcome

    def waiting(futures: Iterable[Future], return_when: str) -> object:
        crew.executors[-1].work()
        return wait(futures, timeout=0, return_when=return_when)

    monkeypatch.setattr("thalweg.sweeps.dispatch.wait", waiting)
    dispatch([Order(str(index), "weather", {}, ".") for index in range(crew.total)], crew, done)
    return found


def test_nobody_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    crew = Crew(6, kills=lambda name, times: False)
    assert outcomes(crew, monkeypatch) == {str(index): Outcome("complete") for index in range(6)}
    assert crew.together == [["0", "1"], ["2", "3"], ["4", "5"]]


def test_a_worker_dies_once(monkeypatch: pytest.MonkeyPatch) -> None:
    crew = Crew(6, kills=lambda name, times: name == "2" and times == 1)
    assert outcomes(crew, monkeypatch) == {str(index): Outcome("complete") for index in range(6)}
    assert crew.together[:3] == [["0", "1"], ["2", "3"], ["4", "5"]]
    assert sorted(crew.together[3:]) == [["2"], ["3"]]
    assert len(crew.executors) == 2


def test_a_task_that_always_kills_is_found_out_and_the_others_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    crew = Crew(5, kills=lambda name, times: name == "1")
    found = outcomes(crew, monkeypatch)
    assert found.pop("1") == Outcome("failed", "its worker process died 3 times (out of memory or killed)")
    assert found == {name: Outcome("complete") for name in "0234"}
    assert crew.given["1"] == DEATHS
    assert crew.together[:3] == [["0", "1"], ["2", "3"], ["4"]]
    assert sorted(crew.together[3:]) == [["0"], ["1"], ["1"]]


def test_an_executor_that_cannot_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    crew = Crew(6, kills=lambda name, times: name == "3", reopens=False)
    found = outcomes(crew, monkeypatch)
    assert [found[str(index)].status for index in range(6)] == ["complete"] * 2 + ["missing"] * 4
    assert found["5"].message == "the executor broke before this task was done"


def test_an_error_of_the_executor_itself() -> None:
    class Strange(Executor):
        def submit(self, function: object, order: Order) -> Future[Outcome]:  # type: ignore[override]
            future: Future[Outcome] = Future()
            if order.name == "0":
                future.set_exception(RuntimeError("no more credit"))
            elif order.name == "1":
                future.cancel()
                future.set_running_or_notify_cancel()
            else:
                future.set_result(Outcome("complete"))
            return future

    found: dict[str, Outcome] = {}
    orders = [Order(str(index), "weather", {}, ".") for index in range(3)]
    dispatch(orders, Given(Strange()), lambda order, outcome: found.update({order.name: outcome}))
    assert found == {
        "0": Outcome("failed", "RuntimeError: no more credit"),
        "1": Outcome("missing", "it was cancelled, as when the scheduler of a cluster ends"),
        "2": Outcome("complete"),
    }


def test_an_interrupt_cancels_what_waits() -> None:
    handed: list[Future[Outcome]] = []

    class Slow(Executor):
        def submit(self, function: object, order: Order) -> Future[Outcome]:  # type: ignore[override]
            handed.append(Future())
            if len(handed) == 1:
                handed[0].set_result(Outcome("complete"))
            return handed[-1]

    def done(order: Order, outcome: Outcome) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dispatch([Order(str(index), "weather", {}, ".") for index in range(3)], Given(Slow()), done)
    assert [future.cancelled() for future in handed] == [False, True, True]

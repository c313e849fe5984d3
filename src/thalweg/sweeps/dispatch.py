"""Who gets which task, and what happens when a worker dies."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait

from thalweg.runs.state import one_line
from thalweg.sweeps.workers import Workers
from thalweg.sweeps.working import Order, Outcome, perform

__all__ = ["dispatch"]

log = logging.getLogger(__name__)

DEATHS = 3  # workers that a task may take with it before it is given up


def dispatch(orders: Sequence[Order], workers: Workers, done: Callable[[Order, Outcome], None]) -> None:
    """Have every task done; none can take down another.

    When a worker process dies (out of memory, a crash in native code, a kill), all tasks of its pool fall with it. They
    are given out again, each alone and after all others, so that a task that kills its worker every time is found out,
    and given up after `DEATHS` workers.

    Args:
        orders: The tasks.
        workers: Who does them.
        done: Called with every task's outcome as soon as it is known, in whatever order they come.
    """
    book = _Book(orders, done)
    while book.waiting or book.suspects:
        with workers.opened() as executor:
            whole = _work(executor, workers.width, book)
        if not whole and not workers.reopens:
            for order in (*book.waiting, *book.suspects):
                done(order, Outcome("missing", "the executor broke before this task was done"))
            return


class _Book:
    """What is still to be done, and which tasks a worker died at."""

    def __init__(self, orders: Sequence[Order], done: Callable[[Order, Outcome], None]) -> None:
        self.waiting, self.suspects = deque(orders), deque[Order]()
        self.deaths: Counter[str] = Counter()
        self.done = done

    def close(self, order: Order, future: Future[Outcome]) -> bool:
        """Enter what became of a task; False if the executor broke under it."""
        try:
            outcome = future.result()
        except BrokenExecutor as error:
            log.debug("task %s fell: %s", order.name, error)
            self.deaths[order.name] += 1
            if self.deaths[order.name] < DEATHS:
                self.suspects.append(order)
            else:
                self.done(order, Outcome("failed", f"its worker process died {DEATHS} times (out of memory or killed)"))
            return False
        except CancelledError:
            outcome = Outcome("missing", "it was cancelled, as when the scheduler of a cluster ends")
        except Exception as error:  # noqa: BLE001 -- the executor's own, such as dask's KilledWorker
            outcome = Outcome("failed", one_line(error))
        self.done(order, outcome)
        return True


def _work(executor: Executor, width: int | None, book: _Book) -> bool:
    """Hand out tasks until there are none; False if the executor broke."""
    flying: dict[Future[Outcome], Order] = {}
    whole = True
    try:
        while True:
            while whole and (queue := _next(book, len(flying), width)):
                try:
                    flying[executor.submit(perform, queue[0])] = queue[0]
                    queue.popleft()
                except BrokenExecutor:
                    whole = False
            if not flying:
                return whole
            for future in wait(flying, return_when=FIRST_COMPLETED).done:
                whole = book.close(flying.pop(future), future) and whole
    finally:
        for future in flying:  # there are some after an interrupt only
            future.cancel()


def _next(book: _Book, flying: int, width: int | None) -> deque[Order]:
    """The queue to take a task from now; an empty one if the workers have enough."""
    if book.waiting:
        return book.waiting if width is None or flying < width else deque()
    return deque() if flying else book.suspects

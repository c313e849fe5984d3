"""Who does the tasks: processes of this machine, a dask cluster, or an executor that the caller has made.

Each is something to open that gives a ``concurrent.futures.Executor``. All that is sent is plain data and the name of
one function; what is found stays in the run folders, on a file system that driver and workers share.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Protocol

from thalweg._lazy import torch
from thalweg.errors import InputError
from thalweg.threads import children_asleep, cores, limit

__all__ = ["Cluster", "Given", "Local", "Workers", "cores"]

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")


class Workers(Protocol):
    """Who does the tasks."""

    @property
    def words(self) -> str:
        """Who they are, for the first line that the user reads."""

    @property
    def width(self) -> int | None:
        """How many tasks they are handed at a time; None for all at once."""

    @property
    def reopens(self) -> bool:
        """Whether they can be opened again after a worker has broken the executor."""

    def opened(self) -> AbstractContextManager[Executor]:
        """The executor, while the block runs; an error in the block stops the workers at once."""


@dataclass(frozen=True)
class Local:
    """Processes of this machine.

    Every process takes at most an equal share of the cores as its threads, one for small networks, and as many as
    ``OMP_NUM_THREADS`` says if that is fewer. Threads sleep while they wait for each other. The processes are
    spawned, not forked, because torch's threads do not survive a fork; a script that starts a sweep therefore needs
    ``if __name__ == "__main__":``.

    Attributes:
        count: Number of processes.

    >>> Local(2).threads <= max(1, cores() // 2)
    True
    """

    count: int

    def __post_init__(self) -> None:
        if not self.count >= 1:
            raise InputError(f"workers must be at least 1, found {self.count}")

    @property
    def threads(self) -> int:
        """Threads of each process."""
        share = max(1, cores() // self.count)
        asked = os.environ.get("OMP_NUM_THREADS", "")
        return min(share, int(asked)) if asked.isdecimal() and int(asked) else share

    @property
    def words(self) -> str:
        """See :class:`Workers`."""
        return f"{_counted(self.count, 'worker')} with {_counted(self.threads, 'thread')} each"

    @property
    def width(self) -> int:
        """One each: so it is known which tasks a dying worker takes with it."""
        return self.count

    @property
    def reopens(self) -> bool:
        """A new pool can always be made."""
        return True

    @contextmanager
    def opened(self) -> Iterator[Executor]:
        """See :class:`Workers`."""
        context = multiprocessing.get_context("spawn")
        theirs, ours = context.Pipe(duplex=False)
        pool = ProcessPoolExecutor(self.count, context, _begin, (theirs, self.threads))
        try:
            with children_asleep():  # processes begin when they are first needed
                yield pool
        except BaseException:
            ours.close()  # they leave what they are at: its run folder keeps what was committed
            raise
        finally:
            pool.shutdown(cancel_futures=True)
            ours.close()
            theirs.close()


def _begin(alive: Connection, threads: int) -> None:
    """Set up a worker process: its threads, and its end when the driver is gone, be it by `kill -9`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver decides
    asked = bool(os.environ.get("OMP_NUM_THREADS"))
    os.environ |= dict.fromkeys(_THREADS, str(threads))  # for libraries that are not yet loaded
    threading.Thread(target=_outlive_nobody, args=(alive,), daemon=True).start()

    if asked:
        torch.set_num_threads(threads)
    else:
        limit(threads)


def _outlive_nobody(alive: Connection) -> None:
    alive.poll(None)  # the other end is closed when the driver stops us, and by the kernel when it dies
    os._exit(1)


@dataclass(frozen=True)
class Cluster:
    """The workers of a dask.distributed scheduler: other machines, SLURM or Kubernetes jobs, GPUs.

    A task whose worker dies is given to another one, as often as the scheduler's ``allowed-failures`` says (3 times).
    Every worker should do one task at a time (``dask worker --nthreads 1``), for torch has one number of threads per
    process.

    Attributes:
        address: Of the scheduler, such as ``"tcp://10.0.0.1:8786"``.
        timeout: Seconds until a scheduler that does not answer is given up.
    """

    address: str
    timeout: float = 10.0

    @property
    def words(self) -> str:
        """See :class:`Workers`."""
        return f"the workers of {self.address}"

    @property
    def width(self) -> None:
        """The scheduler hands them out."""
        return None

    @property
    def reopens(self) -> bool:
        """The scheduler replaces workers itself."""
        return False

    @contextmanager
    def opened(self) -> Iterator[Executor]:
        """See :class:`Workers`.

        Raises:
            InputError: dask.distributed is not installed, or nobody answers at the address.
        """
        try:
            from distributed import Client
        except ImportError:
            raise InputError("a cluster needs dask.distributed: install thalweg[cluster]") from None
        try:
            client = Client(self.address, timeout=self.timeout, set_as_default=False)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise InputError(
                f"cluster must be the address of a dask scheduler, found {self.address}: {reason}"
            ) from None
        executor = client.get_executor(pure=False)
        try:
            yield executor
        except BaseException:
            executor.shutdown(wait=False)
            raise
        finally:
            client.close()


@dataclass(frozen=True)
class Given:
    """An executor that the caller has made and will close: a thread pool, mpi4py's, Ray's, a dask client's.

    Attributes:
        executor: Which.
    """

    executor: Executor

    @property
    def words(self) -> str:
        """See :class:`Workers`."""
        return f"a {type(self.executor).__name__}"

    @property
    def width(self) -> None:
        """The executor queues."""
        return None

    @property
    def reopens(self) -> bool:
        """What breaks it ends it."""
        return False

    @contextmanager
    def opened(self) -> Iterator[Executor]:
        """See :class:`Workers`."""
        yield self.executor


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"

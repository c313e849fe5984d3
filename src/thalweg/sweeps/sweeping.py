"""A sweep from its plan to its table and figures."""

from __future__ import annotations

import logging
import math
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import thalweg.experiments
from thalweg._short import short
from thalweg.errors import InputError
from thalweg.experiments.framework.findings import Findings
from thalweg.progress import track
from thalweg.runs import Run, RunFiles
from thalweg.runs.frames import read_frame, write_frame
from thalweg.sweeps.dispatch import dispatch
from thalweg.sweeps.planning import Plan, Task
from thalweg.sweeps.table import collect
from thalweg.sweeps.telling import tell
from thalweg.sweeps.workers import Given, Local, Workers, cores
from thalweg.sweeps.working import Order, Outcome

if TYPE_CHECKING:
    import polars as pl

__all__ = ["SUFFIX", "Sweep", "missing", "open_sweep", "staff", "sweep"]

log = logging.getLogger(__name__)

SUFFIX = "-sweep"  # after the experiment, in the name of a sweep's folder


@short
@dataclass(frozen=True, eq=False)
class Sweep:
    """What a sweep has left.

    Attributes:
        run: Its own folder, which holds ``sweep.parquet``; "complete" if all its tasks are, else "failed".
        table: One row per task; see :func:`thalweg.sweeps.table.collect`.
        findings: Figures and sentences; tasks that are not complete are among the warnings.
    """

    run: Run
    table: pl.DataFrame
    findings: Findings


class _UnfinishedError(InputError):
    """Tasks are not complete; ends the session of the sweep's run with this message."""


def sweep(
    plan: Plan, root: str | Path = "runs", workers: Workers | Executor | int | None = None, *, command: str = ""
) -> Sweep:
    """Have all tasks done that are not done yet, and collect what they found.

    Tasks are independent: one that fails is a row of the table with its message, and the others go on. Calling this
    again does only what is missing; a run that was interrupted goes on at its last commit.

    Args:
        plan: The tasks.
        root: Folder of all runs; for a cluster one that its workers see under the same path.
        workers: Who works; a number of processes of this machine, by default as many as it has cores; or any executor.
        command: The command line, kept in every run; empty if called from Python.

    Raises:
        InputError: Another process is at the same sweep, or the workers cannot be reached.
        OSError: The folder of the sweep cannot be written.
        KeyboardInterrupt: The user has had enough; the table of what is there is written.

    >>> import tempfile
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> from thalweg.experiments import find
    >>> from thalweg.sweeps import plan, sweep
    >>> made = plan("trajectory", find("trajectory").preset("tiny"), {"training.lr": "0.01,0.1"})
    >>> with ThreadPoolExecutor(1) as executor:
    ...     done = sweep(made, tempfile.mkdtemp(), executor)
    >>> done.table.select("training.lr", "status").rows()
    [(0.01, 'complete'), (0.1, 'complete')]
    """
    root = Path(root)
    run = open_sweep(plan, root, command)
    path = run.path / "sweep.parquet"
    if run.state == "complete":
        from thalweg.experiments.framework.execution import load_findings

        return Sweep(run, read_frame(path), load_findings(run))
    try:
        with run.writing():
            table = _done(plan, root, staff(workers), path, command)
            found = tell(plan, table, root)
            whole = int((table["status"] == "complete").sum())
            if whole < len(table):
                raise _UnfinishedError(f"{len(table) - whole} of {len(table)} tasks are not complete")
            run.save("findings", found.to_json())
            run.complete()
    except _UnfinishedError:
        pass
    return Sweep(run, table, found)


def open_sweep(plan: Plan, root: str | Path, command: str = "") -> Run:
    """The folder of a sweep, named after its plan, beside the runs of its tasks; made if it is not there."""
    first = plan.tasks[0].config
    return Run.create(
        root,
        plan.experiment + SUFFIX,
        plan.settings,
        seed=first.seed,
        device=first.device,
        data_checksum=None,
        command=command,
    )


def missing(plan: Plan, root: str | Path) -> list[Task]:
    """The tasks that are not complete, in the order of the plan."""
    return [task for task in plan.tasks if not RunFiles(Path(root) / task.name).complete.is_file()]


def staff(workers: Workers | Executor | int | None) -> Workers:
    """The workers that an argument names.

    >>> staff(3)
    Local(count=3)
    """
    if workers is None:
        return Local(cores())
    if isinstance(workers, int):
        return Local(workers)
    return Given(workers) if isinstance(workers, Executor) else workers


GROWS = {"training.epochs": 1, "training.steps": 1, "replicas": 1, "data.samples": 1, "training.batch_size": -1}
"""How the work of a task goes with a swept number; numbers of the network count as growing."""


def _work(task: Task) -> float:
    """A guess at the work, of tasks of one sweep: the longest begin first, so that the last ones end together.

    >>> from thalweg.experiments import find
    >>> from thalweg.sweeps import plan
    >>> made = plan("trajectory", find("trajectory").preset("tiny"), {"training.batch_size": "16,32", "seed": "0..1"})
    >>> [task.words for task in sorted(made.tasks, key=_work, reverse=True)][:2]
    ['training.batch_size=16, seed=0', 'training.batch_size=16, seed=1']
    """
    guess = 0.0
    for key, value in task.values.items():
        numbers = [n for n in (value if isinstance(value, list) else [value]) if isinstance(n, int | float) and n > 0]
        grows = GROWS.get(key, int(key.startswith("model.")))
        guess += grows * sum(math.log(n) for n in numbers)
    return guess


def _done(plan: Plan, root: Path, workers: Workers, path: Path, command: str) -> pl.DataFrame:
    """Do what is missing; the table is written whatever happens meanwhile."""
    tasks = {task.name: task for task in missing(plan, root)}
    folders = tuple(str(Path(folder).resolve()) for folder in list(thalweg.experiments.__path__)[1:])
    place = str(root.resolve())
    orders = [
        Order(task.name, plan.experiment, task.config.model_dump(mode="json"), place, folders, command)
        for task in sorted(tasks.values(), key=_work, reverse=True)
    ]
    outcomes: dict[str, Outcome] = {}
    before = len(plan.tasks) - len(orders)
    try:
        with track(f"sweep of {plan.experiment}", total=len(plan.tasks)) as advance:
            advance(before)

            def done(order: Order, outcome: Outcome) -> None:
                outcomes[order.name] = outcome
                if outcome.status != "complete":
                    log.warning("%s %s: %s", tasks[order.name].words, outcome.status, outcome.message)
                advance(before + len(outcomes))

            dispatch(orders, workers, done)
    finally:
        table = collect(plan, root, outcomes)
        write_frame(path, table)
    return table

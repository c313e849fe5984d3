"""One task, as a worker does it: any number of times, by any number of workers, with one result."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import thalweg.experiments
from thalweg.experiments.framework.discovery import find
from thalweg.experiments.framework.options import validated
from thalweg.runs.lock import LockedError
from thalweg.runs.state import one_line

__all__ = ["Order", "Outcome", "perform"]

log = logging.getLogger(__name__)

PAUSE = 0.2  # seconds between two looks at a run that somebody else writes; a look costs one system call


@dataclass(frozen=True)
class Order:
    """What a worker is told: plain data, so that any executor can carry it.

    Attributes:
        name: Name of the run folder.
        experiment: Which experiment.
        config: Its configuration as JSON data.
        root: Absolute path of the folder of all runs, which driver and workers share.
        folders: Further folders with experiments (as in ``THALWEG_EXPERIMENTS``).
        command: What was typed; kept in the run.
    """

    name: str
    experiment: str
    config: Mapping[str, Any]
    root: str
    folders: tuple[str, ...] = ()
    command: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a task; what it found is in its run folder.

    Attributes:
        status: "complete", "failed", or "missing" (never begun).
        message: Why not complete, in one sentence.
    """

    status: Literal["complete", "failed", "missing"]
    message: str = ""


def perform(order: Order) -> Outcome:
    """Do a task, unless it is done already.

    Delivered a second time, a complete task costs a look at its folder. One that another worker is at is waited for;
    when that worker has died, the kernel has released its lock, and this one goes on from the last commit.

    Returns:
        How it ended. An error is a value: the other tasks go on.
    """
    try:
        return _performed(order)
    except Exception as error:  # whatever a task does, its sentence must reach the table
        log.debug("task %s failed", order.name, exc_info=True)
        return Outcome("failed", one_line(error))


def _performed(order: Order) -> Outcome:
    from thalweg.experiments.framework.execution import compute, start

    for folder in order.folders:
        if folder not in thalweg.experiments.__path__ and Path(folder).is_dir():
            thalweg.experiments.__path__.append(folder)
    config = validated(find(order.experiment).config, order.config)
    run = start(order.experiment, config, order.root, order.command)
    while run.state != "complete":
        try:
            compute(run)
        except LockedError:
            time.sleep(PAUSE)
        except Exception:
            if run.state != "complete":  # another worker may have completed it between our look and our lock
                raise
    return Outcome("complete")

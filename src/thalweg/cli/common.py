"""What several commands need: finding a run by its name, and showing progress."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from thalweg import progress
from thalweg._screens import switched_off
from thalweg.cli.printing import OneLine
from thalweg.errors import InputError, nearest
from thalweg.runs import Run, find_runs
from thalweg.runs.finding import is_run

__all__ = ["open_run", "watched"]


def open_run(name: str, root: Path) -> Run:
    """A run by its folder, or by its name below the root."""
    if name and (Path(name).is_dir() or os.sep in name):
        return Run.open(name)
    if name and is_run(root / name):  # also one that is damaged, which then is named
        return Run.open(root / name)
    names = [run.name for run in find_runs(root)]
    raise InputError(f"there is no run '{name}' in {root}{nearest(name, names)}")


@contextmanager
def watched() -> Iterator[None]:
    """Show progress and the library's log lines, such as which of two equal ways it has chosen, on standard error."""
    logger = logging.getLogger("thalweg")
    level = logger.level
    with progress.hidden() if switched_off() else progress.shown():
        handler = logging.StreamHandler()  # made under the bar, so that its lines go above it
        handler.setFormatter(OneLine("thalweg: %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)

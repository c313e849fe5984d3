"""Trains on every kind of data of `random-labels`."""

from __future__ import annotations

import polars as pl

from thalweg.experiments.random_labels.config import Config, corrupted
from thalweg.experiments.shared.members import Members, histories, members
from thalweg.experiments.shared.subjects import test_count
from thalweg.runs import Run

__all__ = ["measure"]


def measure(config: Config, run: Run) -> pl.DataFrame:
    """Trains on every kind of data.

    Returns:
        One row for each case, recorded step and replica: the columns of `histories`, and samples, test_samples and
        classes.
    """
    trained = Members([corrupted(member) for member in members(config)], run)
    task = trained.task(trained.members[0].config)
    counts = {"samples": task.samples, "test_samples": test_count(task), "classes": task.outputs}
    return histories(trained).with_columns(**{name: pl.lit(count) for name, count in counts.items()})

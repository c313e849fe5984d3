"""Trains every size of `capacity`."""

from __future__ import annotations

import polars as pl

from thalweg.experiments.capacity.config import Config
from thalweg.experiments.shared.members import Members, members, table
from thalweg.runs import Run

__all__ = ["measure"]


def measure(config: Config, run: Run) -> pl.DataFrame:
    """Trains every size.

    Returns:
        One row for each size and replica: the columns of `shared.members.table`, and samples and outputs of the task.
    """
    trained = Members(members(config), run)
    task = trained.task(trained.members[0].config)
    return table(trained).with_columns(samples=pl.lit(task.samples), outputs=pl.lit(task.outputs))

"""Trains every network of `image-fit`."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from thalweg.experiments.image_fit.config import Config, members
from thalweg.experiments.shared import subjects
from thalweg.experiments.shared.members import Members, histories
from thalweg.experiments.shared.networks import counted_labels
from thalweg.runs import Run
from thalweg.tasks import Task

__all__ = ["Measured", "measure"]


@dataclass(frozen=True, eq=False)
class Measured:
    """All trainings.

    Args:
        task: The data.
        structures: Network -> its layers in words.
        history: As `shared.members.histories` gives it.
    """

    task: Task
    structures: dict[str, str]
    history: pl.DataFrame


def measure(config: Config, run: Run) -> Measured:
    """Trains every network on the images."""
    task = subjects.task(config.data, config.dtype)
    networks = counted_labels(config, config.data)
    history = histories(Members(members(config, networks), run))
    return Measured(task, {label: subjects.described(model, task) for label, model in networks.items()}, history)

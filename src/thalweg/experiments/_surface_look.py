"""What the parts of `error-surface` have in common: the run that is looked at, and how their findings come together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from thalweg.experiments._path_figures import run_name
from thalweg.experiments.framework.findings import Findings

if TYPE_CHECKING:
    from torch import Tensor

    from thalweg.experiments._path_numbers import Measured
    from thalweg.experiments.error_surface import Config
    from thalweg.experiments.shared.training import Setup
    from thalweg.objective import Objective
    from thalweg.runs import Recording, Run

__all__ = ["Look", "joined", "look_at"]


@dataclass(frozen=True, eq=False)
class Look:
    """One completed training, and the others beside it.

    Args:
        config: The settings.
        run: Where what is computed is kept.
        sets: "train" and, if there is a test set, "test"; normalisation layers use statistics recomputed at every θ.
        path: (S, P), the snapshots of the training that is looked at.
        loss: (S,) their training loss, as it was recorded.
        epochs: (S,), and ``steps`` likewise.
        first: (R, P), the initial weights of all completed trainings; ``last`` their final ones.
        replicas: (R,) which trainings completed; the first of them is the one looked at.
    """

    config: Config
    run: Run
    sets: dict[str, Objective]
    path: Tensor
    loss: np.ndarray
    epochs: np.ndarray
    steps: np.ndarray
    first: Tensor
    last: Tensor
    replicas: tuple[int, ...]

    @property
    def objective(self) -> Objective:
        """The training loss."""
        return self.sets["train"]

    @property
    def theta(self) -> Tensor:
        """(P,), where the training ended."""
        return self.path[-1]

    @property
    def name(self) -> str:
        """Of the training that is looked at."""
        return run_name(self.replicas[0])


def look_at(config: Config, run: Run, setup: Setup, recording: Recording, measured: Measured) -> Look:
    """Reads what the parts need of the completed trainings (at least one)."""
    replicas = measured.paths.replicas
    return Look(
        config=config,
        run=run,
        sets={name: objective.with_batchnorm("recomputed") for name, objective in setup.evaluate.items()},
        path=recording.snapshots[:, replicas[0]],
        loss=measured.metrics["loss"]["training"][:, replicas[0]],
        epochs=recording.epochs.numpy(),
        steps=recording.steps.numpy(),
        first=recording.snapshots[0][list(replicas)],
        last=recording.snapshots[-1][list(replicas)],
        replicas=replicas,
    )


def joined(parts: Iterable[Findings]) -> Findings:
    """Several findings as one, in their order.

    >>> joined([Findings(statements=("One.",), numbers={"a": 1}), Findings(numbers={"b": 2})]).numbers
    {'a': 1, 'b': 2}
    """
    parts = list(parts)
    return Findings(
        figures=[figure for part in parts for figure in part.figures],
        statements=[sentence for part in parts for sentence in part.statements],
        tables={name: rows for part in parts for name, rows in part.tables.items()},
        numbers={name: value for part in parts for name, value in part.numbers.items()},
        warnings=[sentence for part in parts for sentence in part.warnings],
    )

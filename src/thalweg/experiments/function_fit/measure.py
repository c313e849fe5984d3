"""Trains every network of `function-fit` on every target and evaluates what became of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl
from torch import Tensor

from thalweg.experiments.function_fit.config import Config, members, pairs
from thalweg.experiments.shared.members import Member, Members, histories
from thalweg.experiments.shared.training import Setup
from thalweg.runs import Run

__all__ = ["Fit", "measure"]


@dataclass(frozen=True, eq=False)
class Fit:
    """One network on one target.

    Args:
        function: The target as the configuration names it.
        network: Its name in legends.
        member: Its name in the history.
        values: x (N,), truth (N,), predictions (R, N) with NaN for replicas that diverged, points (2, M) that were
            trained on, line (1,): the mean squared error of the best straight line on these. Of data with more than one
            input or output: nothing.
    """

    function: str
    network: str
    member: str
    values: Mapping[str, np.ndarray]


def measure(config: Config, run: Run) -> tuple[pl.DataFrame, list[Fit]]:
    """The history of all trainings, as `shared.members.histories` gives it, and every fit."""
    given = members(config)
    trained = Members(given, run, _without_biases if config.biases == "zero" else None)
    history = histories(trained)
    return history, [
        Fit(text, label, member.label, run.cached(f"fit-{member.name}", partial(_fit, trained, member)))
        for (text, label, _), member in zip(pairs(config), given, strict=True)
    ]


def _without_biases(setup: Setup, theta: Tensor) -> Tensor:
    """The same initial weights θ (R, P) with all biases 0."""
    layout = setup.objective.layout
    start = theta.clone()
    for name in layout.names:
        if name.endswith("bias"):
            start[:, layout.slices[name]] = 0
    return start


def _fit(trained: Members, member: Member) -> dict[str, np.ndarray]:
    """The arrays of :class:`Fit`, on the test points, or on the training points where there are none."""
    setup, recording = trained.trained(member)
    if not _drawn(setup):
        return {}
    x_train, y_train = (part.double().numpy().reshape(len(part)) for part in setup.task.train)
    inputs, truth = setup.task.test or setup.task.train
    outputs = setup.objective.outputs(recording.snapshots[-1].to(setup.objective.device), inputs)
    predictions = outputs.double().cpu().numpy().reshape(len(outputs), len(inputs))
    predictions[[entry["status"] != "completed" for entry in recording.status]] = np.nan
    through = np.polynomial.Polynomial.fit(x_train, y_train, min(1, len(x_train) - 1))
    return {
        "x": inputs.double().numpy().reshape(len(inputs)),
        "truth": truth.double().numpy().reshape(len(inputs)),
        "predictions": predictions,
        "points": np.stack([x_train, y_train]),
        "line": np.array([np.mean((through(x_train) - y_train) ** 2)]),
    }


def _drawn(setup: Setup) -> bool:
    """Whether every sample is one number with one number as its target, and outputs are known beside the loss."""
    task = setup.task
    if task.kind != "regression" or setup.objective.loss_on == "batch" or math.prod(task.input_shape or (0,)) != 1:
        return False
    return task.outputs == 1 and setup.objective.outputs(setup.objective.theta).numel() == setup.objective.samples

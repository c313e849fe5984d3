"""Norms of the gradient at every step of a training: whole and per layer, of the batch or of all data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from thalweg.experiments.gradient_norm.config import Config, prepared, recording_name
from thalweg.experiments.shared.training import Setup
from thalweg.objective import Objective
from thalweg.runs import Recording, Run
from thalweg.training import train

__all__ = ["Course", "course", "layers_of", "measure", "measured", "observer"]

NORM = "gradient_norm"
LAYER = "gradient_norm:"  # followed by the name of the layer

Of = Literal["step", "full"]


def measure(config: Config, run: Run) -> list[Course]:
    """Trains every case and reads what it recorded."""
    # All tasks and networks are read before anything is trained: what does not fit is told at once.
    setups = {name: prepared(config, case, name) for name, case in config.cases.items()}
    run.set_environment(data_checksum="+".join(dict.fromkeys(setup.task.checksum for setup in setups.values())))
    labels, courses = _labels(config, setups), []
    for name, case in config.cases.items():
        setup = setups[name]
        recording = train(
            setup.objective,
            None,
            case.recipe,
            replicas=case.replicas,
            seed=config.seed,
            recording=run.recording(recording_name(name)),
            observe=observer(setup.objective, config.p, config.of),
        )
        courses.append(course(labels[name], recording, setup, config.of))
    return courses


def layers_of(objective: Objective) -> dict[str, Tensor]:
    """The positions in θ of the parameters of every layer: name of the module -> (p,)."""
    found: dict[str, list[Tensor]] = {}
    for name in objective.layout.names:
        place = objective.layout.slices[name]
        found.setdefault(name.rpartition(".")[0] or name, []).append(torch.arange(place.start, place.stop))
    return {layer: torch.cat(places) for layer, places in found.items()}


def observer(objective: Objective, p: float, of: Of) -> Callable[[Tensor, Tensor], Mapping[str, Tensor]]:
    """Makes the function that measures p-norms at every step.

    Args:
        objective: The loss on all training data.
        p: Of the norm, ≥ 1 or infinite.
        of: "step": the gradient by which the step is made; "full": that of all training data at the same θ.
    """
    layers = layers_of(objective)

    def observe(theta: Tensor, gradient: Tensor) -> dict[str, Tensor]:
        out = {}
        if of == "full":
            out["full_loss"], gradient = objective.value_and_gradient(theta)
        out[NORM] = torch.linalg.vector_norm(gradient, p, dim=1)
        for layer, places in layers.items():
            out[LAYER + layer] = torch.linalg.vector_norm(gradient[:, places.to(gradient.device)], p, dim=1)
        return out

    return observe


@dataclass(frozen=True, eq=False)
class Course:
    """What one case recorded at every step.

    Attributes:
        name: In legends.
        steps: (T,).
        per_epoch: Steps in an epoch.
        loss: (T, R), of the same samples as the gradient; NaN where a replica has diverged.
        norm: p-norm of the gradient (T, R).
        layers: The same for every layer, name -> (T, R).
        status: What became of each replica.
        setup: Data and network.
    """

    name: str
    steps: np.ndarray
    per_epoch: int
    loss: np.ndarray
    norm: np.ndarray
    layers: dict[str, np.ndarray]
    status: list[dict[str, Any]]
    setup: Setup

    @property
    def completed(self) -> list[int]:
        """Replicas that reached the end."""
        return [r for r, entry in enumerate(self.status) if entry["status"] == "completed"]


def course(name: str, recording: Recording, setup: Setup, of: Of) -> Course:
    """Reads a finished recording of which every step has a row."""
    frame = recording.metrics.sort("step", "replica")
    replicas = len(recording.status)

    def column(key: str) -> np.ndarray:
        return frame[key].cast(float).fill_null(np.nan).to_numpy().reshape(-1, replicas)

    steps = frame["step"].to_numpy().reshape(-1, replicas)[:, 0]
    epochs = frame["epoch"].to_numpy().reshape(-1, replicas)[:, 0]
    per_epoch = round(float(steps[-1] / epochs[-1])) if epochs[-1] else 1
    layers = {key.removeprefix(LAYER): column(key) for key in frame.columns if key.startswith(LAYER)}
    loss = column("full_loss" if of == "full" else "loss")
    return Course(name, steps, per_epoch, loss, column(NORM), layers, recording.status, setup)


def measured(one: Course, *, same_samples: bool) -> dict[str, np.ndarray]:
    """Numbers (R completed,) of a case: at the start, over the last hundredth of the steps, and on the way.

    Args:
        one: The case.
        same_samples: Whether all losses are of the same samples. From one minibatch to the next the loss falls or rises
            with the samples, and not by what the step did: how often the norm grows while it falls is then NaN.
    """
    norm, loss = one.norm[:, one.completed], one.loss[:, one.completed]
    tail = max(1, len(norm) // 100)
    falls = np.diff(loss, axis=0) < 0
    rises = (np.diff(norm, axis=0) > 0) & falls
    share = rises.sum(axis=0) / np.maximum(1, falls.sum(axis=0)) if same_samples else np.full(loss.shape[1], np.nan)
    return {
        "loss_start": loss[0],
        "loss_end": np.median(loss[-tail:], axis=0),
        "norm_start": norm[0],
        "norm_end": np.median(norm[-tail:], axis=0),
        "norm_least": norm.min(axis=0),
        "norm_most": norm.max(axis=0),
        "rising_share": share,
    }


def _labels(config: Config, prepared: dict[str, Setup]) -> dict[str, str]:
    """A different name for every case: its own, else the task's, with the network where the task is not enough."""
    given = {name: case.label or prepared[name].task.label for name, case in config.cases.items()}
    for name, label in given.items():
        if list(given.values()).count(label) > 1:
            given = given | {name: f"{label}, {prepared[name].network}"}
    if len(set(given.values())) < len(given):
        given = {name: f"{label} ({name})" for name, label in given.items()}
    return given

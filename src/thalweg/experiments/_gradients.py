"""Norms of the gradient at every step of a training: whole and per layer, of the batch or of all data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from thalweg.experiments.shared.training import Setup
    from thalweg.objective import Objective
    from thalweg.runs import Recording

__all__ = ["LAYER", "NORM", "Course", "course", "layers_of", "observer"]

NORM = "gradient_norm"
LAYER = "gradient_norm:"  # followed by the name of the layer

Of = Literal["step", "full"]


def layers_of(objective: Objective) -> dict[str, Tensor]:
    """The positions in θ of the parameters of every layer: name of the module -> (p,)."""
    import torch

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
    import torch

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

"""Checkpoints in a run's recording, with what a training would have recorded beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from thalweg.runs import Recording

if TYPE_CHECKING:
    from thalweg.objective import Objective

__all__ = ["record", "with_buffers"]


def record(source: Recording, target: Recording, objectives: Mapping[str, Objective]) -> None:
    """Copies checkpoints with loss and metrics at each; after an interrupt it goes on where it stopped.

    Args:
        source: The checkpoints.
        target: Where they go; is finished.
        objectives: The loss on "train" and perhaps "test", whose metrics are named train_loss, test_accuracy and so on,
            beside loss and grad_norm of the whole training loss; empty for weights alone.
    """
    if target.last >= 0:
        target.restore()
    steps, epochs = source.steps.tolist(), source.epochs.tolist()
    for place in range(len(target.steps), len(steps)):
        theta, buffers = source.snapshots[place], source.snapshots.buffers(place)
        metrics: dict[str, Any] = {}
        for name, objective in objectives.items():
            here = theta.to(objective.device, objective.dtype)
            found = objective.metrics(here, buffers)
            metrics |= {f"{name}_{key}": value for key, value in found.items()}
            if name == "train":
                loss, gradient = objective.value_and_gradient(here, buffers)
                metrics |= {"loss": loss, "grad_norm": torch.linalg.vector_norm(gradient, dim=-1)}
        target.append(steps[place], epochs[place], theta, metrics, buffers)
        target.commit({}, {"step": steps[place]})
    target.finish(meta=source.meta)


def with_buffers(objective: Objective, recording: Recording, place: int, replica: int = 0) -> Objective:
    """The objective with the buffers that one snapshot was recorded with."""
    buffers = recording.snapshots.buffers(place)
    return objective.with_buffers({name: value[replica] for name, value in buffers.items()}) if buffers else objective

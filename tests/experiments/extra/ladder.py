"""Walk down a quadratic ladder, as small as an experiment can be.

Gradient descent on ½·a·θ² from seeded starts; what the tests of the framework run, kill, resume and render.
"""

from __future__ import annotations

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from thalweg.experiments import ExperimentConfig, Findings
from thalweg.figures import Axis, Figure, Line, Panel
from thalweg.progress import track
from thalweg.runs import Run


class Descent(BaseModel):
    """How to go down."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    rate: float = Field(default=0.1, gt=0)
    """Learning rate."""
    steps: int = Field(default=20, ge=1)
    """Number of steps."""
    chunk: int = Field(default=5, ge=1)
    """Steps between two commits."""


class Config(ExperimentConfig):
    """Everything about the ladder."""

    replicas: int = Field(default=2, ge=1)
    """How many start."""
    slopes: tuple[float, ...] = (1.0, 2.0)
    """Curvature of each coordinate."""
    descent: Descent = Descent()
    """The descent."""
    stop_after: int | None = None
    """Raise KeyboardInterrupt after so many steps in one session."""


PRESETS = {"tiny": Config(), "quick": Config(replicas=4, descent=Descent(steps=40))}


def run(config: Config, run: Run) -> Findings:
    """Go down."""
    slopes = torch.tensor(config.slopes, dtype=torch.float64)
    recording = run.recording()
    restored = recording.restore()
    if restored is None:
        generator = torch.Generator().manual_seed(config.seed)
        theta, step = torch.randn(config.replicas, len(slopes), generator=generator, dtype=torch.float64), 0
    else:
        theta, step = restored[0]["theta"], restored[1]["step"]
    session = 0
    with track("descending", total=config.descent.steps) as advance:
        while step < config.descent.steps:
            loss = 0.5 * (slopes * theta**2).sum(-1)
            recording.append(step, float(step), theta, {"loss": loss})
            theta, step, session = theta - config.descent.rate * slopes * theta, step + 1, session + 1
            if step % config.descent.chunk == 0 or step == config.descent.steps:
                recording.commit({"theta": theta}, {"step": step})
            advance(step)
            if session == config.stop_after:
                raise KeyboardInterrupt
    if not recording.finished:  # a kill may come between the end of training and the findings
        recording.finish()
    losses = recording.metrics["loss"].to_numpy().reshape(-1, config.replicas)
    panel = Panel(Axis("step"), Axis("loss", scale="log"), (Line(np.arange(len(losses)), losses[:, 0]),))
    return Findings(
        figures=(Figure("loss", "Loss", "The loss of the first replica.", (panel,)),),
        statements=(f"The loss of the first replica fell to {losses[-1, 0]:.3g}.",),
        numbers={"loss": float(losses[-1, 0]), "steps": step},
    )

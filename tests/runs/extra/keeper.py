"""Keep something of every kind that a run can keep.

Two walks are recorded in several commits, and arrays, a table and a value are cached.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import torch

from thalweg.experiments import ExperimentConfig, Findings
from thalweg.figures import Axis, Figure, Line, Panel
from thalweg.runs import Run

STEPS, EVERY = 8, 3


class Config(ExperimentConfig):
    """What can be chosen."""

    stop: bool = False
    """Whether to be interrupted on the way, as by Ctrl-C."""


PRESETS = {"tiny": Config(), "quick": Config()}


def run(config: Config, run: Run) -> Findings:
    """Walk and keep."""
    arrays = run.cached("arrays", lambda: {"start": torch.ones(2, 6), "grid": np.linspace(0.0, 1.0, 7)})
    table = run.cached("measured", lambda: pl.DataFrame({"replica": [0, 1], "value": [0.25, 0.5]}))
    value = run.cached("value", lambda: {"rate": 0.1, "names": ["a", "b"]})
    for name in ("training", "probe"):
        recording = run.recording(name)
        restored = recording.restore()
        if recording.finished:
            continue
        theta, first = (arrays["start"], 0) if restored is None else (restored[0]["theta"], restored[1]["step"])
        for step in range(first, STEPS):
            theta = theta * (1 - value["rate"])
            recording.append(step, step / 2, theta, {"loss": theta.square().mean(1)}, {"mean": theta.mean(1)})
            if (step + 1) % EVERY == 0:
                recording.commit({"theta": theta, "count": torch.tensor(step)}, {"step": step + 1})
                if config.stop and name == "probe":
                    raise KeyboardInterrupt
        recording.finish()
    losses = run.recording().metrics["loss"].to_numpy().reshape(-1, 2)
    panel = Panel(Axis("step"), Axis("loss"), (Line(np.arange(len(losses)), losses[:, 0]),))
    return Findings(
        figures=(Figure("loss", "Loss", "Of the first replica.", (panel,)),),
        statements=(f"The loss fell to {losses[-1, 0]:.3g}.",),
        tables={"measured": table.to_dicts()},
        numbers={"loss": float(losses[-1, 0]), "rate": value["rate"]},
    )

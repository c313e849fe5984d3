"""Trains a network for every value of `sensitivity` and measures its sensitivity by every definition."""

from __future__ import annotations

import numpy as np
import polars as pl
from torch import Tensor

from thalweg.experiments.sensitivity.config import Config
from thalweg.experiments.shared import measures
from thalweg.experiments.shared.members import Member, Members, members, table
from thalweg.experiments.shared.training import Setup
from thalweg.generalization import batch_mean_norm, sensitivity
from thalweg.runs import Run

__all__ = ["BATCHES", "measure"]

BATCHES = (4, 16, 64, 256, 1024)  # on which the trap is shown


def measure(config: Config, run: Run) -> pl.DataFrame:
    """One row per setting and run: loss, accuracy, and the sensitivity by every definition with its standard error.

    Columns sensitivity_loss, sensitivity_probabilities, sensitivity_outputs, each with a column …_error, and
    batch_mean_B, what the norm of the batch-mean gradient would have been on evaluation batches of B.
    """
    trained = Members(members(config), run)

    def look(_member: Member, setup: Setup, theta: Tensor, buffers: dict[str, Tensor]) -> dict[str, np.ndarray]:
        samples = config.measured_on or ("test" if "test" in setup.evaluate else "train")
        objective = setup.evaluate[samples]
        kinds = ("loss", "outputs") if objective.loss_kind == "mse" else ("loss", "probabilities", "outputs")
        columns = {}
        for of in kinds:
            found = sensitivity(objective, theta, of=of, p=config.norm, buffers=buffers)
            columns |= {f"sensitivity_{of}": found.mean, f"sensitivity_{of}_error": found.standard_error}
            if of == "loss":
                sizes = [size for size in BATCHES if size <= objective.samples]
                columns |= {f"batch_mean_{size}": batch_mean_norm(found.norms, size) for size in sizes}
        return {name: values.cpu().numpy() for name, values in columns.items()}

    return measures.described(trained, table(trained, look))

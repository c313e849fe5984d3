"""Sensitivity: how much do networks that were trained differently react to their inputs?

**Question.** Flatness, part 2: does the batch size (or any other setting) change how much a trained network's output
moves when its input moves, and does that go with loss, accuracy and the generalisation gap?

**Method.** One network is trained for every value of the field `vary`, from the same initial weights. At the end the
derivative with respect to the input is taken for *every sample by itself*, its norm, and the mean of the norms with
its standard error over samples. Three derivatives: of the sample's loss (the course's definition), and the whole
Jacobian of the class probabilities and of the logits (Frobenius norm; Novak et al. 2018).

**Figures and how to read them.**

- *Sensitivity*: training and test loss, and accuracy, on the left axis, the chosen definition on the right one, against
  the varied field. Bands: range over the runs; whiskers: two standard errors over the samples.
- *Definitions*: all three in one frame. They need not agree: the logits grow for as long as cross-entropy pushes them
  apart, while probabilities and loss of samples that are fitted saturate.
- *Rank correlation*: Kendall τ of each definition with the generalisation gap over all settings, with an interval.
- *Evaluation batch*: the trap, measured on these networks.

**Equal budget.** Trainings with different batch sizes cannot have both equal epochs and equal steps. `training.epochs`
makes the epochs equal (small batches then take more steps, large ones may stay underfitted), `training.steps` the
steps; the preset ``equal-steps`` does the latter. The first sentence of the report says which, and how far the other
is apart.

**Traps.** The norm of the gradient of a *batch's mean* loss is a mean over samples that is taken before the norm: it
falls, by up to 1/√B, with the batch B on which one fixed network is *evaluated* (from 0.056 to 0.0070 between 16 and
1024 samples in a much-copied script, while it is 0.2206 per example), so that "large batches are flatter" follows from
the evaluation alone. Logits and probabilities are different functions: say whose Jacobian it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg.experiments.framework.findings import Findings
from thalweg.experiments.sensitivity.config import Config
from thalweg.experiments.sensitivity.measure import measure
from thalweg.experiments.sensitivity.report import merge

if TYPE_CHECKING:
    from thalweg.runs import Run

__all__ = ["merge", "run"]


def run(config: Config, run: Run) -> Findings:
    """Trains a network for every value and measures its sensitivity."""
    return merge(config, run.cached("table", lambda: measure(config, run)))  # a sweep reads it

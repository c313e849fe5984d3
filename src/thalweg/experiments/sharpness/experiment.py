"""Sharpness: which measure of a minimum goes with generalisation, and can any of them be trusted?

**Question.** Flatness, the bonus: do trainings with different batch sizes (or any other setting) end in minima of
different sharpness, by any definition, and does a measure rank them by their generalisation gap?

**Method.** One network is trained for every value of the field `vary`. At its end, on the training data (or `samples`
of them), in float64 and without the penalty l2, are measured:

- ε-sharpness ‖∇²L‖₂ε²/(2(1 + L)), λmax and the trace of the Hessian, the first by Lanczos with residuals, the last with
  its standard error;
- the largest loss in a box, in the whole space and in a random subspace (Keskar et al. 2017), by L-BFGS-B with a limit
  of 10 iterations from 3 starts: lower bounds;
- the largest loss in a ball (SAM, Foret et al. 2021) and in an ellipsoid that scales with the weights (ASAM, Kwon et
  al. 2021), by 20 steps: lower bounds;
- the average rise of the loss over Gaussian steps, absolute and relative to each weight, with standard errors;
- beside them: sensitivity, distance from the start, products of norms, path norm, margins (as in Jiang et al. 2020).

**Figures and how to read them.**

- *ε-sharpness*: loss and accuracy on the left axis, the bonus's measure on the right one, against the varied field.
- *Sharpness by every definition*, and *sensitivity, norms and margins*: each against the varied field, in its own
  unit. Bands: range over the runs; whiskers: two standard errors where the measure is an estimate (λmax:
  twice the residual).
- *Rank correlation*: Kendall τ of each measure with the generalisation gap over all settings and runs; whiskers: 95 %
  bootstrap intervals over settings. A whisker across zero means that these data do not even settle the sign.
- *Same function, any sharpness*: one trained network, rescaled between two layers (Dinh et al. 2017). λmax grows
  without bound along a family of parameters that compute the *same* function; adaptive measures stay.

**Traps.** Sharpness of one batch is not that of the loss, and on a part of the data λmax comes out larger. The
spectral norm is neither the Frobenius norm nor the norm of one layer's block. A search that starts at an exact minimum
finds no slope and reports zero. Networks of different architecture or scale cannot be compared by any measure that the
rescaling changes. A correlation over one varied field shows that both follow the field, not that one causes the other
(`granulated_correlation` compares within settings). With ReLU the Hessian misses the kinks between linear pieces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg.experiments.framework.findings import Findings
from thalweg.experiments.sharpness.config import Config
from thalweg.experiments.sharpness.measure import counter_example, measure
from thalweg.experiments.sharpness.report import merge, with_counter_example

if TYPE_CHECKING:
    from thalweg.runs import Run

__all__ = ["merge", "run"]


def run(config: Config, run: Run) -> Findings:
    """Trains a network for every value and measures it; then the counter-example on the one that is fitted best."""
    table = run.cached("table", lambda: measure(config, run))  # a sweep reads it
    found = merge(config, table)
    best = table.filter(table["status"] == "completed").sort("train_loss")
    return with_counter_example(found, counter_example(config, run, best), best) if len(best) else found

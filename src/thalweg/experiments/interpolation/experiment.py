"""Two solutions and the straight line through them: flatness, part 1.

**Question.** Networks that were trained with small and with large batches, or with small and with large steps, reach
about the same training loss. What lies between them, and which of them lies in the wider valley?

**Method.** Two recipes that differ in one field give two solutions, θ₁ and θ₂. All of them are evaluated at
θ_α = (1−α)θ₁ + αθ₂: **α = 0 is the first network and α = 1 the second**; below 0 and above 1 the line goes on beyond
them. Several pairs are trained from initial weights of their own, so that the curves have a spread. Then two ways
around the hill in between: the hidden units of the second network are put into the order of the first before the
straight line is drawn (Ainsworth et al. 2023), and a curve of low loss is trained from one to the other (Garipov et
al. 2018).

**Figures and how to read them.**

- *Interpolation*: loss (left axis, logarithmic) and accuracy (right axis) against α, for training and test data. A U at
  0 and a U at 1 with a hill between them: two separate valleys. Their widths are compared in words.
- *Paths*: training loss along the straight line, along the straight line after alignment and along the curve, against
  the share of the way that is done.
- *Barriers*: how high each way rises above the straight connection of the losses at its ends, every pair with two
  standard errors over the samples.

**Traps.** *α reversed*: scripts disagree on which network is 1; here the axis says it. *Mutated models*: adding the
difference of the two networks to one of them again and again walks off along the line, and the second curve starts
where the first one ended; here every point is a new vector and both ends are checked to be those of the networks
themselves, bit for bit. *Buffers lost*: batch normalisation keeps statistics beside the weights. With those of one end
everything between looks worse than it is, with none at all (a network that was built anew) everything does; here they
are computed anew at every α from the training data, unless ``--batchnorm`` says otherwise. *Width as flatness*: the
width of a valley depends on the scale of the weights as well (Dinh et al. 2017), so it tells two valleys on one line
apart and is no property of a network. *Equal epochs are not equal steps*: a batch sixteen times larger makes a
sixteenth of the steps; the report says how many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg.experiments.framework.findings import Findings
from thalweg.experiments.interpolation.config import Config
from thalweg.experiments.interpolation.measure import measure
from thalweg.experiments.interpolation.report import report
from thalweg.experiments.shared.training import set_up

if TYPE_CHECKING:
    from thalweg.runs import Run

__all__ = ["run"]


def run(config: Config, run: Run) -> Findings:
    """Trains both solutions of every pair and compares them along three ways."""
    setup = set_up(config, run)
    return report(config, setup, measure(config, setup, run))

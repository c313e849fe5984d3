"""Gradient norm and loss at every iteration, in one figure.

**Question.** Does training stop because the gradient vanishes? How large is the gradient while the loss falls?

**Method.** Networks are trained, and at every single iteration the loss and the p-norm of its gradient are recorded: of
the samples by which that step is made (``--of step``), or of all training data at the same weights (``--of full``).
The gradient is that of the whole objective, before clipping; its norm is taken over all parameters together, and
over those of every layer. Up to four cases (a task, a network, a recipe) are drawn into the same figure.

**Figures and how to read them.**

- *Gradient norm and loss*: two frames with a common x axis, both logarithmic. Where the loss has become flat and the
  gradient has not become small, training did not arrive at a critical point: it runs along a ravine, from wall to wall.
- *Layers*: the same norm for every layer. Layers far from the output may receive far less.
- *Gradient norm against loss*: the way of every case through the plane of both, from the upper right. A critical point
  would be a fall straight down.

**Traps.** The p-norm is (Σ|gᵢ|ᵖ)^(1/p) over *all* parameters: a root inside the loop over the layers, or a sum of the
layers' norms, is something else. The gradient must be read before the step, at the weights to which the loss belongs,
and the norm of a minibatch's gradient does not vanish even at a minimum of the loss: it is mostly noise there, so say
which one is drawn. A small norm is no proof of a critical point: see `zero-gradient`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg.experiments.gradient_norm.config import Config
from thalweg.experiments.gradient_norm.measure import measure
from thalweg.experiments.gradient_norm.report import report

if TYPE_CHECKING:
    from thalweg.experiments.framework.findings import Findings
    from thalweg.runs import Run

__all__ = ["run"]


def run(config: Config, run: Run) -> Findings:
    """Trains every case and tells of its gradients."""
    return report(config, measure(config, run))

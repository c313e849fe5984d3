"""Deep against shallow on images: which network learns a real task best at equal size?

**Question.** Convolutional networks and multilayer perceptrons, shallow to deep, have the same number of parameters.
Which fits the training images faster, and which classifies new ones better?

**Method.** Every network is trained by the same recipe, several times from independent initial weights; the replicas of
one network train as one batch. Numbers of parameters are counted and printed; networks more than 2 % apart are refused
(``--tolerance None`` compares any). ``"cnn depth 2"`` is solved for the width that comes nearest to ``--budget``.

**Figures and how to read them.**

- *Loss and accuracy*: four frames, training on the left, test on the right, all networks in each. Thick: median over
  the runs; thin: single runs; band: their range.
- *At the end*: test accuracy of every network with its range over the runs.

**Traps.** A third convolution that is built and never connected does not count as depth (here the printed structure and
the number of parameters come from the network itself). Dense layers after a convolution hold most of its parameters, so
"the same channels" is not the same size. Equal epochs are not equal cost, and a recipe that suits one network may not
suit another: what is compared is the pair. Networks that still improve at the last epoch are named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg.experiments.framework.findings import Findings
from thalweg.experiments.image_fit.config import Config
from thalweg.experiments.image_fit.measure import measure
from thalweg.experiments.image_fit.report import report

if TYPE_CHECKING:
    from thalweg.runs import Run

__all__ = ["run"]


def run(config: Config, run: Run) -> Findings:
    """Trains every network and compares them."""
    return report(config, measure(config, run))

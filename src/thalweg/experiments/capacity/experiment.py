"""Capacity: does a network with more parameters generalise worse?

**Question.** How do training and test error depend on the number of parameters, and what happens where the network
becomes just large enough to fit every training sample?

**Method.** One family of networks is trained at many sizes (``--vary model.width``, values spaced evenly in the
logarithm), each several times from independent initial weights; the replicas of one size train as one batch. The
*interpolation threshold* is the smallest size whose median training accuracy reaches ``fitted``.

**Figures and how to read them.** Training and test loss against the number of parameters (logarithmic); the
accuracies; the test error alone, where a peak is seen best. Points: medians; bands: range over
the runs; dashed: the threshold. Classical statistics expects the test error to rise beyond it; usually it goes on
falling. With noisy labels it may rise before the threshold, have its peak there and fall again: double descent (Belkin
et al. 2019; Nakkiran et al. 2020). Whether such a peak is larger than the range over the runs is said in words.

**Measured.** 500 digits with true labels (``quick``): no peak, the test error falls to 4.7 % at the largest size. With
a fifth of the labels redrawn and 1,000 epochs (``paper``): 19.7 % at 610 parameters, a peak of 26.4 % at 2,410, just
below the threshold at 3,610, and 21.7 % at 38,410. With squared loss (``paper-squared``):
13.6 % at 1,810, a peak of 22.8 % at 9,610, just above the threshold at 7,210, and 16.4 % at 153,610. Both peaks exceed
the range over the runs; neither second descent comes below the first minimum.

**Traps.** A sweep that stops short of the threshold shows only the classical half. Fewer than ten sizes, or one run
for each, show noise. Cross-entropy on the test set rises with size because larger networks are more certain where they
are wrong; the accuracy may improve meanwhile: look at both. Training must be long enough for the training error to
become 0: a peak that moves with the number of epochs is one of training time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg.experiments.capacity.config import Config
from thalweg.experiments.capacity.measure import measure
from thalweg.experiments.capacity.report import merge
from thalweg.experiments.framework.findings import Findings

if TYPE_CHECKING:
    from thalweg.runs import Run

__all__ = ["merge", "run"]


def run(config: Config, run: Run) -> Findings:
    """Trains every size and tells how the errors depend on it."""
    return merge(config, run.cached("table", lambda: measure(config, run)))  # a sweep reads it

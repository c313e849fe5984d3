"""Random labels: can a network fit what has no pattern?

**Question.** A network that generalises on true labels: can it also fit labels that are drawn at random, and how many
more steps does that take?

**Method.** One network is trained on the same images with true labels, with all labels shuffled, with the pixels of
all images in one random order, with those of each image in an order of its own, and on Gaussian noise in place of the
images (``--vary corruption``; Zhang et al. 2017, §2); or with a share of the labels redrawn (``--vary
data.label_noise``). Only the training labels are changed: the test labels stay true.

**Figures and how to read them.**

- *Training and test curves*: training on the left, test on the right, loss above, accuracy below. The network fits
  random labels if its training accuracy reaches 100 %; its test accuracy stays at chance (dashed). Capacity alone
  therefore does not explain why the true labels generalise.
- *Against the share of random labels* (if a share varies): epochs until the training set is fitted, and the test
  accuracy at the end (Zhang et al. 2017, figure 1b and 1c).

**Measured.** 1,000 digits, 3×128 (``quick``): true labels are fitted after 25 epochs, random ones after 95 to 100, 3.9
times as many; test accuracy 96 % against 9 %. Pixels in one fixed order change nothing for a multilayer perceptron,
which does not know which pixels are neighbours; pixels in an order of each image's own, and noise, are fitted almost as
fast as the truth and teach nothing. 10,000 random labels of MNIST, 3×256, batches of 500: fitted after about 90 epochs.

**Traps.** Random labels are fitted late. A run that stops before shows only that it was too short; this report then
says so in words. Labels drawn anew in every epoch can never be fitted; here they are drawn once, from the seed. The
loss on the test set rises without bound while the accuracy stays: say which one is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg.experiments.framework.findings import Findings
from thalweg.experiments.random_labels.config import Config
from thalweg.experiments.random_labels.measure import measure
from thalweg.experiments.random_labels.report import merge

if TYPE_CHECKING:
    from thalweg.runs import Run

__all__ = ["merge", "run"]


def run(config: Config, run: Run) -> Findings:
    """Trains on every kind of data and tells what was fitted."""
    return merge(config, run.cached("table", lambda: measure(config, run)))  # a sweep reads it

"""Deep against shallow: do deep networks fit a function better than shallow ones of equal size?

**Question.** Several networks have the same number of parameters, in many thin layers or in one wide layer. Which fits
a function of one variable better, and is the difference larger than that between two seeds?

**Method.** Every network is trained on every target function, several times from independent initial weights; the
replicas of one network and target train as one batch. The numbers of parameters are printed, and networks more than 2 %
apart are refused (``--tolerance None`` compares any). Networks are given by their widths (``--networks 190
10-18-15-4``), by a name of the course, or as ``"depth 4"``, whose width is solved for ``--budget``. A target is a name
or any expression of x (``--functions "sin(3*pi*x) + sin(4*pi*x)"``), which is parsed and never evaluated as code.

**Figures and how to read them.**

- *Training loss*: one frame for each target, all networks in it. Thick: median over the runs; thin: single runs; band:
  their range. Where the bands overlap, "deeper is better" is a statement about seeds. The dashed level is the mean
  squared error of the best straight line: a network that ends there has learnt no bend.
- *Fits*: the target and what the networks make of it, each by its run of median loss (thick) and the others (thin).

**Measured.** The classic sheet expects about 2·10⁻⁵, 6·10⁻⁵ and 6.5·10⁻² on sin(5πx)/(5πx) from the networks of 571,
572 and 571 parameters after 20,000 epochs, the last one "a straight line". ``course`` gives medians of 5.0·10⁻⁵,
5.4·10⁻⁵ and 4.7·10⁻⁵ over five runs: no order that the seeds would not overturn. With biases that start at 0
(``course-zero``) it gives 3.7·10⁻⁴, 2.5·10⁻³ and 6.46·10⁻², which *is* the best straight line: all kinks of the shallow
network start at x = 0, outside the data. The famous gap is one of initialisation. On sgn(sin 5πx) depth does help:
0.0038, 0.013 and 0.55 (``course``).

**Traps.** "Equal size" that is not: count. One run for each network: a deep thin network may be dead from the start
(constant, its loss the variance of the target), which a median over seeds survives and the report says. A ReLU network
without biases has only kinks at 0, so on x > 0 it can only be f(x) = c·x, however deep (a warning says so).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg.experiments.framework.findings import Findings
from thalweg.experiments.function_fit.config import Config
from thalweg.experiments.function_fit.measure import measure
from thalweg.experiments.function_fit.report import report

if TYPE_CHECKING:
    from thalweg.runs import Run

__all__ = ["run"]


def run(config: Config, run: Run) -> Findings:
    """Trains every network on every target and tells which fits best."""
    return report(config, *measure(config, run))

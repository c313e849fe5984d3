"""The spectrum of the Hessian: its density with error bands, its outliers, and the signs that are certain.

**Question.** How is the curvature distributed at the start and at the end of training: how many directions are steep,
how many are flat, how many go down, and which layers and which part of the Hessian do they come from?

**Method.** A network is trained; at its first and last weights the density of the eigenvalues of the Hessian and of the
Gauss–Newton matrix is estimated by stochastic Lanczos quadrature with a confidence band over random vectors (Ghorbani,
Krishnan & Xiao 2019). Where the number of parameters allows it, all eigenvalues are computed too and drawn over the
estimate. The largest eigenvalues come from Lanczos with restarts, each with its residual. Signs are counted against the
error of this very Hessian.

**Figures and how to read them.**

- *Density*: logarithmic, smoothed by a kernel whose width is stated. Most eigenvalues lie near zero; for a classifier
  of C classes about C stand apart from them (Sagun et al. 2017; Papyan 2019), and the Gauss–Newton matrix has them too.
- *Largest eigenvalues*: of the Hessian and of the Gauss–Newton matrix, with residuals as error bars.
- *Layers*: the same density for the diagonal block of each layer.
- *Signs*: certainly positive, certainly negative and undecided eigenvalues of every run at the start and at the end.

**Traps.** A near-zero eigenvalue has no sign: a strict comparison with zero counts rounding errors. The spectrum of one
batch is not that of the loss. A power iteration or Lanczos that has not converged looks like a result. With ReLU the
Hessian is that of linear pieces and misses the kinks between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg.experiments.shared.training import recipe_words, set_up
from thalweg.experiments.shared.weights import weights_words
from thalweg.experiments.spectrum.config import Config
from thalweg.experiments.spectrum.measure import measure
from thalweg.experiments.spectrum.report import report

if TYPE_CHECKING:
    from thalweg.experiments.framework.findings import Findings
    from thalweg.runs import Run

__all__ = ["run"]


def run(config: Config, run: Run) -> Findings:
    """Trains, then measures the curvature at the first and the last weights."""
    setup = set_up(config, run)
    words = f"{setup.network} on {setup.task.label}, {recipe_words(config.training, setup.objective.samples)}"
    found = measure(config, setup, run)
    return report(config, found, weights_words(config, setup) if config.checkpoint else words, setup.objective.kinks)

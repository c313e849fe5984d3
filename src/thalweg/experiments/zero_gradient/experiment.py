"""What happens when the gradient is almost zero? The course's method, and certified critical points beside it.

**Question.** Where the gradient vanishes, is it a minimum? Which share of the directions leads up?

**Method.** One small network is trained many times. (1) *The course's method*: from where training stopped, the norm of
the gradient is made the objective, and at the end of that the *minimal ratio* is measured, the share of the Hessian's
eigenvalues that are positive, and the share of random neighbours with a higher loss. (2) *Certified points*: from the
same trainings, with a little weight decay so that critical points exist, minima are searched by Levenberg–Marquardt and
Newton's method, saddles of index 1 and 2 by eigenvector following, and exact saddles are made of narrower networks'
minima by adding dead units. Every point, of either kind, gets the same certificate: the norm of its gradient, the signs
of its eigenvalues against a zero band, the distance to an exactly critical point by the Newton–Kantorovich test.
(3) *The landscape between them*: from every saddle walks lead downhill, to both sides of its lowest modes.
Everything after training is computed in float64.

**Figures and how to read them.**

- *Minimal ratio against loss*: left the end points of the course's method, right the certified points. Grey crosses are
  not critical: their ratio says nothing of minima. Bars reach from the modes that are certainly positive to those that
  may be. In the report, a click on a dot shows its certificate and its spectrum.
- *Loss and gradient norm through both phases*: at the switch of the objective the gradient norm falls and the loss does
  not; what follows is a walk on gradient-flat ground.
- *Spectra*, with the zero band; *ratio against tolerance* at one end point, in single and double precision.
- *Index against loss*: saddles of higher index lie higher (Dauphin et al. 2014).
- *Which saddle leads to which minimum*: the solution landscape (Yin et al. 2020). Most saddles of index 1 lead to one
  minimum on both sides: to two copies of it, with hidden units exchanged, which are drawn as one.
- *Neighbours*: the same ratio by sampling, and as a function of the radius.

**Traps.** The classic figure, ratios of 0.25 to 0.55 at losses below 0.01, is made of points that are not critical: the
search stalls where the gradient lies in flat modes (Frye et al. 2021), and eigenvalues of 1e-12 have a sign by rounding
only. Without weight decay these networks have no critical point within reach at all: the loss falls for ever while the
weights grow. Points at the loss of the best constant are dead networks. Neighbours cannot replace the Hessian: near a
point that is not critical half of them are higher, because the gradient decides, and at a saddle of low index nearly
all of them are, because few directions lead down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg.experiments.shared.training import set_up
from thalweg.experiments.zero_gradient.config import Config
from thalweg.experiments.zero_gradient.measure import measure
from thalweg.experiments.zero_gradient.report import report

if TYPE_CHECKING:
    from thalweg.experiments.framework.findings import Findings
    from thalweg.runs import Run

__all__ = ["run"]


def run(config: Config, run: Run) -> Findings:
    """Trains, minimises the gradient norm, searches certified points, and tells."""
    setup = set_up(config, run)
    return report(config, setup, measure(config, setup, run))

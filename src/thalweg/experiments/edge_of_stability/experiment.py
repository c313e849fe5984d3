"""The edge of stability: the sharpness of full-batch gradient descent against 2/η.

**Question.** How sharp does the loss become along the path of gradient descent, and what stops it?

**Method.** One network is trained by full-batch gradient descent with several learning rates η from the same initial
weights. At points along each path the largest eigenvalue of the Hessian ("sharpness") is computed in float64 by Lanczos
to a stated residual. On a quadratic, gradient descent diverges where it exceeds 2/η; with momentum β where it exceeds
(2 + 2β)/η, with Nesterov's where it exceeds (2 + 2β)/(η (1 + 2β)) (Cohen et al. 2021, §2 and appendix B).

**Figures and how to read them.** Upper frame: training loss. Lower frame: sharpness, one colour per learning rate, with
the limit as a dashed line of that colour. Typically the sharpness rises (*progressive sharpening*) until it reaches the
limit and then stays just above it, while the loss goes on falling, not monotonically.

**Traps.** Sharpness of one batch is not the sharpness of the loss that is descended; a power iteration that is stopped
early is too low, just where the claim is "at least 2/η" (here every value carries its residual); under cross-entropy
the sharpness falls again late in training, when all samples are fitted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg.experiments.edge_of_stability.config import Config
from thalweg.experiments.edge_of_stability.measure import measure
from thalweg.experiments.edge_of_stability.report import report
from thalweg.experiments.shared.training import recipe_words, set_up
from thalweg.experiments.shared.weights import weights_words

if TYPE_CHECKING:
    from thalweg.experiments.framework.findings import Findings
    from thalweg.runs import Run

__all__ = ["run"]


def run(config: Config, run: Run) -> Findings:
    """Trains with every learning rate and measures the sharpness along each path."""
    setup = set_up(config, run)
    length = recipe_words(config.recipe(1.0), setup.objective.samples).rpartition(", ")[2]
    setting = f"{setup.network} on {setup.task.label}, full batch, {length}"
    if config.checkpoint:
        setting = weights_words(config, setup).rstrip(".")
    return report(measure(config, setup, run), setting)

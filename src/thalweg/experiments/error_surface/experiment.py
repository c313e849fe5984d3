"""The error surface: what the loss looks like around the way of training, and what each picture of it hides.

**Question.** What does the surface look like on which training descends: smooth or rough, a valley or a bowl, with
other minima beside it? And how much of the answer is the picture's own doing?

**Method.** Some networks are trained from independent initial weights and their weights recorded. The first that
completes is looked at in four ways: (1) the weights visited and seeded samples near each of the last snapshots are
embedded in a plane by principal components and by t-SNE, and coloured by loss; (2) every parameter is moved alone; (3)
the loss is evaluated densely on the straight line from the first to the last weights; (4) and in planes: two random
directions with the norms of the filters (Li et al. 2018), the principal components of the trajectory, the two
leading eigenvectors of the Hessian, its leading and its lowest (most negative) one, and three solutions.

**Figures and how to read them.**

- *Loss at the weights visited and near them*: the classic picture of a valley. Left, where distances mean something;
  right t-SNE, where only neighbourhoods do.
- *Each parameter alone*: a fan of curves, with a close-up near zero. Steep curves are parameters that matter; where a
  curve has its minimum beside zero, training had not finished along it.
- *From the first to the last weights*: U-shaped, monotonic or rough. The way of training itself is another.
- *Planes*: levels beside the cells themselves, and the surface in space. The path of training is drawn in the plane of
  the trajectory only, for it is far off all the others.
- *What the plane of the trajectory hides*: for every snapshot the loss at its weights beside the loss drawn below it,
  and its distance from the plane.

**Traps.** A picture of two dimensions out of thousands hides nearly all of them, and each kind hides something else:
random directions show average curvature and miss the few directions where it is large; principal components are where
training went, and hold most of the variance of a random walk as well; eigenvectors show the extremes. Points drawn in a
plane that they do not lie in show a loss that is not theirs. Without the norms of the filters, a network whose weights
are larger looks flatter although it computes the same function. In t-SNE the width of a valley and the gaps beside it
mean nothing. A linear colour scale shows a wall and hides the valley, a logarithmic one does the opposite: the scale is
chosen by the numbers, and the caption says which one and why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg.experiments.error_surface.config import Config
from thalweg.experiments.error_surface.measure import measure, train_all
from thalweg.experiments.error_surface.report import nothing_left, report
from thalweg.experiments.framework.findings import Findings
from thalweg.experiments.shared.trained import trained
from thalweg.experiments.shared.training import set_up

if TYPE_CHECKING:
    from thalweg.runs import Run

__all__ = ["run"]


def run(config: Config, run: Run) -> Findings:
    """Trains, and draws the surface in all the ways that were asked for."""
    setup = set_up(config, run)
    recording = train_all(config, setup, run)
    found = trained(recording)
    if not found.replicas:
        return nothing_left(found)
    return report(config, setup, found, measure(config, setup, recording, found.replicas, run), run)

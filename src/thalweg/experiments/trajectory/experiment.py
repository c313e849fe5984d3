"""The path of training: several runs in one picture, beside a random walk.

**Question.** Where does training go? Do runs that start apart end together, do they curve, how far do they travel?

**Method.** One network is trained several times from independent initial weights. All recorded weights of all runs go
into *one* principal component analysis (float64, by the Gram matrix), once for one layer and once for the whole model,
and from its components into t-SNE with a fixed start. Beside it stands a control: random walks from the same starting
points with the same step lengths.

**Figures and how to read them.**

- *Principal components*: all runs in one frame, coloured by run, labelled with accuracy (or loss). The axes say how
  much of the variance they show. Of more than 16 runs the first 16 are drawn; all numbers are those of all runs.
- *t-SNE*: the same points by neighbourhood. Only who is next to whom means something.
- *Control*: the same picture of random walks. A walk in many dimensions curves smoothly too, and two components explain
  three quarters of it (Antognini & Sohl-Dickstein 2018).
- *Explained variance*: of the runs jointly and alone, against the control.
- *What the plane hides*: the distance of every snapshot from the plane that it is drawn in.
- *Training curves*, and a *view of three components* that can be turned.

**Traps.** A principal component analysis of each run alone, drawn into one frame, puts paths side by side that never
were near each other; weights number 0 and 1 are no projection; a network that is not initialised anew, or an optimiser
that keeps its averages, makes eight runs one. Here the frame is common, every replica draws its own start and has its
own optimiser, and the off-plane distance says what the picture leaves out. Runs with different starts differ mostly
*because* of their starts: the share of the variance that lies between the runs is stated, and ``--start shared``
removes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg.experiments.framework.findings import Findings
from thalweg.experiments.shared.trained import trained
from thalweg.experiments.shared.training import set_up
from thalweg.experiments.trajectory.config import Config
from thalweg.experiments.trajectory.measure import measure, train_all
from thalweg.experiments.trajectory.report import nothing_left, report

if TYPE_CHECKING:
    from thalweg.runs import Run

__all__ = ["run"]


def run(config: Config, run: Run) -> Findings:
    """Trains, projects and compares with random walks."""
    setup = set_up(config, run)
    recording = train_all(config, setup, run)
    found = trained(recording)
    if not found.replicas:
        return nothing_left(found)
    return report(config, setup, found, measure(config, setup, recording, found.replicas, run))

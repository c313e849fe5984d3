"""Both phases of the course's method: training, then the norm of the gradient as the objective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from thalweg.experiments._zero_points import Group
from thalweg.figures import Axis, Band, Figure, Line, Lines, Mark, Panel, VLine

if TYPE_CHECKING:
    from thalweg.runs import Recording

__all__ = ["Phases", "phases"]

POINTS = 600  # drawn points of a phase
SINGLE = 4  # trainings drawn alone, spread evenly over the losses at the end


@dataclass(frozen=True, eq=False)
class Phases:
    """Loss and gradient norm at every recorded iteration of the trainings that completed.

    Attributes:
        steps: Of the training (T,), and of the second phase (U,), counted on.
        loss: In the first phase (T, R) and in the second (U, R).
        gradient: ‖∇L‖₂, likewise.
        norms: ‖θ‖ at the snapshots of the training (S, R).
    """

    steps: tuple[np.ndarray, np.ndarray]
    loss: tuple[np.ndarray, np.ndarray]
    gradient: tuple[np.ndarray, np.ndarray]
    norms: np.ndarray

    @property
    def rising(self) -> np.ndarray:
        """(R,) whether the loss is higher after the second phase than before."""
        return self.loss[1][-1] > self.loss[1][0]

    @property
    def fall(self) -> np.ndarray:
        """(R,) loss at the end of training as a share of that after nine tenths of it."""
        before = self.loss[0][int(0.9 * (len(self.steps[0]) - 1))]
        return self.loss[0][-1] / before

    def figure(self, method: str) -> Figure:
        """Two frames over both phases, with the switch."""
        order = np.argsort(self.loss[1][-1])
        chosen = order[np.unique(np.linspace(0, len(order) - 1, min(SINGLE, len(order))).astype(int))]
        panels = []
        for label, parts in (("loss", self.loss), ("‖∇L‖₂", self.gradient)):
            marks: list[Mark] = []
            for steps, values in zip(self.steps, parts, strict=True):
                places = np.unique(np.linspace(0, len(steps) - 1, min(POINTS, len(steps))).astype(int))
                x, y = steps[places], np.where(values[places] > 0, values[places], np.nan)
                alive = np.isfinite(y).any(axis=1)
                x, y = x[alive], y[alive]
                low, middle, high = np.nanquantile(y, [0.0, 0.5, 1.0], axis=0 + 1)
                marks.append(Band(x, low, high, group="all", colour=0, opacity=0.15))
                marks.append(Lines(x, y[:, chosen].T, label="single trainings", colour="muted", width=0.6, opacity=0.5))
                marks.append(Line(x, middle, label="median of all", colour=0, width=2.0))
            switch = "gradient norm becomes the objective" if label == "loss" else ""
            marks.append(VLine(float(self.steps[1][0]), switch, colour="accent"))
            panels.append(Panel(Axis("iteration"), Axis(label, scale="log"), tuple(marks)))
        jumps = "jumps (Adam's first steps have full length, however small the gradient) and then "
        caption = (
            f"Loss and norm of its gradient through training and through the minimisation of that norm ({method}): "
            f"median and range over {len(order)} trainings, and {len(chosen)} of them alone, from the lowest to the "
            f"highest loss at the end. At the switch the norm {jumps if method == 'Adam' else ''}falls; the loss does "
            "not follow."
        )
        title = "Loss and gradient norm through both phases"
        return Figure("phases", title, caption, tuple(panels), columns=1, share_x=True, size=(7.2, 2.9))


def phases(recording: Recording, ends: Group) -> Phases:
    """Gathers the first phase from the recording and the second from the searches."""
    frame = recording.metrics.sort("step", "replica")
    replicas = len(recording.status)

    def column(key: str) -> np.ndarray:
        return frame[key].cast(float).fill_null(np.nan).to_numpy().reshape(-1, replicas)[:, ends.starts]

    steps = frame["step"].to_numpy().reshape(-1, replicas)[:, 0]
    loss, norm = ends.history if ends.history is not None else (np.zeros((len(ends), 0)),) * 2
    theta = recording.snapshots[:][:, ends.starts.tolist()].double()
    return Phases(
        (steps, steps[-1] + np.arange(loss.shape[1])),
        (column("loss"), loss.T),
        (column("grad_norm"), norm.T),
        theta.norm(dim=-1).cpu().numpy(),
    )

"""Critical points followed as the weight decay changes: where they move, and where their index changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from thalweg._lazy import polars as pl
from thalweg._short import short
from thalweg.critical.certificate import certify
from thalweg.critical.following import follow
from thalweg.critical.points import CriticalPoints
from thalweg.critical.problem import ObjectiveProblem, as_starts
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.figures import Axis, Figure, Lines, Panel
from thalweg.figures.scales import number
from thalweg.objective import Objective
from thalweg.progress import each
from thalweg.results import BaseResult
from thalweg.results.words import counted

__all__ = ["Continuation", "continue_in_decay"]

ROUNDING = 1e-10  # share of the largest eigenvalue below which one has no sign and no inverse


@short
@dataclass(frozen=True, eq=False)
class Continuation(BaseResult):
    """The same points at a sequence of weight decays.

    Attributes:
        decays: The l2 weights, in the order in which they were visited (D,).
        points: The certified points at each.
        lost: Per replica the position in `decays` at which it ceased to be critical, −1 if it never did (R,).
    """

    decays: tuple[float, ...]
    points: tuple[CriticalPoints, ...]
    lost: Tensor

    def plot(self) -> Figure:
        """Loss and index of every point against the weight decay; a point that is lost ends."""
        x, decayed = np.array(self.decays), all(decay > 0 for decay in self.decays)
        across = Axis("weight decay l2", scale="log" if decayed else "linear")
        panels = []
        for field, label in (("loss", "loss with penalty"), ("negative", "index")):
            values = np.stack([points.number(field).astype(float) for points in self.points])
            values[self._gone()] = np.nan
            known = values[np.isfinite(values)]
            log = field == "loss" and len(known) > 0 and known.min() > 0
            y = Axis(label, scale="log") if log else Axis(label)
            panels.append(Panel(across, y, (Lines(x, values.T, width=1.2),)))
        caption = f"{counted(len(self.lost), 'critical point')} followed through {counted(len(x), 'weight decay')}."
        return Figure("continuation", "Critical points as the weight decay changes", caption, tuple(panels))

    def table(self) -> pl.DataFrame:
        """One row per weight decay and point: status, loss, ‖g‖, index, least |λ|."""
        names = ("loss", "gradient", "negative", "smallest")
        frames = []
        for decay, points in zip(self.decays, self.points, strict=True):
            columns = {name: points.number(name) for name in names}
            status = [str(one) for one in points.status]
            frames.append(pl.DataFrame({"decay": decay, "replica": range(len(points)), "status": status, **columns}))
        return pl.concat(frames)

    def summary(self) -> str:
        """How many points stayed critical, and whether an index changed."""
        kept = self.lost < 0
        first, last = (points.certificate.negative[kept] for points in (self.points[0], self.points[-1]))
        changed = int((first != last).sum())
        return (
            f"{int(kept.sum())} of {counted(len(kept), 'critical point')} stayed critical from l2 = "
            f"{number(self.decays[0])} to {number(self.decays[-1])}; the index of {changed or 'none'} of them changed."
        )

    def _gone(self) -> np.ndarray:
        """From where on each point is no longer critical, (D, R)."""
        lost = self.lost.cpu().numpy()
        return (lost >= 0) & (np.arange(len(self.decays))[:, None] >= lost)


@declared
def continue_in_decay(
    objective: Objective, theta: Tensor, decays: Sequence[float], *, steps: int = 100, tolerance: float = 1e-10
) -> Continuation:
    """Follows critical points through a sequence of weight decays, each corrected by eigenvector following.

    The predictor is dθ/dl2 = −H⁻¹θ (differentiate ∇L + l2·θ = 0); the corrector keeps the index the point had (at the
    first decay, the number of negative eigenvalues where it was given). Points that stop being critical (a fold) are
    kept where they are and reported as lost.

    Args:
        objective: Its own l2 is replaced by each of `decays`.
        theta: Critical points at decays[0], or close to them (R, P), float64.
        decays: l2 weights, best by factors of at most 2 to 3.
        steps: Budget of the corrector.
        tolerance: On ‖g‖.
    """
    if not decays or any(not 0 <= decay < float("inf") for decay in decays):
        raise InputError(f"decays must be finite numbers, at least one and none negative, found {list(decays)}")
    theta = as_starts(ObjectiveProblem(objective), theta)
    lost = torch.full((len(theta),), -1)
    found: list[CriticalPoints] = []
    before: float | None = None
    for position, decay in enumerate(each("weight decays", decays)):
        problem = ObjectiveProblem(objective.with_l2(decay))
        if before is None:
            start, index = theta, _negative(problem, theta)
        else:
            start, index = theta + _predicted(problem, theta, decay - before), found[-1].certificate.negative
        corrected = follow(problem, start, index, steps=steps, label=f"l2 = {decay:.3g}")
        points = certify(problem, corrected, tolerance=tolerance)
        fell = ~(points.certificate.gradient <= tolerance)
        lost = torch.where(fell & (lost < 0), position, lost)
        theta = torch.where(fell[:, None], theta, points.theta)
        found.append(points)
        before = decay
    return Continuation(tuple(decays), tuple(found), lost)


def _negative(problem: ObjectiveProblem, theta: Tensor) -> Tensor:
    values = problem.modes(theta)[0]
    return (values < -ROUNDING * values.abs().amax(1, keepdim=True)).sum(1)


def _predicted(problem: ObjectiveProblem, theta: Tensor, change: float) -> Tensor:
    values, modes, _ = problem.modes(theta)
    floor = ROUNDING * values.abs().amax(1, keepdim=True)
    inverse = torch.where(values.abs() > floor, 1 / values, 0.0)
    move = -change * (modes @ (inverse * (modes.mT @ theta[..., None])[..., 0])[..., None])[..., 0]
    length = move.norm(dim=1, keepdim=True)
    return move * (0.1 * theta.norm(dim=1, keepdim=True) / (length + 1e-300)).clamp(max=1.0)

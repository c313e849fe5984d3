"""Critical points followed as the weight decay changes: where they move, and where their index changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg._short import short
from thalweg.critical.certificate import certify
from thalweg.critical.following import follow
from thalweg.critical.points import CriticalPoints
from thalweg.critical.problem import ObjectiveProblem, as_starts
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.progress import each

__all__ = ["Continuation", "continue_in_decay"]

ROUNDING = 1e-10  # share of the largest eigenvalue below which one has no sign and no inverse


@short
@dataclass(frozen=True)
class Continuation:
    """The same points at a sequence of weight decays.

    Attributes:
        decays: The l2 weights, in the order in which they were visited (D,).
        points: The certified points at each.
        lost: Per replica the position in `decays` at which it ceased to be critical, −1 if it never did (R,).
    """

    decays: tuple[float, ...]
    points: tuple[CriticalPoints, ...]
    lost: Tensor


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

"""Whether the gradient is that of the value, and how precise the value is: measured by one directional difference.

Autograd differentiates what it is told to: a reversed gradient, a straight-through estimator, `detach` or NumPy inside
the model give a gradient that is not that of L, and nothing says so. And a model may compute in fewer digits than its
parameters have. Both show in how L changes along one direction.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from thalweg.objective import samples
from thalweg.objective.assembly import Assembly
from thalweg.objective.graph import lowest_precision
from thalweg.objective.needs import Slope
from thalweg.objective.plain import MANY, Plain, drawn, few

__all__ = ["measured", "say"]

log = logging.getLogger("thalweg")
# Changes of L, relative to it. The tiny one is far below what float32 can tell and far above the rounding of float64;
# the small one is spoilt neither by kinks of the network nor by rounding; the large one can be seen in float32.
TINY, SMALL, LARGE = 1e-10, 1e-7, 1e-3
ROUGH = 0.1  # what half precision can tell


def measured(objective: Assembly) -> Slope | None:
    """Measures at a θ beside the model's own, in float64 where model and loss can; None where L is not finite."""
    wide = objective if objective.dtype == torch.float64 else objective._changed(dtype=torch.float64)
    try:
        found = _measured(wide)
    except RuntimeError:  # constants that do not follow the dtype
        found = None if wide is objective else _measured(objective)
    return None if found is None else replace(found, autocast=_in_float32(objective))


def _in_float32(objective: Assembly) -> float:
    """The rounding error of L in float32, by the lowest precision in its graph."""
    if objective.dtype == torch.float32 and objective.lowest is not None:
        return torch.finfo(objective.lowest).eps
    narrow = objective._changed(dtype=torch.float32)
    batch, theta = few(narrow)
    try:
        return torch.finfo(lowest_precision(Plain(narrow.program, narrow.layout, batch).loss(theta)[0])).eps
    except Exception:  # noqa: BLE001 - constants that do not follow the dtype, or code that asserts more digits
        return 0.0


def say(slope: Slope | None, dtype: torch.dtype) -> None:
    """Warns of what was found, with both numbers."""
    if slope is None:
        return
    if not slope.agrees:
        log.warning(
            "the gradient is not that of L: along one direction autograd says %.6g and L changes by %.6g; something "
            "between parameters and loss has a gradient of its own or none (reversal, straight-through, detach, "
            "no_grad, NumPy), so that trainings follow it, but second derivatives and critical points are refused",
            slope.autograd,
            slope.difference,
        )
    if dtype == torch.float64 and slope.epsilon > torch.finfo(dtype).eps:
        log.warning(
            "L is computed in float64 only in part: changes below %.0e of it are lost, as in %s; something inside "
            "casts to lower precision (.float(), .half(), autocast), and all errors are counted by that",
            slope.epsilon,
            _precision(slope.epsilon),
        )


def _precision(epsilon: float) -> str:
    return "float32" if epsilon <= torch.finfo(torch.float32).eps else "half precision"


def _measured(objective: Assembly) -> Slope | None:
    dtype = objective.dtype
    batch, theta = few(objective)
    if objective.size >= MANY and objective.batches.divisible:  # float64 costs twice as much
        batch = samples.cut(batch, slice(0, 2))
    plain = Plain(objective.program, objective.layout, batch)
    loss, model = plain.loss(theta)
    lowest = lowest_precision(loss)
    gradient = {name: part for name, part in plain.gradients(loss, model).items() if part is not None}
    level = abs(float(loss.detach()))
    lengths = {name: float(torch.linalg.vector_norm(part)) for name, part in gradient.items()}
    if not math.isfinite(level) or not math.isfinite(sum(lengths.values())):
        return None
    v = _direction(plain, theta, gradient, lengths)
    along = plain.layout.unravel(v)
    slope = sum(float((part * along[name]).sum()) for name, part in gradient.items())
    length = float(torch.linalg.vector_norm(v)) or 1.0
    epsilon = torch.finfo(dtype).eps
    most = 1e-3 * max(1.0, float(torch.linalg.vector_norm(theta))) / length

    floor = 100 * epsilon * max(level, 1.0)  # what rounding does to a difference of two values

    def difference(change: float) -> tuple[float, float]:
        """Central difference over a step that changes L by this share of it, and the noise in it."""
        step = min(change * max(level, 1e-8) / abs(slope), most) if slope else 1e3 * change * most
        above, below = (plain.value(theta.add(v, alpha=sign * step), given_away=True) for sign in (1, -1))
        return (above - below) / (2 * step), floor / step

    if torch.finfo(lowest).eps > torch.finfo(torch.float32).eps:
        found, noise = difference(ROUGH)
        return Slope(slope, found, _close(slope, found, 0.5, noise), torch.finfo(lowest).eps)
    if lowest != torch.float64:
        found, noise = difference(LARGE)
        return Slope(slope, found, _close(slope, found, 0.05, noise), torch.finfo(lowest).eps)
    (found, noise), (finest, more) = difference(SMALL), difference(TINY)
    coarse = 0.0 if found or not slope else difference(LARGE)[0]
    if not _close(finest, found, 0.2, noise + more) and _close(finest, difference(TINY / 8)[0], 0.2, 9 * more):
        found, noise = finest, more  # L bends within the longer step
    if not _close(finest, found, 0.2, noise + more):  # L may be a small difference of large numbers: then it is rough
        signs = torch.where(v < 0, -1.0, 1.0)
        rough = max(abs(plain.value(theta * (1 + sign * epsilon * signs)) - float(loss.detach())) for sign in (1, -1))
        more *= max(1.0, 100 * min(rough, 1e-9 * level) / floor)
    if _close(finest, found, 0.2, noise + more) and (found or not coarse):  # precise down to the last digits
        agrees = _close(slope, found, 2e-5, noise)
        if not agrees:  # of a difference that has not settled yet, a shorter step is nearer
            shorter, rougher = difference(SMALL / 8)
            agrees = abs(shorter - slope) <= 0.5 * abs(found - slope) and _close(slope, shorter, 0.1, rougher)
        return Slope(slope, found, agrees, epsilon)
    coarse = difference(LARGE)[0]
    if _close(difference(LARGE / 4)[0], coarse, 0.05, noise):
        return Slope(slope, coarse, _close(slope, coarse, 0.05, noise), torch.finfo(torch.float32).eps)
    coarse = difference(ROUGH)[0]
    return Slope(slope, coarse, _close(slope, coarse, 0.5, noise), torch.finfo(torch.bfloat16).eps)


def _close(a: float, b: float, tolerance: float, noise: float) -> bool:
    return abs(a - b) <= tolerance * max(abs(a), abs(b)) + noise


def _direction(plain: Plain, theta: Tensor, gradient: Mapping[str, Tensor], lengths: Mapping[str, float]) -> Tensor:
    """Along the gradient of every parameter, each with a drawn sign and a drawn part; rows of padding stay (P,)."""
    generator = torch.Generator().manual_seed(1)
    v = torch.empty_like(theta)
    parts = plain.layout.unravel(v)  # views of it
    for name, part in parts.items():
        part.copy_(drawn(part, generator)).div_(math.sqrt(max(1, part.numel())))
        sign = 1.0 if float(torch.rand((), generator=generator)) < 0.7 else -1.0
        if name in gradient:
            part.add_(gradient[name], alpha=sign / max(lengths[name], 1e-30))
    plain.still(parts)
    return v

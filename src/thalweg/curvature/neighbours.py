"""The neighbour ratio: how many random steps away from θ raise the loss.

The course's second definition of the minimal ratio. It is a share of draws, so it has a binomial interval (Wilson
1927); it depends on the radius, so it is a curve; and steps that change the loss by less than its rounding error prove
nothing, so they are counted apart. Every step starts at θ itself and takes both signs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from thalweg._short import short
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.objective.arguments import as_theta
from thalweg.objective.from_modules import from_modules
from thalweg.objective.seeds import generator
from thalweg.progress import track

__all__ = ["NeighbourRatio", "Scale", "neighbour_ratio", "wilson_interval"]

Scale = Literal["norm", "coordinate", "relative", "relative-uniform"]


@short
@dataclass(frozen=True)
class NeighbourRatio:
    """Shares of neighbours with a higher loss, for every θ (…) and radius (K of them).

    Args:
        ratio: higher / samples, float64, (…, K); NaN where the loss at θ is not finite.
        low: Lower end of Wilson's interval with every undecided step counted as lower, (…, K).
        high: Upper end with every undecided step counted as higher, (…, K).
        higher: Number of neighbours with a loss certainly higher, int64, (…, K).
        lower: Certainly lower, (…, K).
        undecided: Within the rounding error of the loss, or NaN, (…, K).
        radii: (K,), in the unit of `scale`.
        scale: What a radius r means, see `neighbour_ratio`.
        samples: Neighbours per radius.
        confidence: Level of the intervals, for each radius alone: the same directions serve all radii.
        loss: L(θ), (…).
        rounding: Error of L(θ) within which a difference is undecided, (…).
        status: "counted" or "nonfinite" per θ, in the order of the flattened leading axes.
    """

    ratio: Tensor
    low: Tensor
    high: Tensor
    higher: Tensor
    lower: Tensor
    undecided: Tensor
    radii: Tensor
    scale: Scale
    samples: int
    confidence: float
    loss: Tensor
    rounding: Tensor
    status: tuple[str, ...]


@from_modules()
@declared
def neighbour_ratio(
    objective: Objective,
    theta: Tensor,
    radii: Sequence[float],
    *,
    samples: int = 1000,
    scale: Scale = "norm",
    rounding: float | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    first: int = 0,
    memory: int = 2**28,
) -> NeighbourRatio:
    """Counts L(θ + δ) > L(θ) over random δ.

    Args:
        objective: The loss; use a float64 one where radii are small.
        theta: Where, (…, P).
        radii: Radii r > 0.
        samples: Random directions, the same for every radius, independent between θ.
        scale: "norm": δ is uniform on the sphere ‖δ‖₂ = r. "coordinate": every δᵢ ~ N(0, r²), so that ‖δ‖ ≈ r√P.
            "relative": δᵢ ~ |θᵢ|·N(0, r²). "relative-uniform": δᵢ uniform within ± r·|θᵢ|.
        rounding: Differences up to this are undecided. By default it is measured at each θ: four times the largest
            change of L when every weight moves by one unit in the last place, over 8 draws, plus 8 units in the last
            place of L itself.
        confidence: Level of the intervals.
        seed: Of the directions.
        first: Number of the first θ: the directions of replica 7 of 100 are those of replica 7 alone (`first=7`).
        memory: Bytes of neighbours evaluated at once; default 256 MiB. Changes nothing but speed.

    Raises:
        InputError: An argument is out of range.

    Example:
        >>> data = torch.ones(1, 3, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
        >>> objective = Objective(torch.nn.Linear(3, 1, bias=False).double(), torch.nn.MSELoss(), data)
        >>> found = neighbour_ratio(objective, torch.zeros(3).double(), [1e-3], samples=200)  # a minimum
        >>> found.ratio.tolist()
        [1.0]
    """
    _check_arguments(radii, samples, scale, rounding, confidence)
    theta = as_theta(objective, theta)
    if theta.numel() == 0:
        raise InputError(f"theta must hold at least one vector, found shape {tuple(theta.shape)}")
    lead, flat = theta.shape[:-1], theta.detach().reshape(-1, objective.size)
    loss = objective.value(flat)
    together = max(1, min(samples, memory // (objective.size * objective.dtype.itemsize)))
    counts = torch.zeros(len(flat), len(radii), 2, dtype=torch.int64)
    errors = torch.full((len(flat),), math.nan if rounding is None else rounding, dtype=torch.float64)
    with track("neighbours", total=len(flat) * samples * len(radii), start=0) as advance:
        for i, point in enumerate(flat):
            if not bool(torch.isfinite(loss[i])):
                continue
            if rounding is None:
                errors[i] = loss_rounding(objective, point, loss[i], seed, first + i)
            source = generator(seed, first + i, "neighbours")
            for start in range(0, samples, together):
                steps = _unit_steps(point, min(together, samples - start), scale, source)
                for j, radius in enumerate(radii):
                    change = (objective.value(point + radius * steps) - loss[i]).double()
                    counts[i, j, 0] += int((change > float(errors[i])).sum())
                    counts[i, j, 1] += int((change < -float(errors[i])).sum())
                    advance((i * samples + start) * len(radii) + (j + 1) * len(steps))
    finite = torch.isfinite(loss).cpu()
    higher, lower = counts.unbind(-1)
    undecided = torch.where(finite[:, None], samples - higher - lower, 0)
    low, _ = wilson_interval(higher, samples, confidence)
    _, high = wilson_interval(samples - lower, samples, confidence)

    def shaped(tensor: Tensor) -> Tensor:
        tensor = torch.where(finite[:, None], tensor, math.nan) if tensor.is_floating_point() else tensor
        return tensor.reshape(*lead, len(radii)).to(theta.device)

    return NeighbourRatio(
        ratio=shaped(higher.double() / samples),
        low=shaped(low),
        high=shaped(high),
        higher=shaped(higher),
        lower=shaped(lower),
        undecided=shaped(undecided),
        radii=torch.tensor(list(radii), dtype=torch.float64, device=theta.device),
        scale=scale,
        samples=samples,
        confidence=confidence,
        loss=loss.reshape(lead),
        rounding=errors.to(theta.device).reshape(lead),
        status=tuple("counted" if ok else "nonfinite" for ok in finite.tolist()),
    )


def wilson_interval(successes: Tensor, samples: int, confidence: float = 0.95) -> tuple[Tensor, Tensor]:
    """Interval for the probability behind `successes` (…) out of `samples` (Wilson 1927), float64, (…), (…).

    Unlike the normal interval it stays within [0, 1] and has a width at 0 and at `samples`.

    Example:
        >>> low, high = wilson_interval(torch.tensor([0, 50]), 100)
        >>> [round(x, 4) for x in (*low.tolist(), *high.tolist())]
        [0.0, 0.4038, 0.037, 0.5962]
    """
    from scipy.stats import norm

    z = float(norm.ppf(0.5 + 0.5 * confidence))
    share = successes.double() / samples
    centre = (share + z**2 / (2 * samples)) / (1 + z**2 / samples)
    half = z / (1 + z**2 / samples) * (share * (1 - share) / samples + z**2 / (4 * samples**2)).sqrt()
    # At the ends the difference is zero but for rounding.
    low, high = torch.where(successes == 0, 0.0, centre - half), torch.where(successes == samples, 1.0, centre + half)
    return low.clamp(0.0, 1.0), high.clamp(0.0, 1.0)


def loss_rounding(objective: Objective, theta: Tensor, loss: Tensor, seed: int, replica: int) -> float:
    """Rounding error of L at one theta (P,), measured.

    A stable evaluation errs like the exact loss of weights moved in their last place. So that is done: for a mean
    squared error of 1e-9 the answer is far more than 1e-9 · eps, since its residuals are small differences of numbers
    near 1.
    """
    epsilon = objective.epsilon()
    source = generator(seed, replica, "neighbours:rounding")
    signs = 2.0 * torch.randint(0, 2, (8, objective.size), generator=source).to(theta) - 1.0
    change = (objective.value(theta * (1.0 + epsilon * signs)) - loss).abs().max()
    return 4.0 * float(change) + 8.0 * epsilon * abs(float(loss))


def _unit_steps(theta: Tensor, count: int, scale: Scale, source: torch.Generator) -> Tensor:
    """Steps (count, P) for radius 1, drawn one by one so that they do not depend on how many come together."""
    size = theta.shape[-1]
    if scale == "relative-uniform":
        rows = [2.0 * torch.rand(size, generator=source, dtype=torch.float64) - 1.0 for _ in range(count)]
    else:
        rows = [torch.randn(size, generator=source, dtype=torch.float64) for _ in range(count)]
    steps = torch.stack(rows)
    if scale == "norm":
        steps = steps / torch.linalg.vector_norm(steps, dim=-1, keepdim=True)
    steps = steps.to(theta.device, theta.dtype)
    return steps * theta.abs() if scale.startswith("relative") else steps


def _check_arguments(
    radii: Sequence[float], samples: int, scale: str, rounding: float | None, confidence: float
) -> None:
    if len(radii) == 0:
        raise InputError("radii must hold at least one radius, found none")
    for radius in radii:
        if not (radius > 0.0 and math.isfinite(radius)):
            raise InputError(f"radii must be positive and finite, found {radius}")
    if samples < 1:
        raise InputError(f"samples must be at least 1, found {samples}")
    if scale not in get_args(Scale):
        raise InputError(f"scale must be one of {', '.join(get_args(Scale))}, found '{scale}'")
    if rounding is not None and not rounding >= 0.0:
        raise InputError(f"rounding must not be negative, found {rounding}")
    if not 0.0 < confidence < 1.0:
        raise InputError(f"confidence must lie between 0 and 1, found {confidence}")

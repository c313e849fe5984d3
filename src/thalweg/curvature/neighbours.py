"""The neighbour ratio: how many random steps away from θ raise the loss.

The course's second definition of the minimal ratio. It is a share of draws, so it has a binomial interval (Wilson
1927); it depends on the radius, so it is a curve; and steps that change the loss by less than its rounding error prove
nothing, so they are counted apart. Every step starts at θ itself and takes both signs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from thalweg._lazy import polars as pl
from thalweg._short import short
from thalweg.curvature.intervals import wilson_interval
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.figures import Axis, Band, Figure, HLine, Line, Mark, Panel
from thalweg.figures.scales import number
from thalweg.objective import Objective
from thalweg.objective.arguments import as_theta
from thalweg.objective.from_modules import from_modules
from thalweg.objective.precision import computed_in, precision
from thalweg.objective.seeds import generator
from thalweg.progress import track
from thalweg.results import BaseResult
from thalweg.results.words import counted, percent, range_words

__all__ = ["UNITS", "NeighbourRatio", "Scale", "neighbour_ratio"]

Scale = Literal["norm", "coordinate", "relative", "relative-uniform"]
UNITS: dict[Scale, str] = {
    "norm": "distance ‖δ‖",
    "coordinate": "standard deviation of each δᵢ",
    "relative": "standard deviation of δᵢ/|θᵢ|",
    "relative-uniform": "half-width of δᵢ/|θᵢ|",
}
"""What a radius is, in words."""
FEW = 8
"""Networks that are drawn one by one."""


@short
@dataclass(frozen=True, eq=False)
class NeighbourRatio(BaseResult):
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
        precision: Of the losses.
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
    precision: str = "float64"

    def plot(self) -> Figure:
        """The share against the radius: every θ with its interval, or median and middle 80 % of many."""
        ratio, low, high = (self._rows(name) for name in ("ratio", "low", "high"))
        x, marks = self.radii.cpu().numpy(), list[Mark]([HLine(0.5, style="dotted")])
        few = len(ratio) <= FEW
        for r in range(len(ratio) if few else 0):
            name = f"replica {r}" if len(ratio) > 1 else "share"
            marks += [Band(x, low[r], high[r], group=name), Line(x, ratio[r], group=name, symbol="circle")]
        if not few:
            bottom, middle, top = np.array(
                [np.nanquantile(column[np.isfinite(column)], [0.1, 0.5, 0.9]) for column in ratio.T]
                if np.isfinite(ratio).any()
                else np.full((len(x), 3), np.nan)
            ).T
            marks += [Band(x, bottom, top, group="all"), Line(x, middle, group="all", symbol="circle")]
        what = f"bands: {100 * self.confidence:g} % intervals (Wilson 1927)" if few else "median and middle 80 %"
        caption = (
            f"Share of {self.samples} random neighbours whose loss is certainly higher, at {counted(len(ratio), 'θ')}; "
            f"{what}. At 0.5 the gradient decides, and not the curvature."
        )
        y = Axis("share of neighbours with a higher loss", limits=(-0.03, 1.04))
        panel = Panel(Axis(UNITS[self.scale], scale="log"), y, tuple(marks))
        return Figure("neighbours", "Neighbours with a higher loss", caption, (panel,))

    def table(self) -> pl.DataFrame:
        """One row per θ and radius."""
        names = ("ratio", "low", "high", "higher", "lower", "undecided")
        replica, place = np.indices(self._rows("ratio").shape)
        columns = {name: self._rows(name).ravel() for name in names}
        radii = self.radii.cpu().numpy()[place.ravel()]
        return pl.DataFrame({"replica": replica.ravel(), "radius": radii, **columns})

    def summary(self) -> str:
        """The share at the smallest and at the largest radius."""
        ratio, radii = self._rows("ratio"), self.radii.tolist()
        if not np.isfinite(ratio).any():
            return "No neighbour was counted: the loss is not finite."
        places = dict.fromkeys((int(np.argmin(radii)), int(np.argmax(radii))))
        said = " and ".join(
            f"{range_words(ratio[:, k], percent)} at {UNITS[self.scale]} {number(radii[k])}" for k in places
        )
        doubt = self._rows("undecided")[np.isfinite(ratio).all(1)] / self.samples
        return (
            f"Of {self.samples} random neighbours {said} have a certainly higher loss; at most "
            f"{percent(float(doubt.max(initial=0.0)))} are undecided within the rounding error."
            f"{computed_in(self.precision)}"
        )

    def joined(self, other: NeighbourRatio) -> NeighbourRatio:
        """The neighbours of these θ (R, …) followed by those of others, at the same radii."""
        names = ("ratio", "low", "high", "higher", "lower", "undecided", "loss", "rounding")
        both: dict[str, Any] = {name: torch.cat([getattr(self, name), getattr(other, name)]) for name in names}
        return replace(self, **both, status=self.status + other.status)

    def _rows(self, name: str) -> np.ndarray:
        return getattr(self, name).double().cpu().numpy().reshape(-1, len(self.radii))


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
        precision=precision(objective),
    )


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

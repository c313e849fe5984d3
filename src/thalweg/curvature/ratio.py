"""The minimal ratio: which share of the Hessian's eigenvalues is certainly positive at θ.

The share is worth what the point and the signs are worth. So loss, gradient norm and flatness stand beside it, a sign
counts only outside the error band of this very Hessian, and piecewise-linear activations, whose kinks no Hessian sees,
are named.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor

from thalweg.curvature.bounds import norm_bounds
from thalweg.curvature.counts import estimate_counts
from thalweg.curvature.exact import exact_curvature, exact_with_distance
from thalweg.curvature.minimal import MEASURED, MinimalRatio
from thalweg.curvature.operator import Operator, hessian_operator
from thalweg.curvature.signs import counted_signs
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.objective.arguments import as_theta
from thalweg.objective.drawing import SUBSETS, draw
from thalweg.objective.from_modules import from_modules
from thalweg.objective.precision import precision
from thalweg.progress import each

__all__ = ["minimal_ratio"]

RatioMethod = Literal["auto", "eigvalsh", "ldl", "estimate"]


@from_modules()
@declared
def minimal_ratio(
    objective: Objective,
    theta: Tensor,
    *,
    method: RatioMethod = "auto",
    permute: bool = True,
    minimum_band: float = 0.0,
    memory: int = 8 * 2**30,
    probes: int = 10,
    steps: int = 80,
    confidence: float = 0.95,
    samples: int | None = None,
    seed: int = 0,
) -> MinimalRatio:
    """Counts the signs of the Hessian's eigenvalues at every θ, against the error band of that Hessian.

    Args:
        objective: The loss; evaluated in float64 whatever its dtype.
        theta: Where, (…, P); or what `Objective.as_theta` takes: a model, a state_dict, an array, a list of these.
        method: "eigvalsh" or "ldl" count; "estimate" never forms the Hessian and gives intervals. "auto" counts while
            three matrices of P × P fit into `memory` (P = 16,750 at the default), and estimates beyond.
        permute: Evaluate each Hessian a second time with the samples in another order, to measure that error. Twice the
            work; without it the band holds rounding and asymmetry alone.
        minimum_band: Least half-width of the band, absolute.
        memory: Bytes for dense matrices; default 8 GiB.
        probes: Random vectors of an estimate.
        steps: Lanczos steps of each.
        confidence: Level of its intervals.
        samples: Estimate on so many samples, drawn without replacement, instead of all; no others are read, and loss,
            gradient norm and band are theirs. The error of the draw widens the intervals. Sets "auto" to "estimate".
        seed: Of the order of the samples, of the random vectors and of the draw.

    Raises:
        InputError: An argument is out of range, or the dense matrices do not fit where counting was asked for.

    Example:
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> data = torch.tensor([[1.0, 0.0], [2.0, 0.0]]), torch.zeros(2, 1)
        >>> found = minimal_ratio(Objective(model, torch.nn.MSELoss(), data), torch.zeros(2))  # nothing on input 2
        >>> int(found.positive), int(found.undecided), float(found.low), float(found.high)
        (1, 1, 0.5, 1.0)
    """
    if method not in get_args(RatioMethod):
        raise InputError(f"method must be one of {', '.join(get_args(RatioMethod))}, found '{method}'")
    theta = as_theta(objective, theta)
    if theta.numel() == 0:
        raise InputError(f"theta must hold at least one vector, found shape {tuple(theta.shape)}")
    matrix_bytes = 8 * objective.size**2
    if method == "auto" and (samples is not None or 3 * matrix_bytes > memory):
        method = "estimate"
    if samples is not None and method != "estimate":
        raise InputError(f"samples applies to method 'estimate' only, found method '{method}'")
    lead, flat = theta.shape[:-1], theta.detach().reshape(-1, objective.size)
    parts: list[dict[str, Tensor]] = []
    if method == "estimate":
        name = method
        parts = [
            _estimated(objective, one, permute, minimum_band, probes, steps, confidence, samples, seed)
            for one in each("signs of the Hessian, points", flat.unbind())
        ]
    else:
        together = max(1, (memory // matrix_bytes - 1) // 2)
        name = "eigvalsh"
        for block in each("signs of the Hessian", flat.split(together)):
            part, name = _counted(objective, block, method, permute, minimum_band, memory, seed)
            parts.append(part)
    joined = {key: torch.cat([part[key] for part in parts]).reshape(lead) for key in MEASURED}
    word = "estimated" if method == "estimate" else "counted"
    status = tuple("nonfinite" if math.isnan(r) else word for r in joined["ratio"].reshape(-1).tolist())
    return MinimalRatio(
        **joined,
        size=objective.size,
        method=name,
        status=status,
        kinks=objective.kinks,
        precision=precision(objective, torch.float64),
    )


def _counted(
    objective: Objective,
    theta: Tensor,
    method: Literal["auto", "eigvalsh", "ldl"],
    permute: bool,
    minimum_band: float,
    memory: int,
    seed: int,
) -> tuple[dict[str, Tensor], str]:
    """Counts at theta (B, P)."""
    permuted = objective.permuted(seed) if permute else None
    exact, distance = exact_with_distance(objective, theta, memory=memory, permuted=permuted)
    image = torch.linalg.vector_norm((exact.matrix @ exact.gradient[..., None])[..., 0], dim=-1)
    other: Tensor | Callable[[int], Tensor] | None = None
    if permuted is not None and distance is None:
        other = exact_curvature(permuted, theta, memory=memory).matrix
    elif permuted is not None:
        other = partial(_one_more, permuted, theta, memory)
    signs = counted_signs(
        exact.matrix,
        other,
        distance,
        asymmetry=exact.asymmetry,
        minimum_band=minimum_band,
        epsilon=objective.epsilon(exact.matrix.dtype),
        method=method,
        work=True,  # nobody else has the matrix
    )
    gradient_norm = torch.linalg.vector_norm(exact.gradient, dim=-1)
    return {
        "ratio": signs.ratio,
        "low": signs.ratio,
        "high": signs.ratio_at_most,
        "positive": signs.positive,
        "negative": signs.negative,
        "undecided": signs.undecided,
        "band": signs.band,
        "rounding": signs.rounding,
        "asymmetry": signs.asymmetry,
        "permutation": signs.permutation,
        "norm": signs.norm,
        "loss": exact.value,
        "gradient_norm": gradient_norm,
        "flatness": image / (signs.norm * gradient_norm),
    }, signs.method


def _one_more(objective: Objective, theta: Tensor, memory: int, row: int) -> Tensor:
    return exact_curvature(objective, theta[row], memory=memory).matrix


def _estimated(
    objective: Objective,
    theta: Tensor,
    permute: bool,
    minimum_band: float,
    probes: int,
    steps: int,
    confidence: float,
    samples: int | None,
    seed: int,
) -> dict[str, Tensor]:
    """Estimates at one theta (P,), as tensors of shape (1,)."""
    everything, theta = objective.double(), theta.to(torch.float64)
    objective = everything if samples is None else draw(everything, samples, SUBSETS, seed).drawn
    value, gradient = objective.value_and_gradient(theta)
    operator = hessian_operator(objective, theta)
    norm = norm_bounds(operator, seed=seed)[1]
    permutation = math.nan
    if permute:
        other = hessian_operator(objective.permuted(seed), theta)
        difference = Operator(
            operator.size, operator.dtype, operator.device, lambda rows: operator(rows) - other(rows), "difference"
        )
        permutation = norm_bounds(difference, steps=10, seed=seed)[1]
    rounding = objective.size * objective.epsilon() * norm
    band = max(rounding + (permutation if permute else 0.0), minimum_band)
    gradient_norm = float(torch.linalg.vector_norm(gradient))
    flatness = math.nan
    if norm > 0.0 and gradient_norm > 0.0:
        flatness = float(torch.linalg.vector_norm(operator(gradient))) / (norm * gradient_norm)
    numbers = dict.fromkeys(("ratio", "low", "high", "flatness"), math.nan)
    numbers |= dict.fromkeys(("positive", "negative", "undecided"), 0.0)
    if math.isfinite(norm) and math.isfinite(float(value)):
        # A Hessian of exactly zero has no scale of its own: every eigenvalue is then undecided at any band.
        counts = estimate_counts(
            operator if samples is None else hessian_operator(everything, theta),
            band if band > 0.0 else torch.finfo(torch.float64).tiny,
            probes=probes,
            steps=steps,
            confidence=confidence,
            memory=objective.memory,
            samples=samples,
            seed=seed,
        )
        size = objective.size
        numbers |= {
            "positive": counts.positive,
            "negative": counts.negative,
            "undecided": counts.undecided,
            "ratio": counts.positive / size,
            "low": counts.positive_interval[0] / size,
            "high": counts.positive_interval[1] / size,
            "flatness": flatness,
        }
    numbers |= {
        "band": band,
        "rounding": rounding,
        "asymmetry": 0.0,
        "permutation": permutation,
        "norm": norm,
        "loss": float(value),
        "gradient_norm": gradient_norm,
    }
    return {key: torch.tensor([number], dtype=torch.float64, device=theta.device) for key, number in numbers.items()}

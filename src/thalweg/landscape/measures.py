"""What a picture can show of an objective at many θ: loss, metrics, gradient norm, largest Hessian eigenvalue."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from thalweg.curvature import leading_eigenvalues
from thalweg.errors import InputError, nearest
from thalweg.landscape.scores import scores
from thalweg.objective import Objective
from thalweg.objective.derivatives import penalty
from thalweg.objective.planning import SMALLEST_CHUNK, VALUE

__all__ = ["columns", "is_forward", "known_measures", "measure"]

AT_THETA = ("objective", "gradient_norm", "lambda_max")
"""Measures that are no mean over outputs."""

CACHED = 2**24
"""Bytes of activations that one network is evaluated on at a time on a CPU: measured, larger pieces leave the cache."""

DENSE = 300
"""Up to this many parameters λmax comes from the whole Hessian, above from a Lanczos search."""


def known_measures(objective: Objective) -> tuple[str, ...]:
    """The names of all measures of an objective."""
    return ("loss", *objective.metric_functions, *AT_THETA)


def columns(objective: Objective, names: Sequence[str]) -> tuple[str, ...]:
    """Checks names of measures and returns those of what comes back: λmax comes with its residual.

    Raises:
        InputError: No name, or one that is not known.
    """
    known = known_measures(objective)
    if not names:
        raise InputError("metrics must name at least one quantity, found none")
    for name in names:
        if name not in known:
            raise InputError(f"metrics must be among {', '.join(known)}, found '{name}'{nearest(name, known)}")
    return (*names, *(["lambda_max_residual"] if "lambda_max" in names else []))


def is_forward(name: str) -> bool:
    """Whether a measure is a mean over outputs."""
    return name not in AT_THETA


def measure(
    objective: Objective, thetas: Tensor, names: Sequence[str], *, loss: Tensor | None = None
) -> dict[str, Tensor]:
    """Evaluates measures at θ (B, P), those that need only outputs from one forward pass.

    Args:
        objective: Any.
        thetas: (B, P) in the dtype of the objective.
        names: "loss" (of the data alone), names of the objective's metrics, "objective" (loss and penalty),
            "gradient_norm" (of the objective), "lambda_max" (of its Hessian, in float64).
        loss: (B,), the data loss where it is known already.

    Returns:
        name -> (B,), float64, "lambda_max_residual" beside "lambda_max".
    """
    forward = [name for name in names if is_forward(name)]
    if "objective" in names and loss is None and "loss" not in forward:
        forward.append("loss")
    found = _forward(objective, thetas, forward) if forward else {}
    out = {name: found[name] for name in names if is_forward(name)}
    if "objective" in names:
        data = found["loss"] if loss is None else loss
        out["objective"] = data.double() + penalty(objective.l2, thetas.double())
    if "gradient_norm" in names:
        out["gradient_norm"] = torch.linalg.vector_norm(objective.gradient(thetas), dim=-1)
    if "lambda_max" in names:
        out["lambda_max"], out["lambda_max_residual"] = _largest(objective.double(), thetas.double())
    return {name: value.double() for name, value in out.items()}


def _forward(objective: Objective, thetas: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    if objective.loss_on == "batch":
        return objective.metrics(thetas)
    evaluation, program = objective.evaluation, objective.program
    cut = evaluation.plan(len(thetas), VALUE)
    samples = cut.samples
    if objective.device.type == "cpu":
        samples = min(samples, max(SMALLEST_CHUNK, CACHED // (evaluation.pair_bytes * cut.replicas)))
    rows: list[dict[str, Tensor]] = []
    with torch.no_grad():
        for part in thetas.split(cut.replicas):
            params = {**objective.layout.unravel(part), **evaluation.extra(part)}
            total = {name: torch.zeros(len(part), dtype=part.dtype, device=part.device) for name in names}
            for batch, count in objective.batches.summands(samples):
                output = program.outputs(params, batch)
                for name, value in scores(objective, names, output, batch[1]).items():
                    total[name] += (count / objective.batches.samples) * value
            rows.append(total)
    found = objective.batches.reduced(*(torch.cat([row[name] for row in rows]) for name in names))
    return dict(zip(names, found, strict=True))


def _largest(objective: Objective, thetas: Tensor) -> tuple[Tensor, Tensor]:
    """λmax at θ (B, P) and its residual: rounding where the whole matrix is diagonalised."""
    if objective.size > DENSE:
        return leading_eigenvalues(objective, thetas, memory=objective.memory)
    matrix = objective.hessian(thetas)
    finite = matrix.isfinite().all(-1).all(-1)
    values = torch.linalg.eigvalsh(matrix.nan_to_num())[:, -1]
    rounding = torch.finfo(torch.float64).eps * torch.linalg.matrix_norm(matrix)
    return values.masked_fill(~finite, torch.nan), rounding

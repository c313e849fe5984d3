"""Directions that stand out: the principal components of a trajectory and the eigenvectors of the Hessian."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from thalweg.curvature import eigenpairs, hessian_operator
from thalweg.curvature.lanczos import Which
from thalweg.declared import declared
from thalweg.errors import InputError, nearest
from thalweg.landscape.blocks import as_snapshots
from thalweg.landscape.directions import Directions, finished, moving_note
from thalweg.landscape.pca import pca
from thalweg.landscape.walk import walk_ratio
from thalweg.objective.arguments import as_vector

if TYPE_CHECKING:
    from thalweg.curvature import Eigenpairs
    from thalweg.objective import Objective

__all__ = ["hessian_directions", "pca_directions"]

WEAK = 0.01
"""A component with less than this share of the variance is called weak."""

End = Literal["top", "bottom", "mixed"]
SPECTRUM_END: dict[End, Which] = {"top": "largest", "bottom": "smallest", "mixed": "both"}


@declared
def pca_directions(
    path: Any, count: int = 2, *, replicas: Sequence[int] | None = None, columns: Tensor | None = None
) -> Directions:
    """The principal components of a trajectory (Li et al. 2018, §7), jointly over its replicas.

    A component within rounding is missing: a straight trajectory has one direction, and a note says so.

    Args:
        path: Snapshots (S, P) or (S, R, P), as :func:`thalweg.landscape.pca` takes them.
        count: K, at most.
        replicas: The replicas to use; default all that stayed finite.
        columns: Indices of the parameters that move, such as those of one layer (`layout.select("0.*")`); default all.

    Returns:
        Orthonormal vectors (K, P), float64; K may be smaller than `count`.

    Raises:
        InputError: A single snapshot, or a trajectory that never moves.

    Example:
        >>> straight = torch.linspace(0, 1, 5)[:, None] * torch.tensor([3.0, 4.0])
        >>> line = pca_directions(straight)
        >>> line.vectors, line.labels
        (tensor([[0.6000, 0.8000]], dtype=torch.float64), ('component 1 (100.0 % of the variance)',))
    """
    path = as_snapshots(path, "path")
    if isinstance(path, Tensor | np.ndarray) and path.ndim == 2:
        path = path[:, None]
    found = pca(path, replicas=replicas, columns=columns)
    kept = min(count, found.rank)
    ratio = found.ratio(count)
    labels = [f"component {k + 1} ({100 * float(ratio[k]):.1f} % of the variance)" for k in range(kept)]
    walk = 100 * float(walk_ratio(found.scores.shape[0], count).sum())
    hidden = (
        f"{100 * float(ratio.sum()):.1f} % of the variance of the trajectory lies along these directions, the rest is "
        f"hidden; as many components of a random walk of this length hold {walk:.0f} %."
    )
    notes = [hidden] + [
        f"Component {k + 1} is weak: it holds {100 * float(ratio[k]):.2g} % of the variance."
        for k in range(kept)
        if ratio[k] < WEAK
    ]
    if kept < count:
        notes.append(
            f"Only {kept} of {count} components exist: beyond, the trajectory does not leave them but for rounding."
        )
    if found.excluded:
        runs = ", ".join(str(r) for r in found.excluded)
        notes.append(f"Left out because they are not finite: replicas {runs}.")
    vectors = found.components(kept)
    if columns is not None:
        whole = vectors.new_zeros(kept, path.shape[-1])
        whole[:, columns.to(vectors.device)] = vectors
        vectors = whole
    return Directions(vectors, tuple(labels), "trajectory", (*notes, *moving_note(vectors)))


@declared
def hessian_directions(
    objective: Objective,
    theta: Tensor,
    which: End = "top",
    count: int = 2,
    *,
    parameters: str | Sequence[str] = "*",
    tolerance: float = 1e-4,
    max_products: int = 1000,
    seed: int = 0,
) -> Directions:
    """Eigenvectors of the Hessian, in float64, each pointing uphill.

    Args:
        objective: The loss.
        theta: (P,); or what `Objective.as_theta` takes: a model, a state_dict, an array.
        which: "top": the largest eigenvalues. "bottom": the smallest (most negative). "mixed": from both ends, the top
            first.
        count: K, at most; for "mixed" the top has one more where it is odd.
        parameters: Glob or globs: the block of these parameters; the others do not move.
        tolerance: Residual relative to the norm of the Hessian at which a pair is converged.
        max_products: Budget of Hessian-vector products.
        seed: Of the start.

    Returns:
        Orthonormal vectors (K, P), float64. The notes hold every residual, and what did not converge.

    Raises:
        InputError: An argument is out of range, or the products are not finite.
    """
    if which not in get_args(End):
        options = ", ".join(get_args(End))
        raise InputError(f"which must be one of {options}, found '{which}'{nearest(str(which), get_args(End))}")
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise InputError(f"count must be a whole number of at least 1 direction, found {count!r}")
    start = as_vector(objective, theta).detach().double()
    precise = objective.double()
    operator = hessian_operator(precise, start, parameters)
    high = count if which == "top" else 0 if which == "bottom" else -(-count // 2)
    found = eigenpairs(
        operator,
        max(high, count - high),
        which=SPECTRUM_END[which],
        tolerance=tolerance,
        relative_to="norm",
        max_products=max_products,
        seed=seed,
    )
    if found.status == "nonfinite":
        raise InputError(f"theta must have a finite Hessian, found that {found.message}")
    order = _picked(len(found.values), which, count)
    vectors = torch.zeros(len(order), objective.size, dtype=torch.float64, device=start.device)
    vectors[:, objective.layout.select(parameters).to(start.device)] = found.vectors[order]
    slope = precise.gradient(start) @ vectors.T
    vectors *= torch.where(slope < 0, -1.0, 1.0)[:, None]
    labels = [f"eigenvector, λ = {float(found.values[i]):.3g}" for i in order]
    notes = [
        f"{len(order)} of {objective.size} dimensions: the curvature in all the others is hidden.",
        *_certainty(found, order),
        *moving_note(vectors),
    ]
    if len(order) < count:
        notes.append(f"Only {len(order)} of {count} directions exist in {operator.size} dimensions.")
    if objective.kinks:
        notes.append(
            f"Eigenvectors of the Hessian between kinks ({', '.join(objective.kinks)}), whose jumps of the gradient it "
            "misses."
        )
    return finished(vectors, labels, f"Hessian, {which}", notes, orthogonal=False)


def _picked(available: int, which: str, count: int) -> list[int]:
    """Indices of the wanted pairs among those found; "both" ends come descending."""
    if which != "mixed":
        return list(range(min(count, available)))
    high = -(-count // 2)
    if available <= count:
        return list(range(available))
    return [*range(high), *range(available - 1, available - 1 - (count - high), -1)]


def _certainty(found: Eigenpairs, order: list[int]) -> list[str]:
    """What the residuals leave open, eigenvalue by eigenvalue."""
    values, residuals = found.values.tolist(), found.residuals.tolist()
    notes = []
    for i in order:
        words = f"Eigenvalue {values[i]:.6g} with residual {residuals[i]:.1g}"
        if not bool(found.converged[i]):
            words += ", not converged"
        elif abs(values[i]) <= residuals[i]:
            words += ": zero within it, so that this direction shows no curvature that is certain"
        notes.append(f"{words}.")
    for i, j in pairwise(order):
        if abs(values[i] - values[j]) <= residuals[i] + residuals[j]:
            notes.append(
                f"Eigenvalues {values[i]:.6g} and {values[j]:.6g} are one within their residuals: the plane of their "
                "eigenvectors is determined, the directions in it are not."
            )
    return notes

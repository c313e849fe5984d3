"""Extreme eigenpairs by Lanczos with full reorthogonalisation and thick restart, each with its residual.

Thick restart (Wu & Simon 2000, SIAM J. Matrix Anal. 22) keeps the best Ritz vectors when the basis is full; how many
is chosen as in adaptive TRLan (Yamazaki, Bai, Simon, Wang & Wu 2010). A Krylov space holds one vector of every
eigenspace only, so that a repeated eigenvalue, the rule for a softmax layer, is found once. When the wanted pairs have
converged, a fresh random vector therefore explores the space orthogonal to the basis until either a missed eigenvalue
has been found or the ones that could still be missing are bounded away from the wanted ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor

from thalweg import limits
from thalweg.curvature.krylov import Subspace
from thalweg.curvature.operator import Operator, as_operator
from thalweg.curvature.pairs import Eigenpairs
from thalweg.curvature.search import Search, Which
from thalweg.curvature.sized import sized
from thalweg.curvature.subsampled import on_parts, ritz_errors
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.objective.drawing import SUBSETS

__all__ = ["Which", "eigenpairs"]


@declared
@sized
def eigenpairs(
    operator: Operator | Objective,
    k: int = 1,
    *,
    which: Which = "largest",
    tolerance: float = 1e-4,
    relative_to: Literal["value", "norm"] = "value",
    check: bool = True,
    margin: float = 0.01,
    max_products: int = 1000,
    subspace: int | None = None,
    memory: int | None = None,
    start: Tensor | None = None,
    samples: int | None = None,
    subsets: int = SUBSETS,
    seed: int = 0,
) -> Eigenpairs:
    """Finds k extreme eigenpairs of a symmetric operator from its products alone.

    Args:
        operator: The symmetric operator, of size P; an objective stands for its Hessian at `objective.theta`.
        k: How many, at each end for "both"; at most P are returned.
        which: "largest", "smallest", "both" ends, or largest "magnitude".
        tolerance: Relative residual at which a pair is converged. The error of a value is at most its residual, and of
            the order of residual²/gap once the neighbours are apart.
        relative_to: Residuals are measured relative to each "value", as ARPACK does, or to the "norm" of the operator,
            which also settles eigenvalues at zero.
        check: Look for missed (repeated) eigenvalues from a fresh random vector. Costs a few products when the wanted
            eigenvalues stand out, and at most as many as the search when they do not.
        margin: How far beyond the last wanted value, relative to it (or to the norm), the check must exclude others.
        max_products: Budget; what has not converged by then is returned as it is, marked.
        subspace: Most basis vectors held at once; by default up to 100, as many as `memory` holds, at least 2K + 10.
        memory: Bytes for the basis, by default half of the memory that is free, and at least 1 GiB. It matters only
            where 100 vectors do not fit: fewer mean more restarts.
        start: A guess (P,) or several (b, P), for instance the eigenvectors of the step before.
        samples: Find those of so many samples, drawn without replacement, instead of all; no others are read. The
            largest eigenvalue of a sample is too large on average (it is convex in the matrix), the smallest too
            small: `biases` says by about how much, `sampling_errors` how far the values scatter beside that.
        subsets: Disjoint parts of the samples whose scatter is measured, by one product each.
        seed: Of the random vectors and of the draw.

    Raises:
        InputError: An argument is out of range.

    Example:
        >>> operator = Operator.dense(torch.diag(torch.tensor([3.0, 3.0, -1.0, 0.5], dtype=torch.float64)))
        >>> pairs = eigenpairs(operator, 3)
        >>> [round(v, 6) for v in pairs.values.tolist()], bool(pairs.converged.all())
        ([3.0, 3.0, 0.5], True)
    """
    _check_arguments(k, which, tolerance, relative_to, margin, max_products)
    if samples is not None:
        return _on_samples(
            operator,
            samples,
            subsets,
            seed,
            partial(
                eigenpairs,
                k=k,
                which=which,
                tolerance=tolerance,
                relative_to=relative_to,
                check=check,
                margin=margin,
                max_products=max_products,
                subspace=subspace,
                memory=memory,
                start=start,
                seed=seed,
            ),
        )
    operator = as_operator(operator)
    wanted = min(operator.size, 2 * k if which == "both" else k)
    capacity = _capacity(operator, wanted, subspace, memory)
    space = Subspace(operator, capacity, torch.Generator().manual_seed(seed))
    if start is not None:
        space.start(_checked_start(start, operator))
    run = Search(space, wanted, which, tolerance, relative_to == "norm", margin, max_products)
    with operator.tracked("eigenpairs", max_products, at_most=True):
        complete = run.run(check)
    return _result(run, complete, tolerance)


def _on_samples(
    operator: Operator | Objective, samples: int, subsets: int, seed: int, find: Callable[..., Eigenpairs]
) -> Eigenpairs:
    """The pairs of the samples that were drawn, with the errors that come from the draw."""
    found = on_parts(operator, samples, subsets, seed)
    pairs = find(found.whole())
    if not bool(pairs.vectors.isfinite().all()):
        return replace(pairs, samples=samples)
    errors = ritz_errors(found, pairs.vectors)
    # The bias falls like 1/n: that of halves is twice as large, and what chance adds to them cancels in their mean.
    halves = on_parts(found.draw.drawn, samples, 2, seed)
    rows = [find(found.source[1](half), start=pairs.vectors) for half in halves.draw.parts]
    mean = (halves.draw.weights[:, None] * torch.stack([row.values.cpu() for row in rows])).sum(0)
    biases = (mean.to(pairs.values) - pairs.values) * (1 - found.draw.share)
    spent = pairs.products + len(pairs.vectors) * subsets + sum(row.products for row in rows)
    return replace(pairs, products=spent, sampling_errors=errors, biases=biases, samples=samples)


def _result(run: Search, complete: bool, tolerance: float) -> Eigenpairs:
    space, wanted = run.space, run.wanted
    values = torch.full((wanted,), math.nan, dtype=torch.float64)
    residuals, converged = values.clone(), torch.zeros(wanted, dtype=torch.bool)
    vectors = torch.full((wanted, space.operator.size), math.nan, dtype=space.basis.dtype, device=space.basis.device)
    name, spent = space.operator.label, f"{run.products} products"
    if not space.finite:
        status, message = "nonfinite", f"a product with the {name} had NaN or infinite entries, or overflows"
    else:
        found = len(run.index)
        values[:found] = run._ritz.values[run.index]
        residuals[:found] = run._ritz.residuals[run.index]
        converged[:found] = ~run.unconverged
        vectors[:found] = space.vectors(run._ritz.coefficients[:, run.index])
        count = int(converged.sum())
        status = "converged" if count == wanted else "unconverged"
        message = f"{count} of {wanted} eigenpairs of the {name} converged to {tolerance:.0e} in {spent}"
        if status == "unconverged" and space.asymmetry > float(run.limits().min()):
            message += f"; the products are asymmetric by {space.asymmetry:.1e}, which no further product can mend"
    device = space.basis.device
    return Eigenpairs(
        values=values.to(device),
        vectors=vectors,
        residuals=residuals.to(device),
        converged=converged.to(device),
        complete=complete,
        excluded=run.excluded,
        tolerance=tolerance,
        products=run.products,
        products_checking=run.checking,
        restarts=run.restarts,
        asymmetry=space.asymmetry,
        status=status,
        message=message,
        precision=space.operator.precision,
    )


def _capacity(operator: Operator, wanted: int, subspace: int | None, memory: int | None) -> int:
    least = wanted + 3
    if subspace is None:
        room = max(2**30, limits.budget(operator.device)) if memory is None else memory
        subspace = max(2 * wanted + 10, min(100, room // (operator.size * operator.dtype.itemsize)))
    elif subspace < min(least, operator.size):
        raise InputError(f"subspace must be at least {min(least, operator.size)} for {wanted} pairs, found {subspace}")
    return min(subspace, operator.size)


def _check_arguments(k: int, which: str, tolerance: float, relative_to: str, margin: float, max_products: int) -> None:
    if k < 1:
        raise InputError(f"k must be at least 1, found {k}")
    if which not in get_args(Which):
        raise InputError(f"which must be one of {', '.join(get_args(Which))}, found '{which}'")
    if relative_to not in ("value", "norm"):
        raise InputError(f"relative_to must be 'value' or 'norm', found '{relative_to}'")
    if not 0.0 < tolerance < 1.0:
        raise InputError(f"tolerance must lie between 0 and 1, found {tolerance}")
    if not margin > 0.0:
        raise InputError(f"margin must be positive, found {margin}")
    if max_products < 1:
        raise InputError(f"max_products must be at least 1, found {max_products}")


def _checked_start(start: Tensor, operator: Operator) -> Tensor:
    rows = torch.atleast_2d(start)
    if rows.dim() != 2 or rows.shape[-1] != operator.size:
        shapes = f"({operator.size},) or (b, {operator.size})"
        raise InputError(f"start must have shape {shapes}, found {tuple(start.shape)}")
    if not bool(torch.isfinite(rows).all()) or not bool((rows != 0).any(dim=-1).all()):
        raise InputError("start must hold finite, non-zero vectors")
    rows = rows.to(operator.device, operator.dtype)
    return rows / torch.linalg.vector_norm(rows, dim=-1, keepdim=True)

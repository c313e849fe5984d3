"""Trace and diagonal from products alone, each with its standard error.

* Hutchinson (1990): E[gᵀAg] = tr A for random signs g.
* Hutch++ (Meyer, Musco, Musco & Woodruff 2021): a third of the products finds the dominant range, a third pays
  for the exact trace on it, a third estimates the rest.
* XTrace and XDiag (Epperly, Tropp & Webber 2024, SIAM J. Matrix Anal. 45): every vector serves both ends. Each is
  left out of the range once and estimates the rest there; the mean over them is the estimate, their spread its error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from thalweg.curvature.operator import Operator
from thalweg.errors import InputError

__all__ = ["DiagonalEstimate", "TraceEstimate", "diagonal", "trace"]

TraceMethod = Literal["xtrace", "hutch++", "hutchinson"]
DiagonalMethod = Literal["xdiag", "hutchinson"]


@dataclass(frozen=True)
class TraceEstimate:
    """An estimated trace.

    Args:
        value: The estimate; NaN if a product was not finite.
        standard_error: One standard deviation of the estimate, itself estimated; 0 where the trace is exact.
        method: How; "exact" when the products sufficed for the whole diagonal.
        products: Products spent.
    """

    value: float
    standard_error: float
    method: str
    products: int


@dataclass(frozen=True)
class DiagonalEstimate:
    """An estimated diagonal.

    Args:
        values: Estimates, (P,).
        standard_errors: One standard deviation of each, (P,).
        method: How; "exact" when the products sufficed.
        products: Products spent.
    """

    values: Tensor
    standard_errors: Tensor
    method: str
    products: int


def trace(operator: Operator, *, method: TraceMethod = "xtrace", products: int = 60, seed: int = 0) -> TraceEstimate:
    """Estimates the trace of a symmetric operator.

    Args:
        operator: The symmetric operator.
        method: "xtrace" is the most accurate when eigenvalues decay; "hutchinson" holds one vector at a time and is as
            good on flat spectra; "hutch++" lies between.
        products: Budget, at least 6 (4 for "hutchinson"). With P or more of them the trace is computed exactly.
        seed: Of the random vectors.

    Raises:
        InputError: An argument is out of range.

    Example:
        >>> operator = Operator.dense(torch.diag(torch.logspace(0, -3, 200, dtype=torch.float64)))
        >>> found = trace(operator, products=40)
        >>> abs(found.value - float(torch.logspace(0, -3, 200).sum())) < 4 * found.standard_error
        True
    """
    _check("method", method, get_args(TraceMethod), products, 4 if method == "hutchinson" else 6)
    before = operator.products
    if products >= operator.size:
        value, error, name = float(_identity_diagonal(operator).sum()), 0.0, "exact"
    else:
        generator = torch.Generator().manual_seed(seed)
        run = {"hutchinson": _hutchinson, "hutch++": _hutch, "xtrace": _xtrace}[method]
        samples, name = run(operator, products, generator), method
        value, error = float(samples.mean()), float(samples.std()) / math.sqrt(len(samples))
    if not math.isfinite(value):
        value = error = math.nan
    return TraceEstimate(value, error, name, operator.products - before)


def diagonal(
    operator: Operator, *, method: DiagonalMethod = "xdiag", products: int = 60, seed: int = 0
) -> DiagonalEstimate:
    """Estimates the diagonal of a symmetric operator.

    Args:
        operator: The symmetric operator.
        method: "xdiag", or "hutchinson" (the mean of g ∘ Ag over random signs g), which holds one vector at a time.
        products: Budget, at least 4. With P or more of them the diagonal is computed exactly.
        seed: Of the random vectors.

    Raises:
        InputError: An argument is out of range.

    Example:
        >>> matrix = torch.outer(torch.arange(50.0), torch.arange(50.0)).double()
        >>> found = diagonal(Operator.dense(matrix), products=8)  # exact: the rank is 1
        >>> bool(torch.allclose(found.values, matrix.diagonal()))
        True
    """
    _check("method", method, get_args(DiagonalMethod), products, 4)
    before = operator.products
    if products >= operator.size:
        values, name = _identity_diagonal(operator), "exact"
        errors = torch.zeros_like(values)
    elif method == "xdiag":
        samples, name = _xdiag(operator, products // 2, torch.Generator().manual_seed(seed)), method
        values, errors = samples.mean(0), samples.std(0) / math.sqrt(len(samples))
    else:
        values, errors = _hutchinson_diagonal(operator, products, torch.Generator().manual_seed(seed))
        name = method
    return DiagonalEstimate(values, errors, name, operator.products - before)


def _signs(operator: Operator, count: int, generator: torch.Generator) -> Tensor:
    """Random signs (count, P); row i does not depend on the count."""
    rows = [torch.randint(0, 2, (operator.size,), generator=generator, dtype=torch.int8) for _ in range(count)]
    return (2 * torch.stack(rows) - 1).to(operator.device, operator.dtype)


def _hutchinson(operator: Operator, products: int, generator: torch.Generator) -> Tensor:
    samples = []
    for _ in range(products):
        signs = _signs(operator, 1, generator)[0]
        samples.append(signs @ operator(signs))
    return torch.stack(samples).double()


def _hutch(operator: Operator, products: int, generator: torch.Generator) -> Tensor:
    third = products // 3
    basis = _orthonormal(operator(_signs(operator, third, generator)))  # (k, P)
    inside = (basis * operator(basis)).sum().double()
    probes = _signs(operator, products - 2 * third, generator)
    probes = probes - (probes @ basis.mT) @ basis
    return inside + (probes * operator(probes)).sum(-1).double()


def _xtrace(operator: Operator, products: int, generator: torch.Generator) -> Tensor:
    """The leave-one-out estimates: with Q₍ᵢ₎ the range without vector i, tr Q₍ᵢ₎ᵀAQ₍ᵢ₎ + c xᵢᵀAxᵢ, xᵢ ⟂ Q₍ᵢ₎."""
    m = products // 2
    draws = torch.stack([torch.randn(operator.size, generator=generator, dtype=torch.float64) for _ in range(m)])
    probes = draws.to(operator.device, operator.dtype)
    image = operator(probes)
    if not bool(torch.isfinite(image).all()):
        return torch.full((m,), math.nan, dtype=torch.float64)
    basis = _orthonormal(image)
    after = operator(basis)
    coordinates, inner = (probes @ basis.mT).double(), (basis @ after.mT).double()  # (m, m): rows are vectors
    images, crossed = (image @ basis.mT).double(), (probes @ after.mT).double()
    left_out = _left_out(images)
    # Coordinates of each probe in the range without itself.
    kept = coordinates - left_out * (left_out * coordinates).sum(-1, keepdim=True)
    inside = inner.diagonal().sum() - ((left_out @ inner) * left_out).sum(-1)
    form = (probes * image).sum(-1).double() - (crossed * kept).sum(-1) - (images * kept).sum(-1)
    form = form + ((kept @ inner) * kept).sum(-1)
    squared = probes.square().sum(-1).double() - kept.square().sum(-1)
    # Rescaling each remainder to the length it has on average takes the variance of its length out of the estimate.
    return inside + (operator.size - m + 1) * form / squared


def _xdiag(operator: Operator, m: int, generator: torch.Generator) -> Tensor:
    probes = _signs(operator, m, generator)
    image = operator(probes)
    if not bool(torch.isfinite(image).all()):
        return torch.full_like(image, math.nan)
    basis = _orthonormal(image)
    after = operator(basis)
    images = image @ basis.mT
    left_out = _left_out(images.double()).to(basis)
    removed = left_out @ basis  # (m, P): the direction that the range loses with probe i
    inside = (basis * after).sum(0) - removed * (left_out @ after)
    rest = removed * (left_out * images).sum(-1, keepdim=True)  # what of A ωᵢ lies outside the range without i
    return inside + probes * rest


def _hutchinson_diagonal(operator: Operator, products: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    mean = torch.zeros(operator.size, dtype=operator.dtype, device=operator.device)
    squares = torch.zeros_like(mean)
    for i in range(products):  # Welford's recurrence: two vectors held, whatever the number of products
        signs = _signs(operator, 1, generator)[0]
        sample = signs * operator(signs)
        step = sample - mean
        mean = mean + step / (i + 1)
        squares = squares + step * (sample - mean)
    return mean, (squares / (products - 1) / products).sqrt()


def _identity_diagonal(operator: Operator, block: int = 64) -> Tensor:
    parts = []
    for start in range(0, operator.size, block):
        rows = torch.zeros(
            min(block, operator.size - start), operator.size, dtype=operator.dtype, device=operator.device
        )
        rows.diagonal(offset=start).fill_(1.0)
        parts.append(operator(rows).diagonal(offset=start))
    return torch.cat(parts)


def _orthonormal(rows: Tensor) -> Tensor:
    return torch.linalg.qr(rows.mT)[0].mT.contiguous()


def _left_out(images: Tensor) -> Tensor:
    """Unit vectors (m, m): row i is orthogonal to every row of `images` (m, m) but i.

    These are the normalised rows of the inverse transpose. Where the images span less than m dimensions (a matrix of
    low rank) the inverse does not exist, but every choice serves: the floor under the singular values makes one.
    """
    left, lengths, right = torch.linalg.svd(images)
    floor = len(images) * torch.finfo(images.dtype).eps * float(lengths[0])
    inverse = (left / lengths.clamp(min=max(floor, torch.finfo(images.dtype).tiny))) @ right
    return inverse / torch.linalg.vector_norm(inverse, dim=-1, keepdim=True)


def _check(name: str, method: str, allowed: tuple[str, ...], products: int, least: int) -> None:
    if method not in allowed:
        raise InputError(f"{name} must be one of {', '.join(allowed)}, found '{method}'")
    if products < least:
        raise InputError(f"products must be at least {least} for '{method}', found {products}")

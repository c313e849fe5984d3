"""Trace and diagonal from products alone, each with its standard error.

* Hutchinson (1990): E[gᵀAg] = tr A for random signs g.
* Hutch++ (Meyer, Musco, Musco & Woodruff 2021): a third of the products finds the dominant range, a third pays
  for the exact trace on it, a third estimates the rest.
* XTrace and XDiag (Epperly, Tropp & Webber 2024, SIAM J. Matrix Anal. 45): every vector serves both ends. Each is
  left out of the range once and estimates the rest there; the mean over them is the estimate. Their spread is not all
  of its error, since they share the other vectors: their covariance, seen by leaving out a second one, is added.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from thalweg.curvature.estimates import DiagonalEstimate, TraceEstimate
from thalweg.curvature.operator import Operator, as_operator
from thalweg.curvature.probes import sign_blocks, signs_of
from thalweg.curvature.sized import sized
from thalweg.curvature.subsampled import on_parts
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.objective.drawing import SUBSETS

__all__ = ["diagonal", "trace"]

TraceMethod = Literal["xtrace", "hutch++", "hutchinson"]
DiagonalMethod = Literal["xdiag", "hutchinson"]
_VALUE = ("value", "standard_error")


@declared
@sized
def trace(
    operator: Operator | Objective,
    *,
    method: TraceMethod = "xtrace",
    products: int = 60,
    samples: int | None = None,
    subsets: int = SUBSETS,
    seed: int = 0,
) -> TraceEstimate:
    """Estimates the trace of a symmetric operator.

    Args:
        operator: The symmetric operator; an objective stands for its Hessian at `objective.theta`.
        method: "xtrace" is the most accurate when eigenvalues decay; "hutchinson" holds one vector at a time and is as
            good on flat spectra; "hutch++" lies between.
        products: Budget, at least 6 (4 for "hutchinson"). With P or more of them the trace is computed exactly.
        samples: Estimate on so many samples, drawn without replacement, instead of all; no others are read. The
            scatter over `subsets` of them is the `sampling_error`; both errors together are their root sum of squares.
        subsets: Disjoint parts of the samples, each with vectors of its own and all of the `products`.
        seed: Of the random vectors and of the draw.

    Raises:
        InputError: An argument is out of range.

    Example:
        >>> operator = Operator.dense(torch.diag(torch.logspace(0, -3, 200, dtype=torch.float64)))
        >>> found = trace(operator, products=40)
        >>> abs(found.value - float(torch.logspace(0, -3, 200).sum())) < 4 * found.standard_error
        True
    """
    _check("method", method, get_args(TraceMethod), products, 4 if method == "hutchinson" else 6)
    if samples is not None:
        found = on_parts(operator, samples, subsets, seed)
        each = [trace(one, method=method, products=products, seed=own) for one, own in found]
        pooled = found.draw.pooled(*(torch.tensor([getattr(e, n) for e in each], dtype=torch.float64) for n in _VALUE))
        value, own, sampling = (float(one) for one in pooled)
        return TraceEstimate(
            value, own, each[0].method, sum(e.products for e in each), sampling, samples, each[0].precision
        )
    operator = as_operator(operator)
    before = operator.products
    with operator.tracked("trace", min(products, operator.size)):
        if products >= operator.size:
            value, error, name = float(_identity_diagonal(operator).sum()), 0.0, "exact"
        else:
            generator = torch.Generator().manual_seed(seed)
            run = {"hutchinson": _hutchinson, "hutch++": _hutch, "xtrace": _xtrace}[method]
            (value, error), name = run(operator, products, generator), method
    if not math.isfinite(value):
        value = error = math.nan
    return TraceEstimate(value, error, name, operator.products - before, precision=operator.precision)


@declared
@sized
def diagonal(
    operator: Operator | Objective,
    *,
    method: DiagonalMethod = "xdiag",
    products: int = 60,
    samples: int | None = None,
    subsets: int = SUBSETS,
    seed: int = 0,
) -> DiagonalEstimate:
    """Estimates the diagonal of a symmetric operator.

    Args:
        operator: The symmetric operator; an objective stands for its Hessian at `objective.theta`.
        method: "xdiag", or "hutchinson" (the mean of g ∘ Ag over random signs g), which holds one vector at a time.
        products: Budget, at least 4. With P or more of them the diagonal is computed exactly.
        samples: See `trace`.
        subsets: See `trace`.
        seed: Of the random vectors and of the draw.

    Raises:
        InputError: An argument is out of range.

    Example:
        >>> matrix = torch.outer(torch.arange(50.0), torch.arange(50.0)).double()
        >>> found = diagonal(Operator.dense(matrix), products=8)  # exact: the rank is 1
        >>> bool(torch.allclose(found.values, matrix.diagonal()))
        True
    """
    _check("method", method, get_args(DiagonalMethod), products, 4)
    if samples is not None:
        found = on_parts(operator, samples, subsets, seed)
        each = [diagonal(one, method=method, products=products, seed=own) for one, own in found]
        pooled = found.draw.pooled(
            torch.stack([e.values for e in each]), torch.stack([e.standard_errors for e in each])
        )
        spent = sum(e.products for e in each)
        return DiagonalEstimate(*pooled[:2], each[0].method, spent, pooled[2], samples, each[0].precision)
    operator = as_operator(operator)
    before = operator.products
    with operator.tracked("diagonal", min(products, operator.size)):
        if products >= operator.size:
            values, name = _identity_diagonal(operator), "exact"
            errors = torch.zeros_like(values)
        elif method == "xdiag":
            rows, name = _xdiag(operator, products // 2, torch.Generator().manual_seed(seed)), method
            values, errors = rows.mean(0), rows.std(0) / math.sqrt(len(rows))
        else:
            values, errors = _hutchinson_diagonal(operator, products, torch.Generator().manual_seed(seed))
            name = method
    return DiagonalEstimate(values, errors, name, operator.products - before, precision=operator.precision)


def _hutchinson(operator: Operator, products: int, generator: torch.Generator) -> tuple[float, float]:
    samples = [(signs * operator(signs)).sum(-1) for signs in sign_blocks(operator, products, generator)]
    return _mean(torch.cat(samples).double())


def _mean(samples: Tensor) -> tuple[float, float]:
    """Mean of independent samples and its standard error."""
    return float(samples.mean()), float(samples.std()) / math.sqrt(len(samples))


def _hutch(operator: Operator, products: int, generator: torch.Generator) -> tuple[float, float]:
    third = products // 3
    basis = _orthonormal(operator(signs_of(operator, third, generator)))  # (k, P)
    inside = (basis * operator(basis)).sum().double()
    probes = signs_of(operator, products - 2 * third, generator)
    probes = probes - (probes @ basis.mT) @ basis
    return _mean(inside + (probes * operator(probes)).sum(-1).double())


def _xtrace(operator: Operator, products: int, generator: torch.Generator) -> tuple[float, float]:
    """Estimate and standard error by m = products / 2 vectors."""
    m = products // 2
    draws = torch.stack([torch.randn(operator.size, generator=generator, dtype=torch.float64) for _ in range(m)])
    probes = draws.to(operator.device, operator.dtype)
    image = operator(probes)
    if not bool(torch.isfinite(image).all()):
        return math.nan, math.nan
    basis = _orthonormal(image)
    after = operator(basis)
    parts = _Projected(
        (probes @ basis.mT).double(),
        (image @ basis.mT).double(),
        (probes @ after.mT).double(),
        (basis @ after.mT).double(),
        (probes * image).sum(-1).double(),
        probes.square().sum(-1).double(),
    )
    samples = parts.estimates(operator.size)
    # Each estimate dᵢ + tr A has its mean whatever the other vectors are, but it shares them with the other estimates.
    # So with dᵢ₍ⱼ₎, made without vector j, E dᵢdⱼ = E (dᵢ − dᵢ₍ⱼ₎)(dⱼ − dⱼ₍ᵢ₎): the covariance is seen, too.
    change = torch.zeros(m, m, dtype=torch.float64, device=samples.device)
    for j in range(m):
        others = torch.arange(m, device=samples.device) != j
        change[others, j] = samples[others] - parts.without(j).estimates(operator.size)
    covariance = float((change * change.mT).sum()) / (m * (m - 1))
    return float(samples.mean()), math.sqrt(float(samples.var()) / m + max(covariance, 0.0))


@dataclass(frozen=True)
class _Projected:
    """What XTrace needs of m vectors xᵢ with a basis Q of the range of their images: all small.

    Args:
        coordinates: Qᵀxᵢ as rows, (m, k).
        images: QᵀAxᵢ, (m, k).
        crossed: QᵀAᵀxᵢ, (m, k).
        inner: QᵀAQ, (k, k).
        forms: xᵢᵀAxᵢ, (m,).
        squares: ‖xᵢ‖², (m,).
    """

    coordinates: Tensor
    images: Tensor
    crossed: Tensor
    inner: Tensor
    forms: Tensor
    squares: Tensor

    def estimates(self, size: int) -> Tensor:
        """The leave-one-out estimates: with Q₍ᵢ₎ the range without vector i, tr Q₍ᵢ₎ᵀAQ₍ᵢ₎ + c xᵢᵀAxᵢ, xᵢ ⟂ Q₍ᵢ₎."""
        left_out = _left_out(self.images)
        # Coordinates of each vector in the range without itself.
        kept = self.coordinates - left_out * (left_out * self.coordinates).sum(-1, keepdim=True)
        inside = self.inner.diagonal().sum() - ((left_out @ self.inner) * left_out).sum(-1)
        form = self.forms - (self.crossed * kept).sum(-1) - (self.images * kept).sum(-1)
        form = form + ((kept @ self.inner) * kept).sum(-1)
        squared = self.squares - kept.square().sum(-1)
        # Rescaling each remainder to its average length takes the variance of the length out of the estimate.
        return inside + (size - len(kept) + 1) * form / squared

    def without(self, j: int) -> _Projected:
        """The same of the other vectors, in a basis of the range of theirs."""
        others = torch.arange(len(self.forms), device=self.forms.device) != j
        basis = _orthonormal(self.images[others])
        return _Projected(
            self.coordinates[others] @ basis.mT,
            self.images[others] @ basis.mT,
            self.crossed[others] @ basis.mT,
            basis @ self.inner @ basis.mT,
            self.forms[others],
            self.squares[others],
        )


def _xdiag(operator: Operator, m: int, generator: torch.Generator) -> Tensor:
    probes = signs_of(operator, m, generator)
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
    rows = (row for signs in sign_blocks(operator, products, generator) for row in signs * operator(signs))
    for i, sample in enumerate(rows):  # Welford's recurrence: few vectors held, whatever the number of products
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

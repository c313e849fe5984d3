"""Products, scans and series as compositions of elementary operations, right in every derivative.

torch's formulas are wrong in the third reverse derivative (`logcumsumexp`), in forward mode (`scatter_reduce` by
products), in forward mode inside of other derivatives (a zero among the factors of `prod` and `cumprod`), or at the
single point 0 (`sinc`, Bessel functions).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["PRODUCTS", "is_differentiable", "product", "wide"]


def _widened(function: Callable[..., Any]) -> Callable[..., Any]:
    """Half precision is accumulated in float32, as in torch's kernels."""

    @functools.wraps(function)
    def wider(input: Tensor, *args: Any, **kwargs: Any) -> Any:  # noqa: A002 - torch's names, may be given by keyword
        x = wide(input)
        found = function(x, *args, **kwargs)
        return found if found is NotImplemented or x is input or kwargs.get("dtype") else found.to(input.dtype)

    return wider


@_widened
def cumprod(input: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Tensor:  # noqa: A002 - as above
    """Returns running products along an axis."""
    x = input if dtype is None else input.to(dtype)
    return _scan(torch.mul, x, dim) if is_differentiable(x) and x.dim() else NotImplemented


@_widened
def logcumsumexp(input: Tensor, dim: int) -> Tensor:  # noqa: A002 - as above
    """Returns running log-sum-exps along an axis."""
    return _scan(torch.logaddexp, input, dim) if input.is_floating_point() and input.dim() else NotImplemented


@_widened
def prod(
    input: Tensor,  # noqa: A002 - as above
    dim: int | None = None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Returns the product of all elements, or along an axis."""
    x = input if dtype is None else input.to(dtype)
    if not is_differentiable(x) or x.dim() == 0 or isinstance(dim, str):
        return NotImplemented
    if dim is None:
        return product(x.reshape(-1), 0)
    out = product(x, dim)
    return out.unsqueeze(dim) if keepdim else out


@_widened
def scatter_reduce(
    input: Tensor,  # noqa: A002 - as above
    dim: int,
    index: Tensor,
    src: Tensor,
    reduce: str,
    *,
    include_self: bool = True,
) -> Tensor:
    """Multiplies the elements of `src` (…, K) into `input` (…, M) at an index, by a table (…, M, K)."""
    if reduce != "prod" or not is_differentiable(input) or input.dim() == 0 or index.numel() == 0:
        return NotImplemented
    whole, inner = input.movedim(dim, -1), index.movedim(dim, -1)
    lengths = [slice(length) for length in inner.shape[:-1]]
    part, source = whole[tuple(lengths)], wide(src).movedim(dim, -1)[(*lengths, slice(inner.shape[-1]))]
    hit = inner.unsqueeze(-2) == torch.arange(whole.shape[-1], device=input.device)[:, None]
    factors = product(torch.where(hit, source.unsqueeze(-2), torch.ones_like(source).unsqueeze(-2)), -1)
    part = part * factors if include_self else torch.where(hit.any(-1), factors, part)
    for axis, length in reversed(list(enumerate(inner.shape[:-1]))):
        rest = whole[tuple(lengths[:axis])].narrow(axis, length, whole.shape[axis] - length)
        part = torch.cat([part, rest], axis)
    return part.movedim(-1, dim).contiguous()


@_widened
def sinc(input: Tensor) -> Tensor:  # noqa: A002 - as above
    """Returns sin(πx)/(πx), by its series near 0."""
    if not input.is_floating_point():
        return NotImplemented
    y = math.pi * input
    near = y.detach().abs() < 1
    far = torch.where(near, torch.ones_like(y), y)
    terms = [(-1) ** k / math.factorial(2 * k + 1) for k in range(11)]
    return torch.where(near, _series(torch.where(near, y, 0.0).square(), terms), far.sin() / far)


@_widened
def i0(input: Tensor) -> Tensor:  # noqa: A002 - as above
    """Returns the modified Bessel function of order 0, by its series near 0."""
    return _bessel(torch.special.i0, input, [1 / (4**k * math.factorial(k) ** 2) for k in range(11)], 0)


@_widened
def i1(input: Tensor) -> Tensor:  # noqa: A002 - as above
    """Returns the modified Bessel function of order 1, by its series near 0."""
    terms = [0.5 / (4**k * math.factorial(k) * math.factorial(k + 1)) for k in range(11)]
    return _bessel(torch.special.i1, input, terms, 1)


def _bessel(function: Callable[[Tensor], Tensor], x: Tensor, terms: list[float], power: int) -> Tensor:
    if not x.is_floating_point():
        return NotImplemented
    near = x.detach().abs() < 1
    inner = torch.where(near, x, 0.0)
    series = _series(inner.square(), terms) * (inner if power else 1)
    return torch.where(near, series, function(torch.where(near, torch.ones_like(x), x)))


def _series(x: Tensor, terms: list[float]) -> Tensor:
    """Returns Σ termsₖ xᵏ by Horner's rule."""
    out = torch.full_like(x, terms[-1])
    for term in reversed(terms[:-1]):
        out = out * x + term
    return out


def _scan(combine: Callable[[Tensor, Tensor], Tensor], x: Tensor, dim: int) -> Tensor:
    """Combines every element with all before it, in log₂ n steps (Hillis and Steele 1986)."""
    n, shift = x.shape[dim], 1
    while shift < n:
        later = combine(x.narrow(dim, shift, n - shift), x.narrow(dim, 0, n - shift))
        x, shift = torch.cat([x.narrow(dim, 0, shift), later], dim), 2 * shift
    return x


def product(x: Tensor, dim: int) -> Tensor:
    """Returns the product along an axis, by halves."""
    while (n := x.shape[dim]) > 1:
        half = n // 2
        pairs = x.narrow(dim, 0, half) * x.narrow(dim, half, half)
        x = torch.cat([pairs, x.narrow(dim, n - 1, 1)], dim) if n % 2 else pairs
    return x.squeeze(dim) if x.shape[dim] else x.sum(dim) + 1


def wide(x: Tensor) -> Tensor:
    """Returns half precision as float32, anything else as it is."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def is_differentiable(x: Tensor) -> bool:
    """Whether a tensor can have a derivative."""
    return x.is_floating_point() or x.is_complex()


def _in_place(function: Callable[..., Any]) -> Callable[..., Any]:
    """The method that writes its result into the tensor."""

    @functools.wraps(function)
    def method(input: Tensor, *args: Any, **kwargs: Any) -> Any:  # noqa: A002 - as above
        found = function(input, *args, **kwargs)
        return found if found is NotImplemented else input.copy_(found)

    return method


_FUNCTIONS: dict[Callable[..., Any], tuple[Any, ...]] = {
    cumprod: (torch.cumprod, Tensor.cumprod),
    logcumsumexp: (torch.logcumsumexp, Tensor.logcumsumexp),
    prod: (torch.prod, Tensor.prod),
    scatter_reduce: (torch.scatter_reduce, Tensor.scatter_reduce),
    sinc: (torch.sinc, torch.special.sinc, Tensor.sinc),
    i0: (torch.i0, torch.special.i0, Tensor.i0),
    i1: (torch.special.i1,),
    _in_place(cumprod): (Tensor.cumprod_,),
    _in_place(scatter_reduce): (Tensor.scatter_reduce_,),
    _in_place(sinc): (Tensor.sinc_,),
    _in_place(i0): (Tensor.i0_,),
}

# The function as torch reports it -> its name in messages, its composition.
PRODUCTS: dict[Any, tuple[str, Callable[..., Any]]] = {
    key: (composition.__name__, composition) for composition, keys in _FUNCTIONS.items() for key in keys
}

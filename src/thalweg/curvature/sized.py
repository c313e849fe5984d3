"""Threads of linear algebra: by the length of its vectors or the size of its matrices; products choose their own."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from torch import Tensor

from thalweg import threads

__all__ = ["dense", "sized"]

VECTORS = 3e8
"""Nominal entries per second of one core that orthogonalises a vector against some dozens of others."""
MATRICES = 1e9
"""Nominal entries per second of one core that goes once through a matrix with a block of others."""

Function = TypeVar("Function", bound=Callable[..., Any])


def sized(function: Function) -> Function:
    """A function of (operator, …) that takes as many threads as vectors of that length pay for."""
    return _by(function, lambda operator: _length(operator) / VECTORS)


def dense(function: Function) -> Function:
    """A function of (matrix or objective, …) that takes as many threads as a matrix of that size pays for."""
    return _by(function, lambda operator: _length(operator) ** 2 / MATRICES)


def _length(operator: Any) -> int:
    """P of a matrix (…, P, P), an array, an operator or an objective; 0 of what the function will refuse."""
    if isinstance(operator, Tensor) or hasattr(operator, "shape"):
        return operator.shape[-1] if len(operator.shape) else 0
    size = getattr(operator, "size", 0)
    return size if isinstance(size, int) else 0


def _by(function: Function, seconds: Callable[[Any], float]) -> Function:
    @functools.wraps(function)
    def with_threads(operator: Any, *args: Any, **kwargs: Any) -> Any:
        with threads.chosen(seconds(operator)):
            return function(operator, *args, **kwargs)

    return cast("Function", with_threads)

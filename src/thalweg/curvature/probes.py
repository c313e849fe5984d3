"""Random signs (Rademacher vectors), the probes of stochastic estimates."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from thalweg.curvature.operator import Operator

__all__ = ["sign_blocks", "signs_of"]

TOGETHER, HELD = 8, 2**28  # vectors that are multiplied together at most, and their bytes


def signs_of(operator: Operator, count: int, generator: torch.Generator) -> Tensor:
    """Random signs (count, P) for an operator; row i does not depend on the count."""
    rows = [torch.randint(0, 2, (operator.size,), generator=generator, dtype=torch.int8) for _ in range(count)]
    return (2 * torch.stack(rows) - 1).to(operator.device, operator.dtype)


def sign_blocks(operator: Operator, count: int, generator: torch.Generator) -> Iterator[Tensor]:
    """The same signs in blocks (b, P): vectors that are multiplied together share one differentiated graph."""
    together = max(1, min(TOGETHER, HELD // (operator.size * operator.dtype.itemsize)))
    for start in range(0, count, together):
        yield signs_of(operator, min(together, count - start), generator)

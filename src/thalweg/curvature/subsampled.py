"""Operators on samples drawn from the data: what an estimate makes of them, with the error of the draw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from thalweg.curvature.operator import Operator, hessian_operator
from thalweg.errors import InputError
from thalweg.objective import Objective, replica_seed
from thalweg.objective.drawing import Draw, draw
from thalweg.progress import each

__all__ = ["OnParts", "on_parts", "ritz_errors"]


@dataclass(frozen=True)
class OnParts:
    """The operator on disjoint parts of the samples that were drawn.

    Attributes:
        draw: The samples.
        source: The objective on all data, and what makes the operator of one on some of them.
        seed: Of the draw.
    """

    draw: Draw
    source: tuple[Objective, Any]
    seed: int

    def __iter__(self) -> Iterator[tuple[Operator, int]]:
        """The operator on every part, and a seed for it."""
        for number, part in enumerate(each("subsets", self.draw.parts)):
            yield self.source[1](part), replica_seed(self.seed, number, "subset")

    def whole(self) -> Operator:
        """The operator on all samples that were drawn."""
        return self.source[1](self.draw.drawn)

    def without(self) -> Iterator[Operator]:
        """The operator on all samples that were drawn but those of one part, for every part."""
        parts = torch.arange(self.draw.size).tensor_split(len(self.draw.parts))
        for number in each("subsets", range(len(parts))):
            rest = torch.cat([part for k, part in enumerate(parts) if k != number])
            yield self.source[1](self.draw.drawn.subset(rest))

    def jackknifed(self, estimate: Tensor, left_out: list[Tensor]) -> Tensor:
        """Error by the draw of an estimate that is not linear in the samples: scatter and bias together.

        The delete-a-group jackknife (Shao & Tu 1995, "The Jackknife and Bootstrap", §2.3). n of N samples leave a share
        1 − n/N of the variance, and of a bias that falls like 1/n.

        Args:
            estimate: Of all that were drawn, (…).
            left_out: The same without each part, from the same random vectors, K of (…).

        Returns:
            The root of the mean squared error, (…).
        """
        values, count, left = torch.stack(left_out), len(left_out), 1.0 - self.draw.share
        variance = (count - 1) / count * (values - values.mean(0)).square().sum(0) * left
        bias = (count - 1) * (values.mean(0) - estimate) * left
        return (variance + bias.square()).sqrt()


def on_parts(operator: Any, samples: int, subsets: int, seed: int) -> OnParts:
    """Draws samples for an operator, whose own products are not used.

    Raises:
        InputError: An operator that is of no objective, or samples that cannot be drawn.
    """
    if isinstance(operator, Objective):
        theta = operator.theta
        source = operator, lambda part: hessian_operator(part, theta)
    elif isinstance(operator, Operator) and operator.source is not None:
        source = operator.source
    else:
        found = f"the {operator.label}" if isinstance(operator, Operator) else type(operator).__name__
        raise InputError(
            "samples needs the operator of an objective (hessian_operator, ggn_operator, fisher_operator), found "
            f"{found}"
        )
    return OnParts(draw(source[0], samples, subsets, seed), source, seed)


def ritz_errors(found: OnParts, vectors: Tensor) -> Tensor:
    """Errors of eigenvalues by the samples, to first order: the scatter of vᵀHv over the parts, (K,).

    Args:
        found: The samples.
        vectors: Eigenvectors of the operator on all that were drawn, (K, P).
    """
    forms = torch.stack([(vectors * one(vectors)).sum(-1).double() for one, _ in found])
    return found.draw.pooled(forms)[2]

"""The error of a quantity that was measured on a subset of the data: the same quantity on several disjoint subsets."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from thalweg.curvature.estimates import SubsetEstimate
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.objective.arguments import as_objective
from thalweg.objective.precision import precision
from thalweg.progress import each

__all__ = ["over_subsets"]


@declared
def over_subsets(
    objective: Objective,
    function: Callable[[Objective], Tensor],
    size: int,
    *,
    subsets: int = 8,
    linear: bool = False,
    seed: int = 0,
) -> SubsetEstimate:
    """Measures a quantity on disjoint random subsets of the data, and so how far one of them can be trusted.

    A quantity that is linear in the data (loss, gradient, a Hessian-vector product, a trace) is estimated without bias.
    One that is not, such as the largest eigenvalue, is biased upwards on small subsets (Jensen: λmax is convex in H):
    the error given here is the scatter, and comparing two sizes shows the bias.

    Args:
        objective: Its data must be tensors or a dataset held in memory: batches that were handed over are never cut.
        function: Maps the objective on a subset to the quantity, a tensor of any shape (…).
        size: Samples n in each subset.
        subsets: Number of subsets K, at least 2; K·n may not exceed N.
        linear: Whether the quantity is a mean over samples. Then the errors of disjoint subsets cancel in part, wholly
            where together they are all of the data, and the standard error says so.
        seed: Of the random partition.

    Returns:
        Values, mean, and its standard error s/√K, rather too large since the subsets are disjoint; for a `linear`
        quantity s·√((1 − K·n/N)/K), which is 0 where the subsets are all of the data.

    Raises:
        InputError: Too few samples for that many subsets, or data that cannot be cut.

    Example:
        >>> model = torch.nn.Linear(3, 1)
        >>> objective = Objective(model, torch.nn.MSELoss(), (torch.randn(64, 3), torch.randn(64, 1)))
        >>> found = over_subsets(objective, lambda part: part.value(part.theta), 16, subsets=4, linear=True)
        >>> torch.allclose(found.mean, objective.value(objective.theta)), float(found.standard_error)
        (True, 0.0)
    """
    as_objective(objective)
    if not callable(function):
        raise InputError(f"function must take an objective and return a tensor, found {type(function).__name__}")
    if subsets < 2:
        raise InputError(f"subsets must be at least 2 to show an error, found {subsets}")
    if size < 1 or size * subsets > objective.samples:
        raise InputError(
            f"size must be from 1 to {objective.samples // subsets} for {subsets} disjoint subsets of "
            f"{objective.samples} samples, found {size}"
        )
    order = torch.randperm(objective.samples, generator=torch.Generator().manual_seed(seed))
    parts = order[: subsets * size].reshape(subsets, size)
    values = torch.stack([function(objective.subset(part)).detach() for part in each("subsets", parts.unbind())])
    spread = values.std(0)
    missing = 1 - subsets * size / objective.samples if linear else 1.0
    error = spread * (missing / subsets) ** 0.5
    return SubsetEstimate(values, values.mean(0), error, spread, size, objective.samples, precision(objective))

"""Points that are critical for a reason of their own, and therefore no sample of the generic ones."""

from __future__ import annotations

import torch
from torch import Tensor

from thalweg.critical.problem import ObjectiveProblem, Problem
from thalweg.objective import Objective

__all__ = ["kinds"]

NOTHING = 1e-7  # share of a whole below which a part counts as zero


def kinds(problem: Problem, theta: Tensor, given: str = "generic") -> tuple[str, ...]:
    """Names the kind of each point.

    - "constant predictor": the outputs do not depend on the inputs.
    - "embedded": a hidden unit has neither incoming nor outgoing weights, so the point belongs to a narrower network.
    - "low-rank": consecutive linear layers use fewer directions than they have units.

    Args:
        problem: The function.
        theta: (R, P).
        given: For points that are none of these: how they were made.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(1, 2), torch.nn.Tanh(), torch.nn.Linear(2, 1))
        >>> objective = Objective(model, torch.nn.MSELoss(), (torch.randn(5, 1), torch.randn(5, 1)))
        >>> kinds(ObjectiveProblem(objective), torch.tensor([[1.0, 0, 0, 0, 1, 0, 0], [1, 1, 0, 0, 1, 1, 0]]).double())
        ('embedded', 'generic')
    """
    named = [given] * len(theta)
    if not isinstance(problem, ObjectiveProblem) or problem.objective.loss_on != "output":
        return tuple(named)
    for name, rows in (
        *_of_stack(problem.objective, theta),
        ("constant predictor", _constant(problem.objective, theta)),
    ):
        for r in (rows & theta.isfinite().all(1)).nonzero()[:, 0].tolist():
            named[r] = name
    return tuple(named)


def _constant(objective: Objective, theta: Tensor) -> Tensor:
    outputs = objective.outputs(theta)
    spread = (outputs - outputs.mean(1, keepdim=True)).flatten(1).norm(dim=1)
    scale = outputs.flatten(1).norm(dim=1) + 1e-12 * outputs[0].numel() ** 0.5
    return (spread <= NOTHING * scale.clamp(min=1e-6)) & scale.isfinite()


def _of_stack(objective: Objective, theta: Tensor) -> list[tuple[str, Tensor]]:
    stack, layout = objective.stack, objective.layout
    if stack is None or any(name not in layout.slices for name in stack.weights):
        return []
    parts = layout.unravel(theta.nan_to_num(0, 0, 0))
    scale = NOTHING * theta.norm(dim=1)
    found = []
    for l, (first, second) in enumerate(zip(stack.weights, stack.weights[1:], strict=False)):
        incoming, outgoing = parts[first].norm(dim=2), parts[second].norm(dim=1)
        if stack.activations[l].name == "identity":
            product = parts[second] @ parts[first]
            units = parts[first].shape[1]
            if min(product.shape[1:]) >= units:
                sizes = torch.linalg.svdvals(product.nan_to_num(0, 0, 0))
                low = sizes[:, units - 1] <= NOTHING * sizes[:, 0]
                found.append(("low-rank", low & product.isfinite().flatten(1).all(1)))
        else:
            found.append(("embedded", ((incoming <= scale[:, None]) & (outgoing <= scale[:, None])).any(1)))
    return found

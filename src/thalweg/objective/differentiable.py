"""Whether second derivatives are there: refusals of autograd as sentences, and a check of custom operations.

Autograd raises for built-in operations without a second derivative. A custom `torch.autograd.Function` whose backward
pass leaves the graph (`@once_differentiable`, NumPy, `.detach()`) is worse: its part of the second derivative is
silently zero. So models with custom functions have one product compared with finite differences of the gradient.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction

from thalweg.errors import InputError
from thalweg.objective.batches import Batch
from thalweg.objective.layout import ParameterLayout
from thalweg.objective.program import Program, twice_differentiable

__all__ = ["check", "custom_functions", "naming_refusals"]


@contextmanager
def naming_refusals() -> Iterator[None]:
    """Turns autograd's errors about missing second derivatives into an `InputError` that names the operation."""
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        missing = re.search(r"derivative for (\S+) is not implemented", text)
        if missing:
            operation = missing[1].removeprefix("aten::")
        elif "once_differentiable" in text:
            operation = "a custom function marked with @once_differentiable"
        elif "does not currently support double backward" in text:
            operation = "a compiled model (torch.compile)"
        else:
            raise
        raise InputError(
            f"model and loss must be twice differentiable for second derivatives, found {operation}, "
            "which has no second derivative"
        ) from error


def custom_functions(value: Tensor) -> tuple[str, ...]:
    """Names of the `torch.autograd.Function` subclasses in the graph of a value, sorted.

    Example:
        >>> custom_functions((torch.ones(2, requires_grad=True) ** 2).sum())
        ()
    """
    names: set[str] = set()
    seen: set[object] = set()
    waiting = [value.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if isinstance(node, BackwardCFunction):
            names.add(type(node).__name__.removesuffix("Backward"))
        waiting += [following for following, _ in node.next_functions]
    return tuple(sorted(names))


def check(program: Program, layout: ParameterLayout, theta: Tensor, batch: Batch) -> None:
    """Compares one Hessian-vector product with central differences of the gradient, if there are custom functions.

    Args:
        program: Evaluates the loss.
        layout: Places parameters in theta.
        theta: Where, (P,).
        batch: A small batch.

    Raises:
        InputError: They differ by more than finite differences can, or autograd refuses.
    """

    def gradient(at: Tensor, v: Tensor | None = None) -> Tensor:
        leaf = at.detach().clone().requires_grad_()
        with torch.enable_grad(), twice_differentiable(), naming_refusals():
            loss = program.loss_one(layout.unravel(leaf), batch)
            (first,) = torch.autograd.grad(loss, leaf, create_graph=v is not None)
            if v is None or not first.requires_grad:
                return first if v is None else torch.zeros_like(at)
            (second,) = torch.autograd.grad(first, leaf, v, materialize_grads=True)
        return second

    leaf = theta.detach().clone().requires_grad_()
    with torch.enable_grad(), twice_differentiable():
        names = custom_functions(program.loss_one(layout.unravel(leaf), batch))
    if not names:
        return
    norm = torch.linalg.vector_norm
    v = torch.randn(theta.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(theta)
    v = v / norm(v)
    epsilon = torch.finfo(theta.dtype).eps
    step = epsilon ** (1 / 3) * max(1.0, float(norm(theta)))
    measured = (gradient(theta + step * v) - gradient(theta - step * v)) / (2 * step)
    exact = gradient(theta, v)
    scale = float(torch.maximum(norm(measured), norm(exact)))
    noise = epsilon * float(norm(gradient(theta))) / step
    error = float(norm(exact - measured))
    if error > 0.05 * scale + 10 * noise:
        raise InputError(
            f"model and loss must be twice differentiable for second derivatives, found custom function "
            f"{', '.join(names)}: a Hessian-vector product through it differs by {error / scale:.2g} (relative) from "
            f"finite differences of the gradient"
        )

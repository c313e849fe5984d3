"""Whether second derivatives are there: refusals of autograd as sentences, and a check of custom operations.

Autograd raises for built-in operations without a second derivative. A custom `torch.autograd.Function` whose backward
pass leaves the graph (`@once_differentiable`, NumPy, `.detach()`) is worse: its part of the second derivative is
silently zero. So models with custom functions have one product compared with finite differences of the gradient.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction

from thalweg.errors import InputError
from thalweg.objective.batches import Batch
from thalweg.objective.layout import ParameterLayout
from thalweg.objective.program import Program, nodes, twice_differentiable

__all__ = ["check", "custom_functions", "first_line", "kinks", "naming_refusals"]

# Nodes of piecewise-linear operations: autograd's Hessian misses the jumps of the gradient there.
KINKED = {
    "ReluBackward0": "ReLU",
    "LeakyReluBackward0": "LeakyReLU",
    "HardtanhBackward0": "Hardtanh",
    "HardswishBackward0": "Hardswish",
    "HardsigmoidBackward0": "Hardsigmoid",
    "PreluKernelBackward0": "PReLU",
    "RreluWithNoiseBackward0": "RReLU",
    "ThresholdBackward0": "Threshold",
    "SoftshrinkBackward0": "Softshrink",
    "HardshrinkBackward0": "Hardshrink",
    "MaxPool2DWithIndicesBackward0": "max pooling",
    "MaxPool3DWithIndicesBackward0": "max pooling",
    "AdaptiveMaxPool2DBackward0": "max pooling",
    "AdaptiveMaxPool3DBackward0": "max pooling",
    "AbsBackward0": "abs",
    "ClampBackward0": "clamp",
    "ClampBackward1": "clamp",
    "ClampMinBackward0": "clamp",
    "ClampMaxBackward0": "clamp",
    "MaximumBackward0": "maximum",
    "MinimumBackward0": "minimum",
    "AmaxBackward0": "max",
    "MaxBackward0": "max",
    "MaxBackward1": "max",
    "AminBackward0": "min",
    "MinBackward0": "min",
    "MinBackward1": "min",
    "MedianBackward1": "median",
    "SortBackward0": "sort",
    "TopkBackward0": "topk",
    "MultiMarginLossBackward0": "multi_margin_loss",
    "MultilabelMarginLossBackward0": "multilabel_margin_loss",
}
# Built-in operations whose second derivative autograd gets wrong without a word: saved norms are taken for constants.
WRONG = ("WeightNormInterfaceBackward0",)


@contextmanager
def naming_refusals() -> Iterator[None]:
    """Turns autograd's errors about missing second derivatives into an `InputError` that names the operation."""
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        if "compatible with .grad()" in text:
            raise InputError(
                "model must use checkpoints that torch.autograd.grad can differentiate, found "
                "torch.utils.checkpoint with use_reentrant=True: pass use_reentrant=False"
            ) from error
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


def first_line(error: BaseException) -> str:
    """The first line of an error's message, of bounded length."""
    text = str(error).strip()
    return text.splitlines()[0][:160] if text else type(error).__name__


def custom_functions(value: Tensor) -> tuple[str, ...]:
    """Names of the `torch.autograd.Function` subclasses (and of `WRONG` operations) in the graph of a value, sorted.

    Example:
        >>> custom_functions((torch.ones(2, requires_grad=True) ** 2).sum())
        ()
    """
    names = {
        type(node).__name__.removesuffix("Backward")
        for node in nodes(value)
        if isinstance(node, BackwardCFunction) or type(node).__name__ in WRONG
    }
    return tuple(sorted(names))


def kinks(value: Tensor) -> tuple[str, ...]:
    """Names of the piecewise-linear operations in the graph of a value, sorted.

    Example:
        >>> kinks(torch.nn.functional.l1_loss(torch.ones(2, requires_grad=True).relu(), torch.zeros(2)))
        ('ReLU', 'abs')
    """
    names = {KINKED[type(node).__name__] for node in nodes(value) if type(node).__name__ in KINKED}
    if any(
        type(node).__name__ == "EluBackward0" and node._saved_alpha * node._saved_input_scale != 1
        for node in nodes(value)
    ):
        names.add("ELU")  # its slopes on the two sides of 0 differ; SELU is one
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
    if not names and not program.mutates:
        return
    norm = torch.linalg.vector_norm
    v, drawn = torch.randn(2, *theta.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(theta)
    v = v / norm(v)
    strict = program.mutates and theta.dtype == torch.float64
    if program.mutates:  # a norm found by iteration, say, has converged where the model stands and nowhere else
        theta = theta + 0.1 * drawn
    epsilon = torch.finfo(theta.dtype).eps
    step = epsilon ** (1 / 3) * max(1.0, float(norm(theta)))
    measured = (gradient(theta + step * v) - gradient(theta - step * v)) / (2 * step)
    exact = gradient(theta, v)
    scale = float(torch.maximum(norm(measured), norm(exact)))
    noise = epsilon * float(norm(gradient(theta))) / step
    error = float(norm(exact - measured))
    if error > (1e-3 if strict else 0.05) * scale + 10 * noise:
        what = f"custom function {', '.join(names)}" if names else "a forward pass that computes buffers from theta"
        raise InputError(
            f"model and loss must be twice differentiable for second derivatives, found {what}: "
            f"a Hessian-vector product through it differs by {error / scale:.2g} (relative) from finite differences of "
            "the gradient"
        )

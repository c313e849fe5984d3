"""What a graph of autograd tells about its derivatives: missing ones, kinks, custom functions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor
from torch.autograd.function import BackwardCFunction

from thalweg.errors import InputError
from thalweg.objective.graph import nodes

__all__ = ["custom_functions", "kinks", "naming_refusals"]

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


# What torch says of a checkpoint whose contexts serve one backward pass: selective ones, and generators (debug=True).
ONCE = (
    "backward once on any region computed under selective activation checkpoint",
    "'_GeneratorContextManager' object has no attribute 'args'",
)


@contextmanager
def naming_refusals() -> Iterator[None]:
    """Turns autograd's errors about missing second derivatives into an `InputError` that names the operation."""
    try:
        yield
    except (RuntimeError, AttributeError) as error:
        text = str(error)
        if any(sign in text for sign in ONCE):
            raise InputError(
                "model must use checkpoints that can be computed again more than once for second derivatives, found "
                "torch.utils.checkpoint with contexts that can be entered only once (context_fn= with selective "
                "checkpointing, or debug=True): leave them out for this analysis"
            ) from error
        if "compatible with .grad()" in text:
            raise InputError(
                "model must use checkpoints that torch.autograd.grad can differentiate, found "
                "torch.utils.checkpoint with use_reentrant=True: pass use_reentrant=False"
            ) from error
        if "modified by an inplace operation" in text:
            raise InputError(
                "model and loss must be differentiable by autograd, found that the forward pass writes into a tensor "
                "which the backward pass needs; models that keep a state in evaluation mode may work in model.train()"
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


def custom_functions(value: Tensor) -> tuple[str, ...]:
    """Names of the `torch.autograd.Function` subclasses (and of `WRONG` operations) in the graph of a value, sorted.

    Example:
        >>> import torch
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
        >>> import torch
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

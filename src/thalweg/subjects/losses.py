"""Losses by name, targets in the form that a loss compares, and what a loss of the user's is called on."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thalweg.errors import InputError, brief
from thalweg.objective.targets import accuracy
from thalweg.subjects.names import check_name

__all__ = ["LOSSES", "called", "fitted", "functions", "loss_on", "named"]

LOSSES: Mapping[str, Callable[[], nn.Module]] = {  # by the names of `names.NAMES`
    "cross-entropy": nn.CrossEntropyLoss,
    "nll": nn.NLLLoss,
    "mse": nn.MSELoss,
    "l1": nn.L1Loss,
    "huber": nn.HuberLoss,
    "bce": nn.BCEWithLogitsLoss,
}
_CLASSES = ("cross-entropy", "nll")  # compare scores with class numbers; the others compare number with number
_MODELS = ("model", "module", "net", "network")


def named(name: str, kind: str) -> tuple[nn.Module, bool]:
    """The loss of a name, and whether it compares with class numbers.

    Args:
        name: One of `LOSSES`, or auto: cross-entropy for classes, mean squared error for values.
        kind: Of the task.

    Raises:
        InputError: A loss that does not fit the targets, or batches that no named loss understands.
    """
    check_name(name)
    if name == "auto":
        name = "mse" if kind == "regression" else "cross-entropy"
    if name in _CLASSES and kind == "regression":
        raise InputError(f"loss must be mse or auto for a task whose targets are values, found {name}")
    return LOSSES[name](), name in _CLASSES


def loss_on(loss: Any) -> Literal["output", "batch"]:
    """What a loss of the user's is called on: (model, batch) if its first argument is called model, or is one.

    >>> loss_on(lambda model, batch: 0), loss_on(lambda outputs, targets: 0), loss_on(nn.MSELoss())
    ('batch', 'output', 'output')
    """
    try:
        first, *_ = inspect.signature(loss.forward if isinstance(loss, nn.Module) else loss).parameters.values()
    except (TypeError, ValueError):  # built in, or without arguments
        return "output"
    typed = isinstance(first.annotation, type) and issubclass(first.annotation, nn.Module)
    written = isinstance(first.annotation, str) and first.annotation.rpartition(".")[2] == "Module"
    return "batch" if first.name in _MODELS or typed or written else "output"


def functions(given: Any) -> dict[str, Callable[..., Tensor]]:
    """Metrics by name: of a dict as they are, of one function or a list by the functions' own names.

    Raises:
        InputError: Something else.
    """
    if isinstance(given, Mapping):
        found = {str(name): function for name, function in given.items()}
    else:
        several = given if isinstance(given, list | tuple) else [given]
        found = {getattr(one, "__name__", type(one).__name__): one for one in several}
    if wrong := next((one for one in found.values() if not callable(one)), None):
        raise InputError(f"metrics must be a function, or functions by name, found {brief(wrong)}")
    return found


def called(loss: Any, what: str = "loss") -> Callable[..., Tensor]:
    """A loss as it is called: a function or module; a class of module is made first.

    Raises:
        InputError: Nothing that can be called.
    """
    if isinstance(loss, type) and issubclass(loss, nn.Module):
        loss = loss()
    if not callable(loss):
        raise InputError(f"{what} must be a function of (outputs, targets) or (model, batch), found {brief(loss)}")
    return loss


def fitted(
    data: Any, output: Tensor, outputs: int, dtype: torch.dtype, loss: nn.Module
) -> tuple[Any, Callable[..., Tensor] | None]:
    """(inputs, targets) with targets in the shape of outputs, for a loss that compares number with number.

    Args:
        data: Inputs and targets: class numbers (N,), or values.
        output: Of the model for some samples (n, …).
        outputs: Number of classes.
        dtype: Of the targets.
        loss: The loss.

    Returns:
        The data, and the accuracy that belongs to them; None for values. Of classes and one output per sample, the
        targets are the class numbers themselves (0 or 1); of several outputs 1 at the class and 0 elsewhere.
    """
    inputs, targets = data
    shape, each = output.shape[1:], output[0].numel()
    if targets.is_floating_point():
        return (inputs, targets.reshape(len(targets), *shape) if targets[0].numel() == each else targets), None
    if each == 1:
        middle = 0.0 if isinstance(loss, nn.BCEWithLogitsLoss) else 0.5
        return (inputs, targets.to(dtype).reshape(len(targets), *shape)), partial(_same_side, middle)
    return (inputs, F.one_hot(targets, outputs).to(dtype)), _same_class


def _same_class(output: Tensor, target: Tensor) -> Tensor:
    """Accuracy of scores (N, C) against targets that are 1 at the class and 0 elsewhere (N, C)."""
    return accuracy(output, target.argmax(1))


def _same_side(middle: float, output: Tensor, target: Tensor) -> Tensor:
    """Accuracy of one number per sample against classes 0 and 1: a logit is above 0, a probability above ½."""
    return ((output > middle) == (target > 0.5)).to(output.dtype).mean()

"""What the targets of a loss mean: which of them count, and which are classes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thalweg.errors import InputError
from thalweg.objective.batches import Batches, sample_count
from thalweg.objective.containers import as_tensor, leaves, rebuilt
from thalweg.objective.structure import loss_kind

__all__ = ["accuracy", "check", "counted", "explained", "leaves_out", "of_classes", "prepared", "right"]

# Losses that fail on integer targets, or whose backward pass does.
_FLOATING = (nn.BCELoss, nn.BCEWithLogitsLoss, nn.HuberLoss)
_FLOATING_FUNCTIONS = (F.binary_cross_entropy, F.binary_cross_entropy_with_logits, F.huber_loss)
_TYPES = re.compile(r"dtype|\btype\b|Byte|Long|Char|Short|Bool|\bInt\b|unsigned char")  # in what torch says


def counted(loss: Any) -> Callable[[Any], int] | None:
    """How a batch counts in a loss that is the mean over its targets: those that are not left out."""
    plain = type(loss) in (nn.CrossEntropyLoss, nn.NLLLoss) and loss.reduction == "mean" and loss.weight is None
    if not plain and loss not in (F.cross_entropy, F.nll_loss):
        return None

    def count(batch: Any) -> int:
        target = batch[1] if isinstance(batch, tuple | list) and len(batch) == 2 else None
        if not isinstance(target, Tensor) or target.is_floating_point():
            return sample_count(batch)
        return int((target != getattr(loss, "ignore_index", -100)).sum())

    return count


def takes_classes(loss: Any) -> bool:
    """Whether a loss is one of torch's that compare scores with class numbers."""
    return isinstance(loss, nn.CrossEntropyLoss | nn.NLLLoss) or loss in (F.cross_entropy, F.nll_loss)


def prepared(loss: Any) -> Callable[[Any], Any] | None:
    """What is done to the targets of every batch for a loss of torch's: the type that it wants, of the same numbers.

    Class numbers of another integer type become int64; integers for a binary cross-entropy or a Huber loss floating.
    """
    if takes_classes(loss):
        wanted = torch.int64
    elif isinstance(loss, _FLOATING) or loss in _FLOATING_FUNCTIONS:
        wanted = torch.float64  # and then the objective's
    else:
        return None

    def prepare(batch: Any) -> Any:
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            return batch
        target = batch[1]
        if isinstance(target, np.ndarray) and target.dtype.kind in "bui":
            target = as_tensor(target)
        if not isinstance(target, Tensor) or target.is_floating_point() or target.is_complex():
            return batch
        return rebuilt(batch, [*leaves(batch)[:-1], target.to(wanted)])

    return prepare


def check(loss: Any, batches: Batches, output: Any, target: Any) -> None:
    """Checks that the targets of a few samples can be compared with their outputs, and all class numbers.

    Raises:
        InputError: Another shape or type than the loss compares, or a class that the outputs do not have.
    """
    if loss_kind(loss) == "mse" and output.shape != getattr(target, "shape", None):
        found = tuple(target.shape) if isinstance(target, Tensor) else type(target).__name__
        raise InputError(
            "data targets must have the shape of the model's output for a squared error, "
            f"found targets {found} and outputs {tuple(output.shape)}"
        )
    if not takes_classes(loss) or not isinstance(output, Tensor) or not isinstance(target, Tensor):
        return
    if output.dim() < 2:
        return
    probabilities = isinstance(loss, nn.CrossEntropyLoss) or loss is F.cross_entropy
    if probabilities and target.is_floating_point() and target.shape == output.shape:
        return
    _check_form(output, target, probabilities)
    ignored, count = ignored_class(loss), output.shape[1]
    for other in [target, *(batch[1] for batch in batches.held)]:
        if not isinstance(other, Tensor) or other.is_floating_point():
            continue
        wrong = other[(other != ignored) & ((other < 0) | (other >= count))]
        if len(wrong):
            raise InputError(
                f"data targets must be class numbers from 0 to {count - 1} for outputs {tuple(output.shape)}, "
                f"found {int(wrong[0])}"
            )


def _check_form(output: Tensor, target: Tensor, probabilities: bool) -> None:
    """Checks class targets for outputs (N, C, …): int64 of shape (N, …)."""
    shape = (output.shape[0], *output.shape[2:])
    whole = not target.is_floating_point()
    if tuple(target.shape) == shape and whole:
        return
    rule = f"int64 class numbers of shape {shape}"
    if probabilities:
        rule += f" or probabilities of shape {tuple(output.shape)}"
    call = ""
    if tuple(target.shape) == shape:
        call = ": pass targets.long()"
    elif target.shape == output.shape:
        call = ": pass targets.argmax(1)" + (" or targets.float()" if probabilities else "")
    elif [size for size in target.shape if size != 1] == [size for size in shape if size != 1]:
        call = f": pass targets.reshape{(-1, *shape[1:])}".replace(",)", ")") + ("" if whole else ".long()")
    kind = str(target.dtype).removeprefix("torch.")
    raise InputError(f"data targets must be {rule}, found {kind} of shape {tuple(target.shape)}{call}")


@contextmanager
def explained(inputs: Any) -> Iterator[None]:
    """Says of a model that fails on integer inputs what they must be converted to."""
    try:
        yield
    except (RuntimeError, NotImplementedError) as error:
        kinds = [leaf.dtype for leaf in leaves(inputs) if isinstance(leaf, Tensor)]
        whole = [str(kind).removeprefix("torch.") for kind in kinds if not (kind.is_floating_point or kind.is_complex)]
        text = str(error)
        if not whole or not _TYPES.search(text):
            raise
        call = "inputs.long()" if "indices" in text else "inputs.float()"
        if whole[0] == "uint8" and "indices" not in text:
            call += " / 255 (as the model was trained)"
        raise InputError(
            f"data inputs must be of a type that the model computes with, found {whole[0]}: pass {call}; torch says "
            f'"{text.splitlines()[0]}"'
        ) from error


def ignored_class(loss: Any) -> int | None:
    """The class that a loss on the output leaves out, if it has one."""
    return getattr(loss, "ignore_index", -100 if loss in (F.cross_entropy, F.nll_loss) else None)


def leaves_out(loss: Any, batches: Batches, *, on_batch: bool = False) -> bool:
    """Whether the loss ignores some of the targets, however few, or weighs them: no plain mean over samples."""
    if isinstance(getattr(loss, "weight", None), Tensor):
        return True
    index = None if on_batch else ignored_class(loss)
    if index is None:
        return False
    targets = [batch[1] for batch in batches.held]
    classes = [one for one in targets if isinstance(one, Tensor) and not one.is_floating_point()]
    return any(bool((target == index).any()) for target in classes)


def of_classes(loss: Any, batches: Batches, output: Any, target: Any) -> dict[str, Callable[..., Tensor]]:
    """Accuracy where targets are class numbers and outputs are scores of classes."""
    if not isinstance(target, Tensor) or target.is_floating_point() or not isinstance(output, Tensor):
        return {}
    # Torch's losses take classes on the second axis, others often on the last. Where both would fit, nobody knows.
    axes = {axis for axis in (1, output.dim() - 1) if (*output.shape[:axis], *output.shape[axis + 1 :]) == target.shape}
    if type(loss).__module__.startswith("torch.nn") or loss in (F.cross_entropy, F.nll_loss):
        axes &= {1}
    if len(axes) != 1 or output.shape[max(axes)] < 2:
        return {}
    ignored = ignored_class(loss) if batches.loader is not None or leaves_out(loss, batches) else None
    if axes == {1} and ignored is None:
        return {"accuracy": accuracy}
    return {"accuracy": partial(accuracy, axis=max(axes), ignored=ignored)}


def accuracy(output: Tensor, target: Tensor, *, axis: int = 1, ignored: int | None = None) -> Tensor:
    """Share of samples whose largest score is that of their class: scores (N, C, …), classes (N, …) -> scalar.

    Args:
        output: Scores.
        target: Classes.
        axis: The axis of the classes in the scores.
        ignored: The class that marks targets which do not count, such as padding.
    """
    hits = right(output, target, axis)
    if ignored is None:
        return hits.mean()
    kept = (target != ignored).to(output.dtype)
    return (hits * kept).sum() / kept.sum()


def right(output: Tensor, target: Tensor, axis: int = 1) -> Tensor:
    """1 where the largest score is that of the class, else 0: scores (…, C, …), classes (…) -> (…).

    NaN where a score is: `argmax` would name the place of the first NaN, and a network that gives nothing but NaN would
    have the accuracy of a guess.

    >>> right(torch.tensor([[0.1, 0.9], [0.9, 0.1], [torch.nan, 0.1]]), torch.tensor([1, 1, 0]))
    tensor([1., 0., nan])
    """
    best, place = output.max(axis)
    return torch.where(best.isnan(), best, (place == target).to(output.dtype))

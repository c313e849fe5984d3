"""What the targets of a loss mean: which of them count, and which are classes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thalweg.objective.batches import sample_count

if TYPE_CHECKING:
    from thalweg.objective.assembly import Assembly, Metric

__all__ = ["accuracy", "counted", "default_metrics", "leaves_out", "right"]


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


def ignored_class(objective: Assembly) -> int | None:
    """The class that the loss leaves out, if it has one."""
    if objective.loss_on == "batch":
        return None
    return getattr(objective.loss, "ignore_index", -100 if objective.loss in (F.cross_entropy, F.nll_loss) else None)


def leaves_out(objective: Assembly) -> bool:
    """Whether the loss ignores some of the targets, however few, or weighs them: no plain mean over samples."""
    if isinstance(getattr(objective.loss, "weight", None), Tensor):
        return True
    index = ignored_class(objective)
    if index is None:
        return False
    targets = [batch[1] for batch in objective.batches.held]
    classes = [one for one in targets if isinstance(one, Tensor) and not one.is_floating_point()]
    return any(bool((target == index).any()) for target in classes)


def default_metrics(objective: Assembly) -> dict[str, Metric]:
    """Accuracy where targets are class numbers and outputs are scores of classes."""
    if objective.loss_on == "batch":
        return {}
    batch = objective.batches.first(2)
    with torch.no_grad():
        output = objective.program.output_one(objective.layout.unravel(objective.theta), batch)
    target = batch[1]
    if not isinstance(target, Tensor) or target.is_floating_point() or not isinstance(output, Tensor):
        return {}
    # Torch's losses take classes on the second axis, others often on the last. Where both would fit, nobody knows.
    axes = {axis for axis in (1, output.dim() - 1) if (*output.shape[:axis], *output.shape[axis + 1 :]) == target.shape}
    if type(objective.loss).__module__.startswith("torch.nn") or objective.loss in (F.cross_entropy, F.nll_loss):
        axes &= {1}
    if len(axes) != 1 or output.shape[max(axes)] < 2:
        return {}
    ignored = ignored_class(objective) if objective.batches.loader is not None or leaves_out(objective) else None
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

"""Data of anybody -> a task: tensors where they are pairs of inputs and targets, batches of any structure otherwise."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from thalweg._short import short
from thalweg.errors import InputError, brief
from thalweg.objective.batches import sample_count
from thalweg.objective.containers import leaves, mapped, rebuilt
from thalweg.subjects.code import seeded
from thalweg.tasks.task import Task

__all__ = ["Loose", "as_task", "parts"]

Split = tuple[Any, Any]


@short
@dataclass(frozen=True, eq=False)
class Loose(Task):
    """A task whose batches are no pair of two plain tensors: several inputs, dicts, batches that were made before.

    Its kind says what the targets are: "classification" (class numbers (N,)), "regression" (numbers) or "other"
    (batches that only a loss of the user's understands).
    """

    def __post_init__(self) -> None:
        digest = hashlib.sha256()
        for data in (self.train, self.test):
            for leaf in leaves(data) if data is not None else ():
                array = leaf.detach().cpu().contiguous().numpy() if isinstance(leaf, Tensor) else np.array(list(leaf))
                digest.update(f"{array.dtype} {array.shape};".encode() + array.tobytes())
        object.__setattr__(self, "checksum", digest.hexdigest())

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input; empty where there is not one tensor of inputs."""
        inputs = self.train[0] if isinstance(self.train, tuple) else None
        return tuple(inputs.shape[1:]) if isinstance(inputs, Tensor) else ()

    @property
    def samples(self) -> int:
        """Number of training samples N."""
        return self.count(self.train)

    @staticmethod
    def count(data: Any) -> int:
        """Number of samples of one set."""
        return sum(map(sample_count, data)) if isinstance(data, list) else sample_count(data)


def parts(given: Any) -> Split:
    """Training data and test data (None without) of what a function of data returns.

    Args:
        given: {"train": …, "test": …}; or a tuple of two that are data themselves (pairs, dicts, data sets, loaders);
            or training data alone, such as the tensors (inputs, targets).

    >>> train, test = parts((torch.zeros(3, 2), torch.zeros(3)))
    >>> test is None
    True
    >>> parts(((1, 2), (3, 4)))
    ((1, 2), (3, 4))
    """
    if isinstance(given, Mapping) and "train" in given and set(given) <= {"train", "test"}:
        return given["train"], given.get("test")
    whole = (tuple, list, Mapping, Dataset, DataLoader)
    if isinstance(given, tuple) and len(given) == 2 and all(isinstance(one, whole) for one in given):
        return given[0], given[1]
    return given, None


def as_task(given: Any, name: str, *, dtype: torch.dtype = torch.float32, seed: int = 0) -> Task:
    """The task that data of any kind are.

    Args:
        given: As :func:`parts` takes it; arrays count as tensors, data sets are read once.
        name: What to call it.
        dtype: Of floating-point numbers in it; integers stay integers.
        seed: Of loaders that shuffle, and of data sets that draw.

    Raises:
        InputError: No data, or training and test data of different kinds.

    >>> task = as_task((torch.eye(3), torch.tensor([0, 1, 2])), "corners")
    >>> task.kind, task.outputs, task.input_shape
    ('classification', 3, (3,))
    """
    if isinstance(given, Task):
        return given
    train, test = parts(given)
    with seeded(seed):
        sets = [_read(data, where, dtype) for where, data in (("train", train), ("test", test)) if data is not None]
    kinds = [_kind(data) for data in sets]
    if len(set(kinds)) > 1:
        raise InputError(f"train and test data must be of one kind, found {kinds[0]} and {kinds[1]}")
    kind = kinds[0]
    held = f" and {Loose.count(sets[1]):,} test" if len(sets) > 1 else ""
    words = f"{name}: {Loose.count(sets[0]):,} training{held} samples"
    outputs = 0
    if kind == "classification":
        outputs = 1 + max(int(data[1].max()) for data in sets)
    elif kind == "regression":
        outputs = sets[0][1][0].numel()
    plain = kind == "classification" or (kind == "regression" and sets[0][1].dim() == 2)
    tensors = plain and all(type(part) is Tensor for data in sets for part in data)
    made = Task if tensors else Loose
    return made(name, name, kind, sets[0], sets[1] if len(sets) > 1 else None, outputs, f"{words}.")


def _kind(data: Any) -> Literal["classification", "regression", "other"]:
    """What the targets are."""
    if not isinstance(data, tuple) or len(data) != 2 or not isinstance(data[1], Tensor):
        return "other"
    target = data[1]
    if target.is_floating_point():
        return "regression"
    return "classification" if target.dim() == 1 and not target.is_complex() else "other"


def _read(data: Any, where: str, dtype: torch.dtype) -> Any:
    """One set as tensors in containers, or as the list of batches that it is."""
    if isinstance(data, DataLoader):
        data = _joined(list(data))
    elif isinstance(data, Dataset):
        data = _stacked(data, where)
    if isinstance(data, list) and len(data) == 2 and all(isinstance(part, Tensor | np.ndarray) for part in data):
        data = tuple(data)
    if not any(isinstance(leaf, Tensor) for leaf in leaves(data)):
        raise InputError(f"{where} data must hold tensors or arrays, found {brief(data)}")

    def placed(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        leaf = leaf.detach()
        return leaf.to(dtype) if leaf.is_floating_point() else leaf.long() if leaf.dtype in _SMALL else leaf

    data = mapped(placed, data)
    if isinstance(data, tuple) and len(data) == 2 and isinstance(data[1], Tensor):
        inputs, target = data
        if not target.is_floating_point() and target.dim() == 2 and target.shape[1] == 1:
            data = inputs, target[:, 0]  # classes as a column
        elif target.dtype in (torch.bool, torch.uint8):
            data = inputs, target.long()
    for part in data if isinstance(data, list) else [data]:
        if sample_count(part) == 0:
            raise InputError(f"{where} data must not be empty, found 0 samples")
    return data


_SMALL = (torch.int8, torch.int16, torch.int32)


def _stacked(dataset: Any, where: str) -> Any:
    """All samples of a data set in tensors, in the structure of a sample."""
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        samples = list(dataset)
    else:
        samples = [dataset[place] for place in range(len(dataset))]
    if not samples:
        raise InputError(f"{where} data must not be empty, found 0 samples")
    try:
        return torch.utils.data.default_collate(samples)
    except (TypeError, RuntimeError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise InputError(f"{where} samples must all have one shape and be numbers, found: {first}") from None


def _joined(batches: Sequence[Any]) -> Any:
    """The batches of a loader as one, where their tensors have the sample as their first axis; else as they are."""
    if not batches:
        raise InputError("data must hold at least one batch, found none")
    given = [leaves(batch) for batch in batches]
    alike = len({len(some) for some in given}) == 1 and all(isinstance(leaf, Tensor) for some in given for leaf in some)
    counted = alike and all(len({len(leaf) if leaf.dim() else -1 for leaf in some}) == 1 for some in given)
    shapes = {tuple(leaf.shape[1:] if leaf.dim() else () for leaf in some) for some in given}
    if not counted or len(shapes) > 1:
        return list(batches)
    whole = rebuilt(batches[0], [torch.cat(column) for column in zip(*given, strict=True)])
    return tuple(whole) if isinstance(whole, list) else whole

"""A task: the tensors that training really sees, checked once, with a checksum over them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from thalweg._short import short
from thalweg.errors import InputError

__all__ = ["Task", "from_arrays", "from_dataset"]

Pair = tuple[Tensor, Tensor]


@short
@dataclass(frozen=True, eq=False)
class Task:
    """Inputs and targets of one learning problem.

    Args:
        name: Short machine name ("mnist", "function", …).
        label: What a figure calls it, honest about its size: "MNIST (1,000 of 60,000)", "CIFAR-10 subset (5,085)".
        kind: "classification" (targets are class numbers (N,), int64), "regression" (targets (N, outputs)), or "other".
        train: Training inputs (N, *input_shape) and targets.
        test: The same for the test set; None if there is none.
        outputs: Number of classes C, or of predicted values.
        description: One sentence about the data and everything that was done to it.

    Attributes:
        checksum: SHA-256 over types, shapes and bytes of all four arrays, as they are used.

    Raises:
        InputError: If a set is empty, its inputs and targets differ in number, a value is NaN or infinite, a class
            number is out of range, or the test set has another shape.
    """

    name: str
    label: str
    kind: Literal["classification", "regression", "other"]
    train: Pair
    test: Pair | None
    outputs: int
    description: str
    checksum: str = field(init=False)

    def __post_init__(self) -> None:
        _check(self.train, self.kind, self.outputs, "train")
        arrays = list(self.train)
        if self.test is not None:
            _check(self.test, self.kind, self.outputs, "test")
            if self.test[0].shape[1:] != self.input_shape:
                raise InputError(
                    f"test inputs must have the shape of the training inputs {self.input_shape}, "
                    f"found {tuple(self.test[0].shape[1:])}"
                )
            arrays += self.test
        object.__setattr__(self, "checksum", _checksum(arrays))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, without the sample axis."""
        return tuple(self.train[0].shape[1:])

    @property
    def samples(self) -> int:
        """Number of training samples N."""
        return len(self.train[0])


def _check(pair: Pair, kind: str, outputs: int, where: str) -> None:
    x, y = pair
    if len(x) == 0:
        raise InputError(f"{where} data must not be empty, found 0 samples")
    if len(x) != len(y):
        raise InputError(f"{where} data must have one target per input, found {len(x)} inputs and {len(y)} targets")
    for name, values in (("inputs", x), ("targets", y)):
        if values.is_floating_point():
            finite = values.isfinite().flatten(1).all(1) if values.dim() > 1 else values.isfinite()
            if not finite.all():
                bad = int((~finite).nonzero()[0])
                raise InputError(f"{where} {name} must be finite, found NaN or inf in sample {bad}")
    if kind == "classification":
        if y.dim() != 1 or y.is_floating_point():
            raise InputError(f"{where} targets must be class numbers (N,), found {y.dtype} of shape {tuple(y.shape)}")
        low, high = int(y.min()), int(y.max())
        if low < 0 or high >= outputs:
            raise InputError(f"{where} classes must be 0 to {outputs - 1}, found {low if low < 0 else high}")
    elif y.dim() != 2 or y.shape[1] != outputs:
        raise InputError(f"{where} targets must have shape (N, {outputs}), found {tuple(y.shape)}")


def _checksum(arrays: Iterable[Tensor]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype} {tuple(array.shape)};".encode())
        line = array.detach().cpu().contiguous().as_strided((array.numel(),), (1,))  # one number may have any stride
        digest.update(line.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def from_arrays(
    train: tuple[Any, Any],
    test: tuple[Any, Any] | None = None,
    *,
    name: str = "dataset",
    classes: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> Task:
    """A task from arrays or tensors of the user.

    Args:
        train: Inputs (N, …) and targets: integers (N,) are classes, floating-point numbers (N,) or (N, K) are values.
        test: The same; None for no test set.
        name: What to call it.
        classes: Number of classes C; default one more than the greatest class seen.
        dtype: Floating-point type of inputs (and of targets, unless they are classes).

    Raises:
        InputError: See :class:`Task`; also if `classes` is given for a regression.

    >>> task = from_arrays((np.eye(3), np.array([0, 1, 2])), name="corners")
    >>> task.kind, task.outputs, task.input_shape
    ('classification', 3, (3,))
    """
    pairs = [tuple(torch.as_tensor(part) for part in pair) for pair in (train, test) if pair is not None]
    kinds = {"regression" if y.is_floating_point() else "classification" for _, y in pairs}
    if len(kinds) > 1:
        raise InputError("train and test targets must both be class numbers or both values, found one of each")
    kind: Literal["classification", "regression"] = "regression" if "regression" in kinds else "classification"
    if kind == "regression" and classes is not None:
        raise InputError(f"classes applies to integer targets only, found floating-point targets and classes {classes}")
    for where, (x, y) in zip(("train", "test"), pairs, strict=False):
        if x.dim() == 0 or y.dim() == 0:
            raise InputError(f"{where} inputs and targets must have a sample axis, found a single number")
        if len(y) == 0:
            raise InputError(f"{where} data must not be empty, found 0 samples")
    if kind == "classification":
        pairs = [(x.to(dtype), y.to(torch.int64)) for x, y in pairs]
        outputs = classes if classes is not None else 1 + max(int(y.max()) for _, y in pairs)
    else:
        pairs = [(x.to(dtype), y.to(dtype).reshape(len(y), -1)) for x, y in pairs]
        outputs = pairs[0][1].shape[1]
    x, test_pair = pairs[0][0], pairs[1] if test is not None else None
    shape = "×".join(map(str, x.shape[1:])) or "1"
    aim = f"{outputs} classes" if kind == "classification" else f"{outputs} predicted values"
    held = f" and {len(test_pair[0]):,} test" if test_pair is not None else ""
    description = f"{name}: {len(x):,} training{held} samples of shape {shape}, {aim}."
    return Task(name, name, kind, pairs[0], test_pair, outputs, description)


def from_dataset(
    train: Iterable[Any],
    test: Iterable[Any] | None = None,
    *,
    name: str = "dataset",
    classes: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> Task:
    """A task from any ``torch.utils.data.Dataset`` (map-style or iterable) of (input, target) pairs.

    All samples are read once and stacked; a data set that draws random augmentations is thus frozen as it was read.

    Args:
        train: Training samples.
        test: Test samples; None for no test set.
        name: What to call it.
        classes: Number of classes C; default one more than the greatest class seen.
        dtype: Floating-point type of inputs (and of targets, unless they are classes).

    Raises:
        InputError: If a data set is empty, an item is no (input, target) pair of numbers, or shapes differ between
            samples; see also :class:`Task`.

    >>> from torch.utils.data import TensorDataset
    >>> task = from_dataset(TensorDataset(torch.zeros(4, 2), torch.tensor([0., 1., 0., 1.])))
    >>> task.kind, task.train[1].shape
    ('regression', torch.Size([4, 1]))
    """
    return from_arrays(
        _stack(train, "train"), None if test is None else _stack(test, "test"), name=name, classes=classes, dtype=dtype
    )


def _stack(dataset: Any, where: str) -> Pair:
    """All samples of a data set in two tensors."""
    inputs: list[Tensor] = []
    targets: list[Tensor] = []
    # A map-style Dataset need not raise IndexError at its end, on which plain iteration would rely.
    mapped = hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")
    for index, item in enumerate(dataset[i] for i in range(len(dataset))) if mapped else enumerate(dataset):
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise InputError(
                f"{where} data set must give (input, target) pairs, found {type(item).__name__} at sample {index}"
            )
        for values, part in zip((inputs, targets), item, strict=True):
            try:
                values.append(part if isinstance(part, Tensor) else torch.as_tensor(np.asarray(part)))
            except (TypeError, ValueError):
                raise InputError(
                    f"{where} data set must give tensors, arrays or numbers, "
                    f"found {type(part).__name__} at sample {index}"
                ) from None
            if values[-1].shape != values[0].shape:
                raise InputError(
                    f"{where} samples must all have one shape, found {tuple(values[0].shape)} at sample 0 "
                    f"and {tuple(values[-1].shape)} at sample {index}"
                )
    if not inputs:
        raise InputError(f"{where} data must not be empty, found 0 samples")
    return torch.stack(inputs), torch.stack(targets)

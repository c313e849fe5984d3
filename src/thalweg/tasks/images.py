"""Images as a reader found them, before anything is done to them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thalweg.errors import InputError
from thalweg.tasks.operations import stratified, stream

__all__ = ["RawImages", "digits"]

LARGEST = 2**30
"""Bytes that a file may unpack to, five times all of CIFAR-10: kilobytes of compressed zeros can fill any memory."""

DIGITS_TEST = 360
DIGITS_SPLIT_SEED = 0
"""The split of digits is part of the data: it is the same for every seed, so that test accuracies compare."""


@dataclass(frozen=True, eq=False)
class RawImages:
    """Images and labels of both sets.

    Args:
        title: The data set's name in figures; says so if it is a subset.
        x: Training images (N, C, H, W), raw pixel values.
        y: Training labels (N,), int64.
        x_test: Test images.
        y_test: Test labels.
        classes: Number of classes.
        top: Value of a fully lit pixel.

    Raises:
        InputError: If images and labels do not fit each other.
    """

    title: str
    x: NDArray[Any]
    y: NDArray[np.int64]
    x_test: NDArray[Any]
    y_test: NDArray[np.int64]
    classes: int = 10
    top: float = 255.0

    def __post_init__(self) -> None:
        for name, images, labels in (("training", self.x, self.y), ("test", self.x_test, self.y_test)):
            if len(images) != len(labels) or len(images) == 0:
                raise InputError(
                    f"{self.title}: the {name} set must have as many labels as images, and some, "
                    f"found {len(images)} images and {len(labels)} labels"
                )
            low, high = labels.min(), labels.max()
            if low < 0 or high >= self.classes:
                raise InputError(
                    f"{self.title}: {name} labels must be 0 to {self.classes - 1}, found {low if low < 0 else high}"
                )
        if self.x.shape[1:] != self.x_test.shape[1:]:
            raise InputError(
                f"{self.title}: training and test images must have one size, "
                f"found {self.x.shape[1:]} and {self.x_test.shape[1:]}"
            )


def digits() -> RawImages:
    """The 1,797 handwritten digits (8×8, grey levels 0 to 16) that ship with scikit-learn: 1,437 to train, 360 to test.

    Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI repository, 1998 (its test part).

    >>> digits().x.shape, digits().x_test.shape
    ((1437, 1, 8, 8), (360, 1, 8, 8))
    """
    from sklearn.datasets import load_digits

    flat, target = load_digits(return_X_y=True)
    images = np.asarray(flat).reshape(-1, 1, 8, 8).astype(np.uint8)
    labels = np.asarray(target).astype(np.int64)
    held = np.zeros(len(labels), dtype=bool)
    held[stratified(labels, DIGITS_TEST, stream(DIGITS_SPLIT_SEED, "split"))] = True
    return RawImages("digits", images[~held], labels[~held], images[held], labels[held], top=16.0)


def read_npz(path: Path, names: tuple[str, ...]) -> list[NDArray[Any]]:
    """Arrays of these names from an .npz file; nothing in it can run code.

    Raises:
        InputError: If the file is damaged, holds Python objects, or lacks one of the names.
    """
    try:
        # opened here: np.load leaves a file that is no archive open
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            if (size := sum(entry.file_size for entry in file.zip.infolist())) > LARGEST:
                raise InputError(f"{path} must unpack to at most {LARGEST:,} bytes, found {size:,}")
            missing = [name for name in names if name not in file]
            if missing:
                raise InputError(f"{path} must hold the arrays {', '.join(names)}, found no {missing[0]!r}")
            return [file[name] for name in names]
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001 - a damaged archive can fail in any way: one byte claims a password
        raise InputError(f"{path} must be an intact .npz file of plain arrays, found: {error}") from None

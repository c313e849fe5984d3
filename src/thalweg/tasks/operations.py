"""What is done to data before training: subsampling, corrupted labels, scrambled pixels, standardisation.

Every function is pure and draws its random numbers from a stream of its own (see :func:`stream`), so that switching one
operation on never changes what another one draws.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from thalweg.errors import InputError

__all__ = [
    "Scaling",
    "corrupt_labels",
    "gaussian_pixels",
    "scaling",
    "shuffle_labels",
    "shuffle_pixels",
    "stratified",
    "stream",
]

Labels = NDArray[np.int64]
Images = NDArray[Any]

_CHUNK = 4096  # images handled at once where every image has random numbers of its own


def stream(seed: int, purpose: str) -> np.random.Generator:
    """Random numbers for one purpose: the same seed gives unrelated streams to different purposes.

    >>> int(stream(0, "labels").integers(1000)) == int(stream(0, "labels").integers(1000))
    True
    """
    return np.random.default_rng([seed, zlib.crc32(purpose.encode())])


def stratified(labels: Labels, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Indices of `count` samples that keep the shares of the classes as nearly as whole numbers can.

    Every class gets its share of `count` rounded down, and the largest remainders one sample more (ties: drawn).

    Args:
        labels: Classes (N,).
        count: How many to keep.
        rng: Source of the choice.

    Returns:
        Ascending indices (count,): the samples keep their order.

    Raises:
        InputError: If there are fewer samples than `count`.

    >>> labels = np.array([0, 0, 0, 0, 1, 1])
    >>> labels[stratified(labels, 3, np.random.default_rng(0))]
    array([0, 0, 1])
    """
    total = len(labels)
    if count > total:
        raise InputError(f"samples must be at most the {total:,} there are, found {count:,}")
    classes, sizes = np.unique(labels, return_counts=True)
    share = sizes * count / total
    quota = np.floor(share).astype(np.int64)
    remainder = share - quota
    order = np.lexsort((rng.random(len(classes)), -remainder))
    quota[order[: count - int(quota.sum())]] += 1
    parts = [
        rng.choice(np.flatnonzero(labels == name), size, replace=False)
        for name, size in zip(classes, quota, strict=True)
    ]
    return np.sort(np.concatenate(parts))


def corrupt_labels(
    labels: Labels, share: float, classes: int, rng: np.random.Generator, *, exact: bool = True
) -> tuple[Labels, NDArray[np.bool_]]:
    """Redraw a share of the labels uniformly from all classes (Zhang et al. 2017, section 2.1).

    A redrawn label can be the true one by chance: with C classes about 1/C of them are.

    Args:
        labels: Classes (N,).
        share: Share p of the labels to redraw, 0 to 1.
        classes: Number of classes C.
        rng: Source of the choice and of the new labels.
        exact: Redraw exactly round(p·N) labels (default: no extra variance between seeds); False redraws each one
            independently with probability p, as in the paper.

    Returns:
        The new labels (N,), and which were redrawn (N,).

    Raises:
        InputError: If `share` is outside 0 to 1.

    >>> _, redrawn = corrupt_labels(np.zeros(10, dtype=np.int64), 0.3, 10, np.random.default_rng(0))
    >>> int(redrawn.sum())
    3
    """
    if not 0 <= share <= 1:
        raise InputError(f"label_noise must be a share between 0 and 1, found {share}")
    redrawn = np.zeros(len(labels), dtype=bool)
    if exact:
        redrawn[rng.permutation(len(labels))[: round(share * len(labels))]] = True
    else:
        redrawn = rng.random(len(labels)) < share
    changed = labels.copy()
    changed[redrawn] = rng.integers(classes, size=int(redrawn.sum()))
    return changed, redrawn


def shuffle_labels(labels: Labels, rng: np.random.Generator) -> Labels:
    """Labels (N,) in random order: nothing is left to learn, and the classes keep their sizes."""
    return rng.permutation(labels)


def shuffle_pixels(images: Images, rng: np.random.Generator, *, per_image: bool = False) -> Images:
    """Images (N, C, H, W) with their pixels in another order; a pixel keeps its colours together.

    Args:
        images: The images.
        rng: Source of the permutations. Call with a freshly made stream for training and test set alike and the one
            fixed permutation is the same for both.
        per_image: Another permutation for each image (Zhang et al. 2017, "random pixels") in place of one for all
            ("shuffled pixels").
    """
    count, channels, height, width = images.shape
    flat = images.reshape(count, channels, height * width)
    if not per_image:
        return flat[:, :, rng.permutation(height * width)].reshape(images.shape)
    shuffled = np.empty_like(flat)
    for start in range(0, count, _CHUNK):
        part = flat[start : start + _CHUNK]
        order = np.argsort(rng.random((len(part), 1, height * width)), axis=2)  # (N, 1, H·W)
        shuffled[start : start + _CHUNK] = np.take_along_axis(part, order, axis=2)
    return shuffled.reshape(images.shape)


def gaussian_pixels(
    count: int, like: Images, rng: np.random.Generator, dtype: type[np.floating] = np.float32
) -> NDArray[np.floating]:
    """Noise images (count, C, H, W) with the mean and variance of each channel of other images (Zhang et al. 2017).

    Args:
        count: Number of images to draw.
        like: Images (N, C, H, W) whose statistics are matched: those of the training set, for both sets.
        rng: Source of the noise.
        dtype: Precision of the result.
    """
    mean, deviation = _channel_statistics(like)
    noise = np.empty((count, *like.shape[1:]), dtype=dtype)
    for start in range(0, count, _CHUNK):
        part = noise[start : start + _CHUNK]
        part[...] = mean + deviation * rng.standard_normal(part.shape)
    return noise


@dataclass(frozen=True)
class Scaling:
    """x -> (x − shift) / scale, channel by channel.

    Args:
        shift: (C, 1, …), float64.
        scale: (C, 1, …), float64.
    """

    shift: NDArray[np.float64]
    scale: NDArray[np.float64]

    def __call__(self, x: NDArray[Any], dtype: type[np.floating] = np.float32) -> NDArray[np.floating]:
        """Scaled copy of `x` (N, C, …) in the precision asked for."""
        scaled = x.astype(dtype)
        scaled -= self.shift.astype(dtype)
        scaled /= self.scale.astype(dtype)
        return scaled


def scaling(kind: Literal["none", "pixel-range", "zscore"], train: NDArray[Any], top: float = 1.0) -> Scaling:
    """The standardisation of this name, from the training inputs alone.

    Args:
        kind: "none"; "pixel-range", which maps 0…top to [0, 1]; or "zscore": mean 0 and variance 1 of each channel
            over all training samples and places.
        train: Training inputs (N, C, …).
        top: Value of a fully lit pixel.

    Raises:
        InputError: If a channel is constant, so that it has no z-score.
    """
    shape = (train.shape[1],) + (1,) * (train.ndim - 2)
    zeros, ones = np.zeros(shape), np.ones(shape)
    if kind == "none":
        return Scaling(zeros, ones)
    if kind == "pixel-range":
        return Scaling(zeros, ones * top)
    mean, deviation = _channel_statistics(train)
    if not np.all(deviation > 0):
        raise InputError(
            f"standardize 'zscore' needs inputs that vary, found channel {int(np.argmin(deviation))} constant"
        )
    return Scaling(mean, deviation)


def _channel_statistics(x: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each channel, (C, 1, …), accumulated in float64 without a float64 copy."""
    axes = (0, *range(2, x.ndim))
    shape = (x.shape[1],) + (1,) * (x.ndim - 2)
    mean = np.mean(x, axis=axes, dtype=np.float64).reshape(shape)
    square = np.zeros(x.shape[1])
    for start in range(0, len(x), _CHUNK):
        square += np.sum((x[start : start + _CHUNK] - mean) ** 2, axis=axes)
    return mean, np.sqrt(square / (x.size // x.shape[1])).reshape(shape)

"""From a configuration to the tensors that training sees."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from thalweg.errors import InputError
from thalweg.limits import check_memory
from thalweg.tasks.cifar import read_cifar10
from thalweg.tasks.config import TaskConfig
from thalweg.tasks.functions import sample_function, target
from thalweg.tasks.images import RawImages, digits
from thalweg.tasks.mnist import read_mnist
from thalweg.tasks.operations import (
    corrupt_labels,
    gaussian_pixels,
    scaling,
    shuffle_labels,
    shuffle_pixels,
    stratified,
    stream,
)
from thalweg.tasks.places import Found, locate, missing_message, source
from thalweg.tasks.sources import Source
from thalweg.tasks.task import Task

__all__ = ["check_there", "load"]

Array = NDArray[Any]

_SCALING_WORDS = {"none": "raw values", "pixel-range": "pixels scaled to [0, 1]", "zscore": "channels standardised"}
_PIXEL_WORDS = {
    "shuffled": "pixels in one random order",
    "shuffled-per-image": "pixels of every image in another random order",
    "gaussian": "Gaussian noise of the same mean and variance in place of the images",
}


def load(config: TaskConfig, dtype: torch.dtype = torch.float32) -> Task:
    """The task that a configuration names.

    Args:
        config: Which data, and what is done to it, in the order told at :class:`~thalweg.tasks.config.TaskConfig`.
        dtype: Floating-point type of the inputs (and of the targets of a regression).

    Returns:
        Images as (N, C, H, W) with classes (N,), or with the flattened images (N, C·H·W) if they are the target;
        functions as x (N, 1) with y (N, 1).

    Raises:
        InputError: If the data are not found or damaged, there are fewer samples than asked for, more points than
            memory holds, or the function is not finite on the interval.

    >>> task = load(TaskConfig(name="digits", samples=100))
    >>> task.label, task.input_shape, len(task.train[0]), len(task.test[0])
    ('digits (100 of 1,437)', (1, 8, 8), 100, 360)
    """
    if not dtype.is_floating_point:
        raise InputError(f"dtype must be a floating-point type, found {dtype}")
    return _function(config, dtype) if config.name == "function" else _images(config, dtype)


def check_there(config: TaskConfig) -> None:
    """Refuse a task that cannot be loaded, as far as this shows without reading its files.

    Raises:
        InputError: Files that are not found, or a function that is not finite on its interval.
    """
    if config.name == "function":
        load(config)
    elif config.name != "digits":
        _located(source(config.name), config)


def _function(config: TaskConfig, dtype: torch.dtype) -> Task:
    goal = target(config.expression)
    for name in ("points", "test_points"):  # x and y in float64, scaled, and as tensors
        check_memory(name, f"{getattr(config, name):,}", 4 * 8 * getattr(config, name))
    random = config.grid == "random"
    rng = stream(config.seed, "points")
    x, y = sample_function(goal, config.interval, config.points, random=random, noise=config.noise, rng=rng)
    scale = scaling(config.scaling, x)
    train = _tensor(scale(x, np.float64), dtype), _tensor(y, dtype)
    test = None
    if config.test_points:
        x_test, y_test = sample_function(goal, config.interval, config.test_points, rng=rng)
        test = _tensor(scale(x_test, np.float64), dtype), _tensor(y_test, dtype)
    low, high = goal.interval if config.interval is None else config.interval
    words = [f"{goal.label} on [{low:g}, {high:g}]: {config.points:,} {'random' if random else 'equidistant'} points"]
    words += [f"noise of standard deviation {config.noise:g}"] if config.noise else []
    words += [f"{config.test_points:,} test points"] if config.test_points else []
    words += ["x standardised"] if config.scaling == "zscore" else []
    return Task("function", goal.label, "regression", train, test, 1, f"{', '.join(words)}.")


def _read(config: TaskConfig) -> RawImages:
    if config.name == "digits":
        return digits()
    wanted = source(config.name)
    found = _located(wanted, config)
    return read_cifar10(found) if wanted.archive else read_mnist(wanted, found)


def _located(wanted: Source, config: TaskConfig) -> Found:
    found = locate(wanted, config.path)
    if found is None:
        raise InputError(missing_message(wanted, config.path))
    return found


def _images(config: TaskConfig, dtype: torch.dtype) -> Task:
    raw = _read(config)
    x, y = _subsample(raw.x, raw.y, config.samples, stream(config.seed, "samples"), "samples")
    x_test, y_test = _subsample(
        raw.x_test, raw.y_test, config.test_samples, stream(config.seed, "test samples"), "test_samples"
    )
    label = raw.title if len(x) == len(raw.x) else _label(raw.title, len(x), len(raw.x))
    words = _size_words(label, x, x_test, raw.classes)
    if config.label_noise or config.shuffle_labels:
        y, told = _labels(config, y, raw.classes)
        words.append(told)
    precision = np.float64 if dtype == torch.float64 else np.float32
    x, x_test = _pixels(config, x, x_test, precision)
    words += [_PIXEL_WORDS[config.pixels]] if config.pixels != "true" else []
    scale = scaling(config.scaling, x, raw.top)
    words.append(_SCALING_WORDS[config.scaling])
    inputs, inputs_test = (_tensor(scale(images, precision), dtype) for images in (x, x_test))
    if config.target == "inputs":
        words.append("the target is the image itself")
        train, test = (inputs, inputs.flatten(1)), (inputs_test, inputs_test.flatten(1))
        return Task(config.name, label, "regression", train, test, train[1].shape[1], f"{', '.join(words)}.")
    train, test = (inputs, torch.from_numpy(y)), (inputs_test, torch.from_numpy(y_test))
    return Task(config.name, label, "classification", train, test, raw.classes, f"{', '.join(words)}.")


def _label(title: str, count: int, total: int) -> str:
    """Names like "MNIST (1,000 of 60,000)"; a subset keeps its word: "CIFAR-10 subset (1,000 of 5,085)"."""
    return f"{title.removesuffix(f' ({total:,})')} ({count:,} of {total:,})"


def _size_words(label: str, x: Array, x_test: Array, classes: int) -> list[str]:
    shape = "×".join(map(str, x.shape[1:]))
    return [f"{label}: {len(x):,} training and {len(x_test):,} test images of {shape} in {classes} classes"]


def _subsample(x: Array, y: Array, count: int | None, rng: np.random.Generator, field: str) -> tuple[Array, Array]:
    if count is None or count == len(y):
        return x, y
    if count > len(y):
        raise InputError(f"{field} must be at most the {len(y):,} there are, found {count:,}")
    kept = stratified(y, count, rng)
    return x[kept], y[kept]


def _labels(config: TaskConfig, y: Array, classes: int) -> tuple[Array, str]:
    if config.shuffle_labels:
        shuffled = shuffle_labels(y, stream(config.seed, "labels"))
        return shuffled, f"training labels shuffled ({int((shuffled != y).sum()):,} of {len(y):,} changed)"
    noisy, redrawn = corrupt_labels(y, config.label_noise, classes, stream(config.seed, "labels"))
    told = f"{int(redrawn.sum()):,} training labels redrawn at random ({int((noisy != y).sum()):,} changed)"
    return noisy, told


def _pixels(config: TaskConfig, x: Array, x_test: Array, precision: type[np.floating]) -> tuple[Array, Array]:
    match config.pixels:
        case "shuffled":
            first, second = (stream(config.seed, "pixels") for _ in range(2))  # the same permutation for both sets
            return shuffle_pixels(x, first), shuffle_pixels(x_test, second)
        case "shuffled-per-image":
            rng = stream(config.seed, "pixels")
            return shuffle_pixels(x, rng, per_image=True), shuffle_pixels(x_test, rng, per_image=True)
        case "gaussian":
            rng = stream(config.seed, "pixels")
            return gaussian_pixels(len(x), x, rng, precision), gaussian_pixels(len(x_test), x, rng, precision)
    return x, x_test


def _tensor(array: Array, dtype: torch.dtype) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(dtype)

"""What a configuration does to data of the user's: fewer samples, other labels, other pixels, another scale."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.errors import InputError
from thalweg.objective.samples import taken
from thalweg.subjects.data import Loose
from thalweg.tasks.config import TaskConfig
from thalweg.tasks.operations import (
    corrupt_labels,
    gaussian_pixels,
    scaling,
    shuffle_labels,
    shuffle_pixels,
    stratified,
    stream,
)
from thalweg.tasks.task import Task

__all__ = ["altered"]


def altered(task: Task, config: TaskConfig, dtype: torch.dtype) -> Task:
    """The task with what its configuration says done to it, in the order and by the streams of built-in images.

    Args:
        task: As it was read.
        config: What is done.
        dtype: Of floating-point numbers.

    Raises:
        InputError: Something that these data do not allow.

    >>> from thalweg.subjects.data import as_task
    >>> task = as_task((torch.eye(6), torch.tensor([0, 0, 0, 1, 1, 1])), "corners")
    >>> altered(task, TaskConfig(source="python:corners", samples=4), torch.float32).train[1]
    tensor([0, 0, 1, 1])
    """
    train, test = task.train, task.test
    for name, data in (("samples", train), ("test_samples", test)):
        if (count := getattr(config, name)) is not None:
            if data is None:
                raise InputError(f"{name} needs a test set, found none")
            kept = _some(task, data, count, name, config.seed)
            train, test = (kept, test) if name == "samples" else (train, kept)
    if config.label_noise or config.shuffle_labels:
        train = _relabelled(task, train, config)
    if config.pixels != "true":
        train, test = _pixels(task, train, test, config)
    if config.standardize is not None:
        train, test = _scaled(task, train, test, config, dtype)
    if train is task.train and test is task.test:
        return task
    return replace(task, train=train, test=test)


def _some(task: Task, data: Any, count: int, name: str, seed: int) -> Any:
    if isinstance(data, list):
        raise InputError(f"{name} needs data that can be cut, found batches that were made before")
    total = len(data[1]) if isinstance(data, tuple) and isinstance(data[1], Tensor) else Loose.count(data)
    if count > total:
        raise InputError(f"{name} must be at most the {total:,} there are, found {count:,}")
    rng = stream(seed, name.replace("_", " "))
    by_class = task.kind == "classification"
    order = stratified(data[1].numpy(), count, rng) if by_class else np.sort(rng.permutation(total)[:count])
    return taken(data, torch.from_numpy(order))


def _relabelled(task: Task, train: Any, config: TaskConfig) -> Any:
    if task.kind != "classification":
        name = "shuffle_labels" if config.shuffle_labels else "label_noise"
        raise InputError(f"{name} needs targets that are classes, found a task of {_kind(task)}")
    labels, rng = train[1].numpy(), stream(config.seed, "labels")
    if config.shuffle_labels:
        return train[0], torch.from_numpy(shuffle_labels(labels, rng))
    return train[0], torch.from_numpy(corrupt_labels(labels, config.label_noise, task.outputs, rng)[0])


def _kind(task: Task) -> str:
    return "values" if task.kind == "regression" else "batches of its own"


def _inputs(task: Task, data: Any, what: str) -> np.ndarray:
    if not isinstance(data, tuple) or not isinstance(data[0], Tensor) or not data[0].is_floating_point():
        raise InputError(f"{what} needs inputs that are one tensor of numbers, found others in {task.label}")
    return data[0].numpy()


def _pixels(task: Task, train: Any, test: Any, config: TaskConfig) -> tuple[Any, Any]:
    what = f"pixels '{config.pixels}'"
    arrays = [_inputs(task, data, what) for data in (train, test) if data is not None]
    shapes = [array.shape for array in arrays]
    # Inputs without a grid have one row of pixels.
    arrays = [array if array.ndim == 4 else array.reshape(len(array), 1, 1, -1) for array in arrays]
    rng = stream(config.seed, "pixels")
    if config.pixels == "gaussian":
        like, kind = arrays[0], arrays[0].dtype.type
        changed = [gaussian_pixels(len(array), like, rng, kind) for array in arrays]
    elif config.pixels == "shuffled":
        changed = [shuffle_pixels(array, stream(config.seed, "pixels")) for array in arrays]
    else:
        changed = [shuffle_pixels(array, rng, per_image=True) for array in arrays]
    new = [torch.from_numpy(np.ascontiguousarray(a.reshape(shape))) for a, shape in zip(changed, shapes, strict=True)]
    return (new[0], train[1]), None if test is None else (new[1], test[1])


def _scaled(task: Task, train: Any, test: Any, config: TaskConfig, dtype: torch.dtype) -> tuple[Any, Any]:
    what = f"standardize '{config.standardize}'"
    x = _inputs(task, train, what)
    if x.ndim < 2:
        raise InputError(f"{what} needs inputs (N, C, …), found {x.shape}")
    scale = scaling(config.scaling, x, float(np.abs(x).max()) or 1.0)
    kind = np.float64 if dtype == torch.float64 else np.float32
    new = [
        (torch.from_numpy(scale(_inputs(task, data, what), kind)), data[1])
        for data in (train, test)
        if data is not None
    ]
    return new[0], None if test is None else new[1]

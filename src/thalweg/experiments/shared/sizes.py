"""What a configuration asks of memory, disk and the precision of training, compared before a run is made.

Everything here is arithmetic on the configuration: no data are read, no network is made.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from thalweg._lazy import torch
from thalweg.errors import InputError
from thalweg.experiments.shared.subjects import counted, own_network, task, test_count
from thalweg.limits import check_disk, check_memory
from thalweg.models.config import ModelConfig
from thalweg.tasks.config import TaskConfig

if TYPE_CHECKING:
    from torch import nn

    from thalweg.training.recipe import Cadence, Recipe

__all__ = [
    "built",
    "check_data",
    "check_numbers",
    "check_precision",
    "check_recipe",
    "check_training",
    "has_test",
    "is_classification",
    "named_in",
    "recorded",
    "shapes",
    "snapshots",
    "test_samples",
    "trained",
]

IMAGES = {  # data set -> shape of an image, classes, greatest number of training and of test images
    "digits": ((1, 8, 8), 10, 1_437, 360),
    "mnist": ((1, 28, 28), 10, 60_000, 10_000),
    "fashion-mnist": ((1, 28, 28), 10, 60_000, 10_000),
    "cifar10": ((3, 32, 32), 10, 50_000, 10_000),
}
BYTES = {"float32": 4, "float64": 8}
LARGEST = {"float32": 3.4028234663852886e38, "float64": math.inf}

COPIES = 6
"""θ of all replicas, its gradient, two averages of the optimiser, and what waits to be written."""

COLUMNS = 10
"""Metrics of a recorded step, each a number per replica."""


@contextmanager
def named_in(table: str, kind: type[BaseModel]) -> Iterator[None]:
    """Sentences about a field of a table name its place from the top: ``samples …`` becomes ``data.samples …``.

    Args:
        table: Its dotted name, empty for the configuration itself.
        kind: Its class.
    """
    try:
        yield
    except InputError as error:
        first = str(error).split(" ", 1)[0].split(".")[0]
        if not table or first not in kind.model_fields:
            raise
        raise InputError(f"{table}.{error}") from None


def has_test(data: TaskConfig) -> bool:
    """Whether the task has a test set."""
    if data.source is not None:
        return task(data).test is not None
    return data.name != "function" or data.test_points > 0


def test_samples(data: TaskConfig) -> int:
    """Number of test samples (at most)."""
    if data.source is not None:
        return test_count(task(data))
    if data.name == "function":
        return data.test_points
    there = IMAGES[data.name][3]
    return there if data.test_samples is None else min(there, data.test_samples)


def is_classification(data: TaskConfig) -> bool:
    """Whether the targets are classes."""
    if data.source is not None:
        return task(data).kind == "classification"
    return data.name != "function" and data.target == "labels"


def check_data(tasks: Iterable[TaskConfig], table: str = "") -> None:
    """Refuse tasks that cannot be loaded, as far as this shows without reading their files.

    Args:
        tasks: They may repeat.
        table: Prefix of the fields in messages, such as "first.".
    """
    from thalweg.tasks.loading import check_there

    for data in dict.fromkeys(tasks):
        with named_in(f"{table}data", TaskConfig):
            task(data) if data.source is not None else check_there(data)


def built(data: TaskConfig, model: ModelConfig) -> nn.Module:
    """The network of a task, for its names and layers; whatever else is drawn at random does not notice."""
    from thalweg import models

    if model.source is not None:
        return own_network(model)
    shape, outputs, _ = shapes(data)
    with torch.random.fork_rng(devices=[]):
        return models.build(model, shape, outputs)


def trained(data: TaskConfig, model: ModelConfig, table: str = "") -> tuple[int, int]:
    """Number of parameters of the network on its task, and of training samples (at most).

    Raises:
        InputError: The data or the network cannot fit into memory, or there are fewer samples than asked for.
    """
    if data.source is not None:
        pass  # their samples are counted when they are read
    elif data.name == "function":
        for name in ("points", "test_points"):  # as when they are loaded
            check_memory(f"{table}data.{name}", f"{getattr(data, name):,}", 32 * getattr(data, name))
    else:
        for name, there in zip(("samples", "test_samples"), IMAGES[data.name][2:], strict=True):
            if (asked := getattr(data, name)) is not None and asked > there:
                raise InputError(f"{table}data.{name} must be at most the {there:,} there are, found {asked:,}")
    shape, outputs, samples = shapes(data)
    with named_in(f"{table}model", ModelConfig):
        return counted(model, shape, outputs), samples


def shapes(data: TaskConfig) -> tuple[tuple[int, ...], int, int]:
    """Shape of an input, number of outputs, and of training samples (at most)."""
    if data.source is not None:
        with named_in("data", TaskConfig):
            own = task(data)
        return own.input_shape, own.outputs, own.samples
    if data.name == "function":
        return (1,), 1, data.points
    shape, outputs, samples, _ = IMAGES[data.name]
    samples = samples if data.samples is None else min(samples, data.samples)
    return shape, math.prod(shape) if data.target == "inputs" else outputs, samples


def snapshots(recipe: Recipe, samples: int, cadence: Cadence | None = None) -> int:
    """How often the weights are recorded, at most; of another cadence, how often that is."""
    cadence = recipe.record if cadence is None else cadence
    per_epoch = _per_epoch(recipe, samples)
    return cadence.count(recipe.total_steps(per_epoch), per_epoch)


def recorded(recipe: Recipe, samples: int) -> list[int]:
    """The steps at which the weights are recorded."""
    per_epoch = _per_epoch(recipe, samples)
    return recipe.record.steps(recipe.total_steps(per_epoch), per_epoch)


def _per_epoch(recipe: Recipe, samples: int) -> int:
    return -(-samples // recipe.batch_size) if isinstance(recipe.batch_size, int) else 1


def check_training(
    replicas: int,
    data: TaskConfig,
    model: ModelConfig,
    recipe: Recipe,
    *,
    dtype: str,
    root: str | Path,
    table: str = "",
) -> None:
    """Refuse a training whose replicas cannot fit into memory, or whose recording cannot fit onto the disk.

    So is a recipe that does not fit the task.

    Args:
        replicas: R.
        data: The task.
        model: The network.
        recipe: How it is trained and recorded.
        dtype: Precision of training.
        root: Folder of the run folders.
        table: Prefix of the fields in messages, such as "first.".
    """
    count, samples = trained(data, model, table)
    numbers = replicas * count
    size = COPIES * BYTES[dtype] * numbers
    check_memory(f"{table}replicas", f"{replicas:,} of {count:,} parameters in training", size)
    check_recipe(recipe, samples, f"{table}training.")
    often = snapshots(recipe, samples)
    words = f"{recipe.record.every:,}: {often:,} snapshots of {numbers:,} numbers"
    check_disk(f"{table}training.record.every", words, often * BYTES[dtype] * numbers, root)
    rows = snapshots(recipe, samples, recipe.metrics)
    field = "record" if recipe.metrics is None else "metrics"
    words = f"{getattr(recipe, field).every:,}: metrics of {replicas:,} replicas at {rows:,} steps"
    check_memory(f"{table}training.{field}.every", words, rows * replicas * COLUMNS * 8)


def check_recipe(recipe: Recipe, samples: int, table: str) -> None:
    """Refuse a training that ends before its warm-up does, and batches of a loader that there is not.

    Args:
        recipe: How it is trained.
        samples: Of its data.
        table: Prefix of the fields in messages.
    """
    if recipe.batch_size == "given":
        raise InputError(f"{table}batch_size must be a number or None for tasks without batches, found 'given'")
    steps = recipe.total_steps(_per_epoch(recipe, samples))
    if recipe.warmup > steps:
        words = f"the number of steps ({steps:,}), found {recipe.warmup:,}"
        raise InputError(f"{table}warmup must be at most {words}")


def check_numbers(config: BaseModel, numbers: Mapping[str, float]) -> None:
    """Refuse fields that ask for more numbers in float64 than memory holds.

    Args:
        config: Whose fields.
        numbers: Field -> how many numbers are held at once for its sake.
    """
    for name, count in numbers.items():
        check_memory(name, f"{getattr(config, name):,}", 8 * count)


def check_precision(dtype: str, values: Mapping[str, Any], table: str = "") -> None:
    """Refuse numbers that the precision of training does not have.

    Args:
        dtype: The precision.
        values: Field -> its value; what is no number is passed over.
        table: Prefix of the fields in messages, such as "training.".

    Raises:
        InputError: One is larger than the largest number there.
    """
    for name, value in values.items():
        if isinstance(value, float) and value > LARGEST[dtype]:
            raise InputError(f"{table}{name} must be at most {LARGEST[dtype]:.4g} in {dtype}, found {value:g}")

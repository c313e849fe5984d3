"""The data and the network that a configuration names, built in or of the user's own, and their subject."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from thalweg._lazy import torch
from thalweg.errors import InputError
from thalweg.models.config import ModelConfig
from thalweg.sources import Source, is_code
from thalweg.tasks.config import TaskConfig

if TYPE_CHECKING:
    from torch import nn

    from thalweg.subjects import Subject
    from thalweg.tasks import Task

__all__ = ["counted", "described", "own_network", "subject", "task", "test_count"]


def task(data: TaskConfig, dtype: str = "float32") -> Task:
    """The data, in a precision.

    Raises:
        InputError: Data that cannot be found or read.
    """
    from thalweg import tasks

    return tasks.load(data, getattr(torch, dtype)) if data.source is None else _own_task(data, dtype)


@lru_cache(maxsize=4)  # asked for at every look at sizes, before a run is made
def _own_task(data: TaskConfig, dtype: str) -> Task:
    from thalweg.subjects.altering import altered
    from thalweg.subjects.code import explaining
    from thalweg.subjects.data import as_task
    from thalweg.subjects.loading import data_of

    source = Source.of(data.source or "")
    target = "" if data.target == "labels" and source.path.endswith((".py", ".npz", "python")) else data.target
    given = data_of(source, data.args, target=target, test_share=data.test_share, seed=data.seed)
    with explaining(source):
        found = as_task(given, source.label, dtype=getattr(torch, dtype), seed=data.seed)
    return altered(found, data, getattr(torch, dtype))


def _maker(model: ModelConfig, task: Task) -> nn.Module | Callable[..., nn.Module]:
    """The network of a task, or what makes one of the user's own."""
    from thalweg import models
    from thalweg.subjects.loading import maker_of

    if model.source is not None:
        return maker_of(Source.of(model.source), model.args)
    if not task.input_shape or not task.outputs:
        raise InputError(
            f"model must be one of your own for data that are no pairs of tensors, found kind {model.kind!r}"
        )
    return models.build(model, task.input_shape, task.outputs)


def test_count(data: Task) -> int:
    """Number of test samples."""
    from thalweg.subjects.data import Loose

    return 0 if data.test is None else Loose.count(data.test)


def subject(data: Task, model: ModelConfig, loss: str = "auto", metrics: str | None = None, own: str = "") -> Subject:
    """The subject of a network and a loss on data that are loaded.

    Args:
        data: The data.
        model: The network.
        loss: A name, or a source.
        metrics: A source.
        own: Source of the data, for the place of faults in it.

    Raises:
        InputError: What does not fit together, or faults in code of the user's.
    """
    from thalweg.subjects import Subject
    from thalweg.subjects.loading import loss_of, metrics_of

    texts = {"model": model.source, "data": own or None, "loss": loss if is_code(loss) else None, "metrics": metrics}
    sources = {name: Source.of(text) for name, text in texts.items() if text is not None}
    return Subject(
        _maker(model, data),
        data,
        loss_of(sources["loss"]) if "loss" in sources else loss,
        metrics_of(sources["metrics"]) if "metrics" in sources else None,
        name=_label(model),
        model_args=model.args,
        sources=sources,
    )


def _label(model: ModelConfig) -> str:
    return "" if model.source is None else Source.of(model.source).name


@lru_cache(maxsize=4)
def own_network(model: ModelConfig) -> nn.Module:
    """A network of the user's, for its names and layers; whatever else is drawn at random does not notice."""
    from torch import nn

    from thalweg.subjects import Subject
    from thalweg.subjects.loading import maker_of

    source = Source.of(model.source or "")
    made = maker_of(source, model.args)
    if isinstance(made, nn.Module):
        return made
    return Subject(made, (), name=source.name, model_args=model.args, sources={"model": source}).module()


def counted(model: ModelConfig, shape: tuple[int, ...], outputs: int) -> int:
    """Number of parameters of a network on inputs of a shape."""
    from thalweg.models import parameter_count

    if model.source is not None:
        return _own_count(model)
    return parameter_count(model, shape, outputs)


@lru_cache(maxsize=256)  # of every size of a sweep
def _own_count(model: ModelConfig) -> int:
    return sum(parameter.numel() for parameter in own_network(model).parameters() if parameter.requires_grad)


def described(model: ModelConfig, data: Task) -> str:
    """The network in words, with its number of parameters."""
    from thalweg import models

    if model.source is None:
        return models.describe(model, data.input_shape, data.outputs)
    words = "".join(f", {name} {_shown(value)}" for name, value in model.args.items())
    return f"{_label(model)}{words}, {_own_count(model):,} parameters"


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(one)}" for name, one in value.items())
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)

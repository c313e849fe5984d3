"""A subject from what stands on a command line: files of code, files of data, names of losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from thalweg.errors import InputError, brief
from thalweg.objective.samples import sample_count, taken
from thalweg.sources import Source, is_code, stamped
from thalweg.subjects import files
from thalweg.subjects.code import allow, explaining, located, resolve, seeded
from thalweg.subjects.data import parts
from thalweg.subjects.subject import Subject

__all__ = ["data_of", "load", "loss_of", "maker_of", "metrics_of"]


def load(
    *,
    model: str,
    data: str,
    loss: str = "auto",
    metrics: str | None = None,
    model_args: Mapping[str, Any] | None = None,
    data_args: Mapping[str, Any] | None = None,
    target: str = "",
    test_share: float | None = None,
    seed: int = 0,
    name: str = "",
) -> Subject:
    """The subject that a user has named: the files of code are run once in this process.

    Args:
        model: FILE.py:NAME of a class of modules, a function that returns a module, or a module.
        data: FILE.py:NAME of a function that returns data, or of data; or a file or folder as :mod:`.files` reads it.
        loss: A name, or FILE.py:NAME.
        metrics: FILE.py:NAME of a function or a dict of functions.
        model_args: Keyword arguments of the model.
        data_args: Keyword arguments of the function of data.
        target: Column of a table that is predicted.
        test_share: Share of the samples that are held out, drawn from `seed`, of data without a test set.
        seed: Of the data.
        name: What to call the model.

    Raises:
        InputError: Files or names that are not there, faults in them, or what does not fit together.
    """
    texts = {"model": model, "data": data, "loss": loss, "metrics": metrics}
    sources = {
        what: Source.of(stamped(text, what, data=what == "data"))
        for what, text in texts.items()
        if text is not None and (what != "loss" or is_code(text))
    }
    allow(sources.values())
    return Subject(
        model=maker_of(sources["model"], model_args or {}),
        data=partial(data_of, sources["data"], data_args or {}, target=target, test_share=test_share, seed=seed),
        loss=loss_of(sources["loss"]) if "loss" in sources else loss,
        metrics=metrics_of(sources["metrics"]) if "metrics" in sources else None,
        name=name or sources["model"].name,
        model_args=model_args or {},
        sources=sources,
    )


def maker_of(source: Source, given: Mapping[str, Any]) -> nn.Module | Callable[..., nn.Module]:
    """What makes the module.

    Raises:
        InputError: It is no class of modules, no function and no module.
    """
    found = resolve(source, "model")
    if isinstance(found, type) and not issubclass(found, nn.Module):
        raise InputError(f"model {source.label} must be a class of torch.nn.Module, found the class {found.__name__}")
    if not callable(found):
        raise InputError(f"model {source.label} must be a class or function that makes a module, found {brief(found)}")
    return found


def loss_of(source: Source) -> Callable[..., Any]:
    """The loss.

    Raises:
        InputError: Nothing that can be called.
    """
    found = resolve(source, "loss")
    if not callable(found):
        raise InputError(f"loss {source.label} must be a function or a module, found {brief(found)}")
    return found


def metrics_of(source: Source) -> Any:
    """A metric, or several."""
    return resolve(source, "metrics")


def data_of(
    source: Source, given: Mapping[str, Any], *, target: str = "", test_share: float | None = None, seed: int = 0
) -> Any:
    """The data of a source, as `subjects.data.as_task` takes them.

    Args:
        source: Of code or of a file.
        given: Keyword arguments of a function.
        target: Column of a table.
        test_share: Share that is held out.
        seed: Of the function, and of what is held out.

    Raises:
        InputError: As :func:`load`.
    """
    if source.name:
        found = resolve(source, "data")
        if callable(found) and not hasattr(found, "__getitem__") and not hasattr(found, "__iter__"):
            with explaining(source, otherwise=f"data arguments must fit {source.name}"), seeded(seed):
                found = found(**given)
        elif given:
            raise InputError(f"data.args goes with a function, found {type(found).__name__} {source.label}")
        if target:
            raise InputError(f"data.target names a column of a table, found {target!r} for {source.label}")
        return found if test_share is None else _held_out(found, test_share, seed)
    if given:
        raise InputError(f"data.args goes with a function in a file of code, found {source.label}")
    source = located(source)
    source.check()
    arrays = files.read(Path(source.path), target)
    if test_share is not None and arrays.test is not None:
        raise InputError(f"data.test_share goes with data without a test set, found one in {source.label}")
    pairs = [tuple(map(_tensor, pair)) for pair in (arrays.train, arrays.test) if pair is not None]
    if test_share is not None:
        return _held_out(pairs[0], test_share, seed)
    return (pairs[0], pairs[1]) if len(pairs) > 1 else pairs[0]


def _tensor(array: np.ndarray) -> torch.Tensor:
    """A tensor; images of 8 bits become numbers from 0 to 1."""
    if array.dtype.kind not in "biuf":
        raise InputError(f"arrays must be numbers, found {array.dtype}")
    if array.dtype == np.uint8 and array.ndim > 2:
        return torch.from_numpy(array.astype(np.float32) / 255)
    return torch.from_numpy(np.array(array, order="C"))


def _held_out(data: Any, share: float, seed: int) -> tuple[Any, Any]:
    """(train, test): a share of the samples, drawn from the seed, becomes the test set."""
    if parts(data)[1] is not None:
        raise InputError("data.test_share goes with data without a test set, found one")
    count = sample_count(data)
    held = round(share * count)
    if not 0 < held < count:
        raise InputError(f"data.test_share must leave samples in both sets, found {share:g} of {count:,}")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return taken(data, order[held:].sort().values), taken(data, order[:held].sort().values)

"""An experiment on a subject that is an object of the running program."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from thalweg.errors import InputError, brief
from thalweg.experiments.framework.discovery import find
from thalweg.experiments.framework.execution import execute
from thalweg.experiments.framework.options import override
from thalweg.runs import Run
from thalweg.sources import PYTHON, Source
from thalweg.subjects import Subject
from thalweg.subjects.code import keep

__all__ = ["run"]


def run(
    name: str, subject: Subject | None = None, *, preset: str = "quick", root: str | Path = "runs", **changes: object
) -> Run:
    """Run an experiment to its end, on a subject or on what the preset names.

    The run folder is named after the settings, the data and the source text of model and loss: calling this again with
    the same returns at once, or goes on where it stopped.

    Args:
        name: Which experiment, such as "spectrum".
        subject: Model, data and loss; None for those of the preset.
        preset: Settings to start from.
        root: Folder of all runs.
        changes: Fields of the experiment with two underscores for dots: ``training__epochs=5``,
            ``vary="model.args.width"``; or as ``**{"training.epochs": 5}``.

    Raises:
        InputError: Unknown experiment, preset or field, a value that is not allowed, or a subject that does not fit.

    >>> import tempfile, torch, thalweg
    >>> from torch import nn
    >>> x = torch.linspace(-1, 1, 16)[:, None]
    >>> subject = thalweg.Subject(lambda: nn.Sequential(nn.Linear(1, 2), nn.Tanh(), nn.Linear(2, 1)), (x, x**2))
    >>> with tempfile.TemporaryDirectory() as root:
    ...     done = run("edge-of-stability", subject, preset="tiny", root=root, training__steps=4, replicas=1)
    ...     done.state
    'complete'
    """
    config = find(name).preset(preset)
    given = {key.replace("__", "."): value for key, value in changes.items()}
    if subject is not None:
        if not isinstance(subject, Subject):
            raise InputError(f"subject must be a thalweg.Subject, found {brief(subject)}")
        config = override(config, _named(subject) | given)
        given = {}
    return execute(name, override(config, given), root)


def _named(subject: Subject) -> dict[str, object]:
    """The fields that name the parts of a subject, each kept under its source for the experiment to find."""
    parts = {"model": subject.model, "data": subject.task(), "loss": subject.loss, "metrics": subject.metrics}
    fields: dict[str, object] = {}
    for part, value in parts.items():
        if value is None or isinstance(value, str):
            fields |= {} if value is None else {part: value}
            continue
        known = subject.sources.get(part)
        digest = subject.task().checksum if part == "data" else known.sha256 if known else _digest(value)
        called = {"model": subject.label, "data": subject.task().label}.get(part, getattr(value, "__name__", part))
        source = Source(PYTHON, "".join(c if c.isalnum() else "_" for c in called).lstrip("0123456789") or part, digest)
        keep(source, subject.given if part == "data" else value)
        fields[part] = str(source)
    if subject.model_args:
        fields["model.args"] = dict(subject.model_args)
    return fields


def _digest(value: Any) -> str:
    """Checksum of what an object is made of: source text, what a function closes over, weights of a module."""
    found = hashlib.sha256()
    for text in _parts(value, set()):
        found.update(text.encode() + b"\0")
    return found.hexdigest()


def _parts(value: Any, seen: set[int]) -> list[str]:
    if id(value) in seen:
        return []
    seen.add(id(value))
    if isinstance(value, Tensor | np.ndarray):
        array = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
        return [f"{array.dtype}{array.shape}", hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()]
    if isinstance(value, nn.Module):
        state = [part for tensor in value.state_dict().values() for part in _parts(tensor, seen)]
        return [repr(value), _text(type(value)), *state]
    if isinstance(value, type):
        return [_text(value)]
    if isinstance(value, Mapping | list | tuple):
        inner = [*value.items()] if isinstance(value, Mapping) else list(value)
        return [type(value).__name__, *(part for one in inner for part in _parts(one, seen))]
    if callable(value):
        function = inspect.unwrap(getattr(value, "func", value))  # of a partial, of a decorated function
        cells = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
        bound = [getattr(value, name, None) for name in ("args", "keywords", "__self__")]
        inner = [*cells, getattr(function, "__defaults__", None), *bound]
        return [_text(function), *(part for one in inner if one is not None for part in _parts(one, seen))]
    return [repr(value)]


def _text(value: Any) -> str:
    """Source text, or what was compiled of it where there is none (an interactive session)."""
    try:
        return inspect.getsource(value)
    except (OSError, TypeError):
        code = getattr(value, "__code__", None)
        return repr((code.co_code, code.co_consts, code.co_names)) if code else f"{type(value)}{value!r}"

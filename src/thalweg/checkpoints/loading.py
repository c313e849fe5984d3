"""Checkpoints of one model as a recording: θ by name, buffers with their weights, steps in order."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from thalweg._files.reading import read_json
from thalweg.checkpoints import choosing, ordering
from thalweg.checkpoints.finding import Source, find
from thalweg.checkpoints.reading import read
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.objective.copying import plain
from thalweg.objective.layout import ParameterLayout
from thalweg.objective.naming import split
from thalweg.objective.saved_names import Names
from thalweg.runs import MemoryRecording
from thalweg.runs.checksums import checksum_of

__all__ = ["load", "restore"]

log = logging.getLogger("thalweg")
SHOWN = 3
Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


@dataclass(frozen=True)
class _Read:
    """One checkpoint: θ (P,), the buffers that it holds, the frozen parameters, and where it is from."""

    source: Source
    theta: Tensor
    buffers: dict[str, Tensor]
    frozen: dict[str, Tensor]
    said: tuple[float | None, float | None]


@dataclass(frozen=True)
class _Target:
    """What checkpoints are read into: a model, what of it θ holds, and the dtype of θ."""

    model: nn.Module
    names: Names
    dtype: torch.dtype

    @classmethod
    def of(cls, model: Any) -> _Target:
        if isinstance(model, Objective):
            return cls(model.module(model.theta), model.names, model.dtype)
        if not isinstance(model, nn.Module):
            raise InputError(f"model must be a torch.nn.Module or an Objective, found {type(model).__name__}")
        model = plain(model)
        layout = ParameterLayout.of(model)
        dtype = max((p.dtype for p in model.parameters()), key=lambda one: torch.finfo(one).bits)
        return cls(model, Names.of(model, layout), dtype if dtype.itemsize >= 4 else torch.float32)


def load(model: nn.Module | Objective, paths: Paths) -> MemoryRecording:
    """Reads checkpoints of a model into a recording of one replica.

    Args:
        model: The model, or an objective: what θ holds, its order and its dtype are those of the objective.
        paths: Files, globs and folders, see :func:`find`; ``last.pt:model_ema`` says which weights of several.

    Returns:
        A recording: ``snapshots`` (S, 1, P) with the ``buffers`` of each checkpoint (running statistics are part of
        it), ``steps`` (S,), and in ``meta`` the files with their checksums, where the steps are from ("step", "epoch",
        "number" in the name, or "order") and the names of the parameters. A copy of another checkpoint of the same
        glob or folder (``last.ckpt``) is left out.

    Raises:
        InputError: No such checkpoint, a file that is damaged or would run code, names that are missing, unexpected or
            misshapen, or several weights in one file of which none was chosen.

    Example:
        >>> import tempfile
        >>> model, file = nn.Linear(3, 2), f"{tempfile.mkdtemp()}/last.pt"
        >>> torch.save({"state_dict": {f"module.{name}": p for name, p in model.state_dict().items()}}, file)
        >>> bool((load(model, file).snapshots[0, 0] == nn.utils.parameters_to_vector(model.parameters())).all())
        True
    """
    target = _Target.of(model)
    found = _distinct([_read(target, source) for source in find(paths)])
    order = ordering.ordered([one.source for one in found], [one.said for one in found])
    if order.source == "order" and len(found) > 1:
        log.info("checkpoints say no steps that tell them apart: they are numbered 0 to %d", len(found) - 1)
    _say_frozen(target, found)
    shared = set.intersection(*(set(one.buffers) for one in found))
    recording = MemoryRecording()
    entries: list[dict[str, Any]] = []
    for place, step in zip(order.places, order.steps, strict=True):
        one = found[place]
        buffers = {name: one.buffers[name][None] for name in sorted(shared)}
        epoch = one.said[1]
        recording.append(step, step if epoch is None else epoch, one.theta[None], None, buffers)
        recording.commit({}, {})
        entries.append({"path": str(one.source), "sha256": checksum_of(one.source.file.resolve()).sha256, "step": step})
    layout = target.names.layout
    names = {name: list(shape) for name, shape in zip(layout.names, layout.shapes, strict=True)}
    recording.finish(meta={"parameters": names, "checkpoints": entries, "steps": order.source})
    return recording


@declared
def restore(model: nn.Module, path: str | Path) -> None:
    """Puts the weights of one checkpoint into a model: θ, frozen parameters and buffers, found by name as by `load`.

    Args:
        model: Is changed.
        path: One checkpoint.

    Raises:
        InputError: As `load`; or several checkpoints.
    """
    sources = find(path)
    if len(sources) > 1:
        raise InputError(f"path must be one checkpoint, found {len(sources)} in {path}")
    model = plain(model)
    layout = ParameterLayout.of(model, frozen=True)
    dtype = max((p.dtype for p in model.parameters()), key=lambda one: torch.finfo(one).bits)
    one = _read(_Target(model, Names.of(model, layout), dtype), sources[0])
    values = {**layout.unravel(one.theta), **one.buffers}
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    with torch.no_grad():
        for name, value in values.items():
            own[name].copy_(value)


def _read(target: _Target, source: Source) -> _Read:
    content = read(source.file)
    values = choosing.chosen(target.names, content, source)
    values = {name: value for name, value in values.items() if isinstance(value, Tensor | np.ndarray)}
    name = f"checkpoint {source}"
    theta, rest = split(target.names, values, name, _patterns(target.model, "unexpected"))
    if theta.dim() != 1:
        raise InputError(f"{name} must hold one value of each parameter, found leading axes {tuple(theta.shape[:-1])}")
    buffers, frozen = _outside(target, rest, name)
    return _Read(source, theta.to(target.dtype, copy=True), buffers, frozen, _said(content, source))


def _outside(target: _Target, rest: Mapping[str, Any], name: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The buffers and the frozen parameters of a checkpoint, in the dtypes of the model's."""
    persistent = target.model.state_dict().keys()
    buffers = {key: value for key, value in target.model.named_buffers() if key in persistent}
    optional = _patterns(target.model, "missing")
    missing = [
        f"'{key}' {tuple(value.shape)}"
        for key, value in buffers.items()
        if key not in rest and not key.endswith("num_batches_tracked") and not any(re.search(p, key) for p in optional)
    ]
    found = {key: torch.as_tensor(value).detach() for key, value in rest.items()}
    own = target.names.outside
    wrong = [
        f"'{key}' of shape {tuple(value.shape)} instead of {tuple(own[key].shape)}"
        for key, value in found.items()
        if value.shape != own[key].shape
    ]
    parts = [f"{word} {_few(some)}" for word, some in (("missing", missing), ("misshapen:", wrong)) if some]
    if parts:
        raise InputError(f"{name} must have the buffers of the model, found {'; '.join(parts)}")
    cast = {key: value.to(own[key].dtype, copy=True) for key, value in found.items()}
    frozen = {key: value for key, value in cast.items() if key not in buffers}
    return {key: value for key, value in cast.items() if key in buffers}, frozen


def _patterns(model: nn.Module, kind: str) -> list[str]:
    """Names that a model of transformers says do not matter."""
    return [str(one) for one in getattr(model, f"_keys_to_ignore_on_load_{kind}", None) or ()]


def _few(found: list[str]) -> str:
    return ", ".join(found[:SHOWN]) + (f" and {len(found) - SHOWN} more" if len(found) > SHOWN else "")


def _said(content: Mapping[str, Any], source: Source) -> tuple[float | None, float | None]:
    step, epoch = choosing.progress(content)
    state = source.file.parent / "trainer_state.json"
    if source.path == source.file.parent and state.is_file():  # a folder of Hugging Face's trainer
        told = read_json(state)
        if isinstance(told, dict):
            own = choosing.progress(told)
            step, epoch = (own[0] if step is None else step), (own[1] if epoch is None else epoch)
    return step, epoch


def _distinct(found: list[_Read]) -> list[_Read]:
    """Without the copies that a program leaves beside the checkpoints it numbers (last.ckpt)."""
    kept: list[_Read] = []
    for one in found:
        twins = [] if one.source.listed else [other for other in kept if _twin(one, other)]
        if twins:
            log.info("%s holds the weights of %s, and is left out", one.source, twins[0].source)
        else:
            kept.append(one)
    return kept


def _twin(one: _Read, other: _Read) -> bool:
    unnumbered = ordering.last_number(ordering.name(one.source)) is None
    around = one.source.path in other.source.path.parents
    return (unnumbered or around or None is not one.said[0] == other.said[0]) and _same(one, other)


def _same(one: _Read, other: _Read) -> bool:
    if not torch.equal(one.theta, other.theta) or one.buffers.keys() != other.buffers.keys():
        return False
    return all(torch.equal(value, other.buffers[name]) for name, value in one.buffers.items())


def _say_frozen(target: _Target, found: list[_Read]) -> None:
    """A warning where a checkpoint holds other frozen parameters than the model."""
    own = target.names.outside
    differing = {
        name
        for one in found
        for name, value in one.frozen.items()
        if not torch.equal(value, own[name].detach().cpu().to(value.dtype))
    }
    if differing:
        log.warning(
            "checkpoints differ from the model in what theta does not hold (%s): the model's values are used; "
            "checkpoints.restore(model, path) takes them over",
            _few([f"'{name}'" for name in sorted(differing)]),
        )

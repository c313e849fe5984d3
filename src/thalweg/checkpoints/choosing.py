"""Which of what a checkpoint holds are the weights: nested under a word, beside an optimizer's state, once or twice."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.checkpoints.finding import Source
from thalweg.errors import InputError, nearest
from thalweg.objective.saved_names import Names, canonical, places

__all__ = ["chosen", "progress"]

DEEPEST = 4  # levels of nesting
STEPS = ("global_step", "step", "steps", "iteration", "iterations", "iter", "iter_num", "num_updates", "n_iter")
EPOCHS = ("epoch", "epochs", "current_epoch", "last_epoch")
ROOT = "."


@dataclass(frozen=True)
class Candidate:
    """Weights in a checkpoint.

    Attributes:
        key: The words under which they lie, joined by dots; "" at the top.
        values: name -> tensor, and what else stands beside them.
        prefix: What stands in front of every name.
    """

    key: str
    values: Mapping[Any, Any]
    prefix: str = ""

    @property
    def label(self) -> str:
        """How a user says that these are meant."""
        return ".".join(filter(None, (self.key, self.prefix.removesuffix(".")))) or ROOT


def chosen(names: Names, content: Mapping[Any, Any], source: Source) -> Mapping[Any, Any]:
    """The names and tensors of the model in a checkpoint; of one without them what comes closest, to be refused.

    Args:
        names: Of the model.
        content: The checkpoint.
        source: Where it is from, with the part that was asked for.

    Raises:
        InputError: It holds the parameters more than once, with other values; or not the part that was asked for.
    """
    tables = [one for one in _tables(content) if any(map(_is_numbers, one.values.values()))]
    if not tables:
        raise InputError(f"{source} must hold the weights of a model, found {_held(content)}")
    fitting = [Candidate(one.key, one.values, prefix) for one in tables for prefix in sorted(places(names, one.values))]
    if source.part:
        return _asked(fitting, tables, source)
    if not fitting:
        wanted = {canonical(name) for name in names.all}
        return max(tables, key=lambda one: sum(canonical(str(key)) in wanted for key in one.values)).values
    if len(fitting) == 1 or all(_equal(fitting[0], one) for one in fitting[1:]):
        return fitting[0].values if len(fitting) == 1 else _alone(fitting[0], fitting)
    labels = [one.label for one in fitting]
    shown = ", ".join(f"'{one}'" for one in labels[:4]) + (f" and {len(labels) - 4} more" if len(labels) > 4 else "")
    raise InputError(
        f"{source.path} holds the model's parameters {len(labels)} times, under {shown} ('.': the names as they are): "
        f"say which, '{source.path}:{labels[-1]}'"
    )


def _asked(fitting: list[Candidate], tables: list[Candidate], source: Source) -> Mapping[Any, Any]:
    known = [one.label for one in fitting] or [one.label for one in tables]
    for one in fitting:
        if one.label == source.part:
            return _alone(one, fitting)
    for one in tables:  # weights that do not fit are refused by their names
        if one.label == source.part:
            return one.values
    hint = nearest(source.part, known) or f" (it has {', '.join(known[:5])})"
    raise InputError(f"{source.path} has no weights under '{source.part}'{hint}")


def _alone(one: Candidate, fitting: list[Candidate]) -> dict[str, Any]:
    """The names under one prefix, without it and without those that lie under the prefix of another candidate."""
    others = [
        other.prefix
        for other in fitting
        if other.key == one.key and other.prefix.startswith(one.prefix) and other.prefix != one.prefix
    ]
    inside = {key: value for key, value in one.values.items() if isinstance(key, str) and key.startswith(one.prefix)}
    kept = {key: value for key, value in inside.items() if not any(key.startswith(other) for other in others)}
    return {key.removeprefix(one.prefix): value for key, value in kept.items()}


def _tables(content: Mapping[Any, Any], key: str = "", deep: int = DEEPEST) -> Iterator[Candidate]:
    """Every mapping in a checkpoint but those of optimizers, from the outside in."""
    yield Candidate(key, content)
    for word, value in content.items() if deep else ():
        if isinstance(value, list | tuple) and any(isinstance(one, Mapping) for one in value):
            value = {str(place): one for place, one in enumerate(value)}
        if isinstance(value, Mapping) and isinstance(word, str) and "optim" not in word.casefold():
            yield from _tables(value, f"{key}.{word}" if key else word, deep - 1)


def _is_numbers(value: Any) -> bool:
    return isinstance(value, Tensor | np.ndarray)


def _equal(one: Candidate, other: Candidate) -> bool:
    """Whether two candidates hold the same numbers under the same names."""
    a, b = _alone(one, [one, other]), _alone(other, [one, other])
    if a.keys() != b.keys():
        return False
    pairs = [(torch.as_tensor(a[name]), torch.as_tensor(b[name])) for name in a if _is_numbers(a[name])]
    return all(x is y or (x.shape == y.shape and torch.equal(x, y)) for x, y in pairs)


def _held(content: Mapping[Any, Any]) -> str:
    words = [str(key) for key in content]
    return (", ".join(words[:4]) + (f" and {len(words) - 4} more" if len(words) > 4 else "")) or "nothing"


def progress(content: Mapping[Any, Any]) -> tuple[float | None, float | None]:
    """The step and the epoch that a checkpoint says of itself, None where it does not.

    Example:
        >>> progress({"epoch": 3, "global_step": torch.tensor(120)})
        (120.0, 3.0)
    """
    return _number(content, STEPS), _number(content, EPOCHS)


def _number(content: Mapping[Any, Any], words: tuple[str, ...]) -> float | None:
    for word in words:
        value = content.get(word)
        if isinstance(value, str):  # in the header of a safetensors file all is text
            value = float(value) if value.replace(".", "", 1).isdigit() else None
        if isinstance(value, Tensor | np.ndarray | np.generic):
            value = value.item() if math.prod(value.shape) == 1 else None
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**62:
            return float(value)
    return None

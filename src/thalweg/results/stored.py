"""Frozen dataclasses in one safetensors file: the arrays as they are, everything else as JSON in its header."""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from thalweg._files.tensors import open_tensors, save_tensors, tensors_of
from thalweg._short import short
from thalweg.errors import InputError

__all__ = ["Stored", "load"]

HEADER = "thalweg"
"""Of the header, under which the JSON stands."""


@short
@dataclasses.dataclass(frozen=True, eq=False)
class Stored:
    """Base of frozen dataclasses that are saved, loaded and compared by value (NaN equals NaN).

    Fields hold tensors, numpy arrays, numbers, text, booleans, None, other stored objects, and tuples, lists and
    mappings (with text as keys) of all these. A field declared with ``compare=False`` is where something came from: it
    is neither saved nor compared, and needs a default.
    """

    _kinds: ClassVar[dict[str, type[Stored]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Stored._kinds[_kind(cls)] = cls

    def __eq__(self, other: object) -> bool:
        return _same(self, other) if type(other) is type(self) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # arrays have no hash

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes everything into one safetensors file, atomically.

        Args:
            path: The file; it must end in ``.safetensors``.

        Returns:
            The path.

        Raises:
            InputError: Another suffix, or a field that holds something else than this class can keep.
            WriteError: The file cannot be written.
        """
        target = Path(path)
        if target.suffix != ".safetensors":
            raise InputError(f"path must end in .safetensors, found '{target.name}'")
        save_tensors(target, *self.packed())
        return target

    def packed(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """What a file of it holds: the arrays, and the text of its header.

        Raises:
            InputError: A field that holds something else than this class can keep.
        """
        arrays: dict[str, Tensor] = {}
        told = json.dumps(_encoded(self, type(self).__name__, arrays), allow_nan=False)
        return arrays, {HEADER: told}

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Reads what :meth:`save` wrote, equal to what it was, on the CPU.

        Raises:
            InputError: The file is missing, damaged, or holds something else.
        """
        found = load(path)
        if not isinstance(found, cls):
            raise InputError(f"{path} must hold a {cls.__name__}, found a {type(found).__name__}")
        return found


def load(path: str | os.PathLike[str]) -> Stored:
    """Reads any result that was saved.

    Classes of thalweg are found by their name, those of your own once the module that defines them is imported.

    Raises:
        InputError: The file is missing, damaged, or holds something else.
    """
    with open_tensors(Path(path)) as file:
        told = (file.metadata() or {}).get(HEADER)
        if told is None:
            raise InputError(f"{path} must be a result that was saved, found other tensors")
        try:
            found = _decoded(json.loads(told), tensors_of(file))
        except (ArithmeticError, AttributeError, ImportError, LookupError, TypeError, ValueError) as error:
            raise InputError(f"{path} cannot be read as a result: {error}") from None
    if not isinstance(found, Stored):
        raise InputError(f"{path} must hold a result, found {type(found).__name__}")
    return found


def _kind(cls: type) -> str:
    """How a file names a class: by its package of thalweg, which stays where modules move."""
    top, *parts = cls.__module__.split(".")
    return ".".join([*(parts[:-1] or parts), cls.__name__]) if top == "thalweg" else f"{cls.__module__}:{cls.__name__}"


def _class(kind: str) -> type[Stored]:
    if kind not in Stored._kinds and ":" not in kind:
        package = kind.rpartition(".")[0]
        if all(part.isidentifier() for part in package.split(".")):
            found = importlib.import_module(f"thalweg.{package}")
            getattr(found, kind.partition(".")[2], None)  # its names register themselves, lazy ones when they are used
    if kind not in Stored._kinds:
        raise InputError(f"it holds a {kind}, which is not known; import the module that defines it first")
    return Stored._kinds[kind]


def _encoded(value: Any, where: str, arrays: dict[str, Tensor]) -> Any:
    match value:
        case None | bool() | str():
            return value
        case np.generic():
            return _encoded(value.item(), where, arrays)
        case int():
            return value
        case float():
            return value if math.isfinite(value) else {"float": str(value)}
        case Tensor() | np.ndarray():
            name = str(len(arrays))
            arrays[name] = torch.from_numpy(np.array(value)) if isinstance(value, np.ndarray) else value
            return {"numpy" if isinstance(value, np.ndarray) else "tensor": name}
        case Stored():
            own = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init and f.compare}
            parts = {name: _encoded(one, f"{where}.{name}", arrays) for name, one in own.items()}
            return {"kind": _kind(type(value)), "fields": parts}
        case tuple() | list():
            parts_ = [_encoded(one, f"{where}[{k}]", arrays) for k, one in enumerate(value)]
            return {"tuple" if isinstance(value, tuple) else "list": parts_}
        case Mapping():
            if not all(isinstance(key, str) for key in value):
                raise InputError(f"{where} must have text as keys, found {list(value)[:3]}")
            return {"mapping": {key: _encoded(one, f"{where}['{key}']", arrays) for key, one in value.items()}}
        case _:
            raise InputError(f"{where} cannot be saved: it holds a {type(value).__name__}")


def _decoded(data: Any, arrays: Mapping[str, Tensor]) -> Any:
    if not isinstance(data, dict):
        return data
    if "kind" in data:
        return _class(data["kind"])(**{name: _decoded(one, arrays) for name, one in data["fields"].items()})
    ((form, content),) = data.items()
    match form:
        case "float":
            return float(content)
        case "tensor":
            return arrays[content]
        case "numpy":
            return arrays[content].numpy()
        case "tuple" | "list":
            parts = [_decoded(one, arrays) for one in content]
            return tuple(parts) if form == "tuple" else parts
        case "mapping":
            return {key: _decoded(one, arrays) for key, one in content.items()}
    raise InputError(f"it names an unknown form '{form}'")


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and _same_numbers(a.detach().cpu(), b.detach().cpu())
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
    if isinstance(a, Stored) and type(a) is type(b):
        return all(_same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a) if f.compare)
    if isinstance(a, tuple | list) and type(a) is type(b):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return list(a) == list(b) and all(_same(one, b[key]) for key, one in a.items())
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a):
        return math.isnan(b)
    return type(a) is type(b) and bool(a == b)


def _same_numbers(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a, b) if not a.is_floating_point() else bool(((a == b) | (a.isnan() & b.isnan())).all())

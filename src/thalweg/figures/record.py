"""Frozen records of numbers and words that compare by value and survive JSON.

A :class:`Record` is a frozen dataclass. Fields annotated ``Vector`` or ``Matrix`` are stored as read-only numpy arrays
of a checked dimension, lists become tuples, two records are equal if their fields are (NaN equals NaN), and
``from_json(to_json())`` gives back an equal record: the dtype of every array, NaN and infinities included. The JSON is
strict (no bare ``NaN``), because browsers read it too.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar, Self

import numpy as np

from thalweg.errors import InputError, nearest

__all__ = ["Matrix", "Record", "Vector"]

Vector = Any
"""One axis. Pass a list, a numpy array or a CPU tensor; it is stored, and read back, as ``np.ndarray``."""

Matrix = Any
"""Two axes, likewise."""

# Annotations are strings here (postponed evaluation): (axes, may be None) of the fields that hold arrays.
_ARRAYS = {"Vector": (1, False), "Vector | None": (1, True), "Matrix": (2, False), "Matrix | None": (2, True)}


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Record:
    """Base of everything a figure is made of."""

    _types: ClassVar[dict[str, type[Record]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Record._types[cls.__name__] = cls

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type in _ARRAYS:
                value = _stored(value, f"{type(self).__name__}.{field.name}", *_ARRAYS[field.type])
            else:
                value = _plain(value)
            object.__setattr__(self, field.name, value)
        self._check()

    def _check(self) -> None:
        """Refuse contradictory fields; subclasses override it."""

    def _refuse(self, field: str, rule: str) -> InputError:
        return InputError(f"{type(self).__name__}.{field} {rule}")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(_same(getattr(self, f.name), getattr(other, f.name)) for f in dataclasses.fields(self))

    __hash__ = None  # type: ignore[assignment]  # arrays have no hash

    def __repr__(self) -> str:
        shown = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                shown.append(f"{field.name}={value.dtype}{list(value.shape)}")
            elif not _same(value, _default(field)):
                shown.append(f"{field.name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """The record as strict JSON data: dictionaries, lists, strings, finite numbers, booleans and null."""
        data: dict[str, Any] = {"type": type(self).__name__}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not _same(value, _default(field)):
                data[field.name] = _encode(value)
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The record that ``to_json`` wrote.

        Raises:
            InputError: If the data describes something else, or names a type or field that is not known.
        """
        record = _decode(data)
        if not isinstance(record, cls):
            raise InputError(f"JSON of a {cls.__name__} expected, found {_described(data)}")
        return record


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _stored(value: Any, name: str, ndim: int, optional: bool) -> np.ndarray | None:
    if value is None:
        if optional:
            return None
        raise InputError(f"{name} must be an array with {ndim} axes, found None")
    try:
        found = np.asarray(value).copy()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name} must be a numeric array: {error}") from None
    if found.size == 0 and found.dtype == object:
        found = found.astype(np.float64)
    if found.dtype.kind not in "biuf":
        raise InputError(f"{name} must hold real numbers, found {found.dtype}")
    if found.dtype == np.float16:
        found = found.astype(np.float32)  # every half is exactly a single; JSON and browsers know no halves
    if found.ndim != ndim:
        raise InputError(f"{name} must have {ndim} axes, found shape {list(found.shape)}")
    found.setflags(write=False)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_plain(item) for item in value)
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    return value.item() if isinstance(value, np.generic) else value


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray)) or a.dtype != b.dtype:
            return False
        return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b):
        return True
    return type(a) is type(b) and a == b if isinstance(a, bool) or isinstance(b, bool) else a == b


def _encode(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_json()
    if isinstance(value, np.ndarray):
        flat = value.ravel()
        # The shortest decimal that reads back as the same float32 is half as long as its float64 expansion.
        numbers = [float(s) for s in flat.astype(str)] if value.dtype == np.float32 else flat.tolist()
        if value.dtype.kind == "f":
            numbers = [n if math.isfinite(n) else str(n) for n in numbers]
        return {"dtype": value.dtype.name, "shape": list(value.shape), "data": numbers}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    return [_encode(item) for item in value] if isinstance(value, tuple) else value


def _decode(data: Any) -> Any:
    if isinstance(data, list):
        return tuple(_decode(item) for item in data)
    if not isinstance(data, dict):
        return data
    if "float" in data:
        return float(data["float"])
    if "dtype" in data:
        try:
            kind = np.dtype(data["dtype"])
            numbers = map(float, data["data"]) if kind.kind == "f" else data["data"]
            return np.array(list(numbers), dtype=kind).reshape(data["shape"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"array in the JSON cannot be read: {error}") from None
    name = data.get("type")
    if name not in Record._types:
        raise InputError(f"JSON of a figure names an unknown type {name!r}{nearest(str(name), Record._types)}")
    kind = Record._types[name]
    known = {field.name for field in dataclasses.fields(kind)}
    fields = {key: _decode(value) for key, value in data.items() if key != "type"}
    for key in fields:
        if key not in known:
            raise InputError(f"JSON of a {name} has an unknown field {key!r}{nearest(key, known)}")
    try:
        return kind(**fields)
    except TypeError as error:
        raise InputError(f"JSON of a {name} is incomplete: {error}") from None


def _described(data: Any) -> str:
    return f"a {data['type']}" if isinstance(data, dict) and "type" in data else f"{type(data).__name__}"

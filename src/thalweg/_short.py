"""How results print: the name, the numbers, and of everything large its shape; a few lines, whatever the size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, TypeVar

__all__ = ["short"]

LONGEST = 560  # characters of a result
INNER = 160  # of a result inside another
NUMBERS = 6  # of an array that are shown as numbers
ENTRIES = 3  # of a tuple or a mapping

Class = TypeVar("Class", bound=type)


def short(cls: Class) -> Class:
    """Gives a dataclass a short `repr`; stands above `@dataclass`.

    At most `LONGEST` characters, or what the class says as `_longest`. Fields with `repr=False` are left out, arrays of
    more than a few numbers become shape and dtype, long tuples and texts are cut.

    >>> from dataclasses import dataclass
    >>> @short
    ... @dataclass
    ... class Result:
    ...     loss: float
    ...     status: tuple[str, ...]
    >>> Result(0.123456789, ("converged",) * 100)
    Result(loss=0.123457, status=('converged', 'converged', 'converged', … 97 more))
    """
    shortened: Any = cls
    shortened.__repr__ = _repr
    return cls


def _repr(result: Any) -> str:
    return _joined(result, getattr(type(result), "_longest", LONGEST))


def _joined(result: Any, room: int) -> str:
    parts: list[str] = []
    used = len(type(result).__name__) + 5
    for part in _parts(result):
        if used + len(part) + 2 > room:
            return f"{type(result).__name__}({', '.join([*parts, '…'])})"
        parts.append(part)
        used += len(part) + 2
    return f"{type(result).__name__}({', '.join(parts)})"


def _parts(result: Any) -> Iterator[str]:
    for field in fields(result):
        if field.repr:
            yield f"{field.name}={_said(getattr(result, field.name))}"


def _said(value: Any, depth: int = 0) -> str:
    if isinstance(value, Enum):
        return str(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return _array(value)
    if is_dataclass(value) and not isinstance(value, type):
        return _joined(value, INNER) if depth == 0 else f"{type(value).__name__}(…)"
    if isinstance(value, tuple | list) and type(value) in (tuple, list):
        return _several([_said(one, depth + 1) for one in value[:ENTRIES]], len(value), type(value))
    if isinstance(value, Mapping):
        shown = [f"{_cut(repr(key))}: {_said(value[key], depth + 1)}" for key in list(value)[:ENTRIES]]
        return f"{{{_several(shown, len(value), list)[1:-1]}}}"
    if callable(value) and hasattr(value, "__name__"):
        return str(value.__name__)
    return _cut(repr(value))


def _several(shown: list[str], count: int, kind: type) -> str:
    shown = [_cut(one) for one in shown]
    more = [f"… {count - len(shown)} more"] if count > len(shown) else []
    inside = ", ".join([*shown, *more])
    if kind is list:
        return f"[{inside}]"
    return f"({inside},)" if count == 1 else f"({inside})"


def _array(value: Any) -> str:
    """Few numbers as they are, more of them as shape and dtype."""
    shape = tuple(value.shape)
    kind = str(value.dtype).removeprefix("torch.")
    if len(shape) > 1 or math.prod(shape) > NUMBERS or getattr(value, "is_meta", False):
        return f"{shape} {kind}"
    numbers = value.tolist()
    if not isinstance(numbers, list):
        return _number(numbers)
    return f"[{', '.join(_number(one) for one in numbers)}]"


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else _cut(str(value))


def _cut(text: str) -> str:
    """One line of bounded length."""
    text = " ".join(text.split())
    return text if len(text) <= INNER // 2 else f"{text[: INNER // 2 - 1]}…"

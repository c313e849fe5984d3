"""The values of a swept field, as they are written: ranges, spaced numbers, lists.

=================  =============================================================================================
``0..4``           the integers 0, 1, 2, 3, 4; ``0..100:25`` every 25th
``log:1..1000:4``  4 numbers with equal ratios, both ends among them: 1, 10, 100, 1000
``lin:0..1:5``     5 numbers with equal distances: 0, 0.25, 0.5, 0.75, 1
``0.1,0.2,None``   what the field accepts, separated by commas; ranges may stand among them: ``1,2,10..12``
``[8,8],[16]``     commas in brackets belong to the value: two networks
=================  =============================================================================================

Spaced numbers are rounded where the field takes integers, and a value that comes twice counts once.
"""

from __future__ import annotations

import math
import re
import typing
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np

from thalweg.errors import InputError, brief

__all__ = ["expand", "spread"]

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(?::({_NUMBER}))?")
_SPACED = re.compile(rf"(log|lin):({_NUMBER})\.\.({_NUMBER}):(\d+)")
_MOST = 100_000  # values of one range; a task is a run in a folder of its own
_DIGITS = 12  # significant; 0.1 and not 0.1000000000000000056


def spread(key: str, given: object, annotation: Any) -> list[object]:
    """The values of one field, each as :func:`~thalweg.experiments.framework.options.override` takes it.

    Args:
        key: The field, for messages.
        given: Text in the grammar above; a sequence of values (numbers, text in the grammar, or whatever the field
            takes); or a single value.
        annotation: The type of the field, which says whether spaced numbers are rounded.

    Raises:
        InputError: Text that breaks the grammar, or no value at all.

    >>> spread("training.batch_size", "log:8..100:3", int | None), spread("seed", range(2), int)
    (['8', '28', '100'], ['0', '1'])
    """
    items = given if isinstance(given, Sequence | range | np.ndarray) and not isinstance(given, str) else [given]
    found: list[object] = []
    for item in items:
        plain = item.item() if isinstance(item, np.generic) else item
        if isinstance(plain, str):
            found += expand(key, plain, annotation)
        elif isinstance(plain, int | float) and not isinstance(plain, bool):
            found.append(repr(plain))  # text, so that it fits a sequence of numbers as well
        else:
            found.append(plain)
    if not found:
        raise InputError(f"sweep of {key} must have at least one value, found {given!r}")
    return found


def expand(key: str, text: str, annotation: Any) -> list[str]:
    """The values that a text stands for.

    Args:
        key: As :func:`spread`, like the next two.
        text: See there.
        annotation: See there.

    Raises:
        InputError: The text breaks the grammar.

    >>> expand("seed", "0..4", int)
    ['0', '1', '2', '3', '4']
    >>> expand("training.lr", "log:1e-3..1e-1:3,0.5", float)
    ['0.001', '0.01', '0.1', '0.5']
    >>> expand("model.hidden", "[8,8],[16]", tuple[int, ...])
    ['[8,8]', '[16]']
    >>> expand("training.lr", "log:0..1:3", float)
    Traceback (most recent call last):
        ...
    thalweg.errors.InputError: sweep of training.lr must have positive ends for log:, found 'log:0..1:3'
    """
    return [value for part in _parts(text) for value in _values(key, part.strip(), annotation)]


def _parts(text: str) -> Iterable[str]:
    """The text cut at commas that are in no brackets and no quotes."""
    depth, quote, begin = 0, "", 0
    for place, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif character == "," and depth == 0:
            yield text[begin:place]
            begin = place + 1
    yield text[begin:]


def _values(key: str, part: str, annotation: Any) -> list[str]:
    if not part:
        raise InputError(f"sweep of {key} must have a value between two commas, found none")
    if part.startswith(("log:", "lin:")):
        spaced = _SPACED.fullmatch(part)
        if spaced is None:
            raise _refused(key, f"be written {part[:4]}FROM..TO:COUNT", part)
        return _spaced(key, part, annotation, *spaced.groups())
    counted = _RANGE.fullmatch(part)
    return [part] if counted is None else _counted(key, part, *counted.groups())


def _counted(key: str, part: str, low: str, high: str, step: str | None) -> list[str]:
    try:
        first, last, by = int(low), int(high), int(step or "1")
    except ValueError:
        raise _refused(key, "be FROM..TO of integers, lin:FROM..TO:COUNT or log:FROM..TO:COUNT", part) from None
    if last < first or by < 1:
        raise _refused(key, "count upwards", part)
    _check_count(key, (last - first) // by + 1, part)
    return [str(value) for value in range(first, last + 1, by)]


def _spaced(key: str, part: str, annotation: Any, kind: str, low: str, high: str, count: str) -> list[str]:
    first, last = float(low), float(high)
    points = int(count) if len(count) <= _DIGITS else _MOST + 1  # of more digits than Python reads as a number
    if not (math.isfinite(first) and math.isfinite(last) and math.isfinite(last - first)):
        raise _refused(key, "have ends that are ordinary numbers", part)
    if kind == "log" and min(first, last) <= 0:
        raise _refused(key, "have positive ends for log:", part)
    if points < 2 or first == last:
        raise _refused(key, "have two different ends and a COUNT of at least 2", part)
    _check_count(key, points, part)
    taken = _members(annotation)
    if annotation is Any:  # a keyword argument of the user's: an integer between integers
        taken = {int} if low.isdigit() and high.isdigit() else {float}
    if not taken & {int, float}:
        raise _refused(key, "be a list of values, not of numbers", part)
    values = np.geomspace(first, last, points) if kind == "log" else np.linspace(first, last, points)
    if float not in taken:
        return list(dict.fromkeys(str(round(value)) for value in values.tolist()))
    return [repr(float(f"{value:.{_DIGITS}g}")) for value in values.tolist()]


def _members(annotation: Any) -> set[Any]:
    """All plain types in an annotation such as ``tuple[int, ...] | None``."""
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal or not inside:
        return {annotation} if isinstance(annotation, type) else set()
    return set().union(*map(_members, inside[:1] if origin is typing.Annotated else inside))


def _check_count(key: str, count: int, part: str) -> None:
    if count > _MOST:
        raise _refused(key, f"have at most {_MOST:,} values", part)


def _refused(key: str, rule: str, found: str) -> InputError:
    return InputError(f"sweep of {key} must {rule}, found {brief(found)}")

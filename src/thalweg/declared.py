"""Arguments of the kind that a signature declares: whole numbers, real numbers, switches, words, objects of a class.

A public function takes :func:`declared` above its `def`; what its annotations say of plain kinds then holds before its
first line runs, with one sentence of an :class:`~thalweg.errors.InputError` for anything else. Annotations that name
anything more (a tensor, an objective, either of two) are left to the function, which knows what else it can read.
"""

from __future__ import annotations

import functools
import inspect
import math
import operator
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast, get_args, get_origin

from thalweg.errors import InputError, brief

__all__ = ["declared", "real", "whole"]

LARGEST = 2**63 - 1
"""The greatest whole number that a tensor, a seed or a file can hold."""

CLASSES = frozenset({"Recipe", "Recording", "Run"})
"""Classes that nothing else can stand for; of others a function says itself what it takes in their place."""

Function = TypeVar("Function", bound=Callable[..., Any])


def whole(name: str, value: Any, least: int | None = None) -> int:
    """A whole number, also of numpy or as a tensor without axes; neither 3.0 nor True is one.

    Args:
        name: Of the argument.
        value: What was given for it.
        least: The smallest that is allowed.

    Raises:
        InputError: Something else.

    >>> whole("replicas", 3, 1)
    3
    >>> whole("replicas", 3.0, 1)
    Traceback (most recent call last):
        ...
    thalweg.errors.InputError: replicas must be a whole number, found 3.0
    """
    try:
        number = operator.index(value)
    except (TypeError, ValueError, RuntimeError):
        number = None
    if number is None or isinstance(value, bool) or str(getattr(value, "dtype", "")).endswith("bool"):
        raise InputError(f"{name} must be a whole number, found {brief(value)}")
    if least is not None and number < least:
        raise InputError(f"{name} must {f'be at least {least}' if least else 'not be negative'}, found {number}")
    return number


def _stored(name: str, value: Any) -> int:
    """A whole number that 64 bits hold: what is larger is neither drawn, counted nor written."""
    if not -LARGEST <= (number := whole(name, value)) <= LARGEST:
        raise InputError(f"{name} must be a whole number below 2**63, found {brief(number)}")
    return number


def real(name: str, value: Any) -> float:
    """A real number, also of numpy or as a tensor without axes.

    Raises:
        InputError: Text, None, a switch, a complex number, several numbers.

    >>> real("l2", "1e-3")
    Traceback (most recent call last):
        ...
    thalweg.errors.InputError: l2 must be a number, found '1e-3'
    """
    if isinstance(value, float | int) and not isinstance(value, bool):
        if isinstance(value, int) and value.bit_length() > 1023:
            raise InputError(f"{name} must be a number below 1e308, found {brief(value)}")
        return value
    kind = str(getattr(value, "dtype", ""))
    if "int" in kind or "float" in kind:
        shape = tuple(getattr(value, "shape", ()))
        if math.prod(shape) == 1:
            return float(value)
        raise InputError(f"{name} must be a single number, found {type(value).__name__} of shape {shape}")
    raise InputError(f"{name} must be a number, found {brief(value)}")


def switch(name: str, value: Any) -> bool:
    """True or False, also of numpy.

    Raises:
        InputError: Something else.
    """
    if isinstance(value, bool) or str(getattr(value, "dtype", "")) == "bool":
        return bool(value)
    raise InputError(f"{name} must be True or False, found {brief(value)}")


def word(name: str, value: Any) -> str:
    """Text.

    Raises:
        InputError: Something else.
    """
    if isinstance(value, str):
        return value
    raise InputError(f"{name} must be text, found {brief(value)}")


def words(name: str, value: Any) -> tuple[str, ...]:
    """Several texts; one alone is a list of one.

    Raises:
        InputError: Something else, or none at all.

    >>> words("metrics", "loss")
    ('loss',)
    """
    listed = (value,) if isinstance(value, str) else value
    if not isinstance(listed, list | tuple | set | frozenset | dict) or not all(isinstance(one, str) for one in listed):
        raise InputError(f"{name} must be text or a list of texts, found {brief(value)}")
    return tuple(listed)


def function(name: str, value: Any) -> Any:
    """Something that can be called.

    Raises:
        InputError: Something else.
    """
    if callable(value):
        return value
    raise InputError(f"{name} must be a function, found {brief(value)}")


def place(name: str, value: Any) -> Any:
    """The path of a file or folder.

    Raises:
        InputError: Something else.
    """
    if isinstance(value, str | os.PathLike):
        return value
    raise InputError(f"{name} must be a path, found {brief(value)}")


def precision(name: str, value: Any) -> Any:
    """A dtype of torch, which is not imported for it.

    Raises:
        InputError: Something else, such as its name.
    """
    if type(value).__module__ == "torch" and type(value).__name__ == "dtype":
        return value
    hint = f": take torch.{value}" if isinstance(value, str) and value.isidentifier() else ""
    raise InputError(f"{name} must be a torch.dtype, found {brief(value)}{hint}")


CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "int": _stored,
    "float": real,
    "bool": switch,
    "str": word,
    "str | Path": place,
    "Sequence[str]": words,
    "str | Sequence[str]": words,
    "torch.dtype": precision,
}


def declared(wrapped: Function) -> Function:
    """Checks plain kinds of arguments before the function runs; a number of numpy or a tensor becomes Python's own.

    >>> @declared
    ... def times(k: int, by: float = 2.0) -> float:
    ...     return k * by
    >>> times(3)
    6.0
    >>> times("3")
    Traceback (most recent call last):
        ...
    thalweg.errors.InputError: k must be a whole number, found '3'
    """
    signature = inspect.signature(wrapped)
    checks = {name: one for name, one in ((p.name, _check(p, wrapped)) for p in signature.parameters.values()) if one}

    @functools.wraps(wrapped)
    def checked(*args: Any, **kwargs: Any) -> Any:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:  # too many, too few, an unknown name: Python says it
            return wrapped(*args, **kwargs)
        for name, value in bound.arguments.items():
            if name in checks:
                bound.arguments[name] = checks[name](name, value)
        return wrapped(*bound.args, **bound.kwargs)

    return cast(Function, checked)


def _check(parameter: inspect.Parameter, wrapped: Callable[..., Any]) -> Callable[[str, Any], Any] | None:
    """What to do with the value of one parameter; None where its annotation names more than plain kinds."""
    if not isinstance(parameter.annotation, str) or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        return None
    kind = parameter.annotation.removesuffix(" | None")
    optional = kind != parameter.annotation
    if kind not in CHECKS and not re.fullmatch(r"\w+|(Mapping|Literal|Callable)\[[^|]*\]", kind):
        return None

    there = inspect.unwrap(wrapped).__globals__  # of the function itself, under whatever else decorates it

    def check(name: str, value: Any) -> Any:
        if value is None and optional:
            return None
        return CHECKS[kind](name, value) if kind in CHECKS else _named(name, value, kind, there)

    return check


def _named(name: str, value: Any, kind: str, there: Mapping[str, Any]) -> Any:
    """Checks a value against a class or a choice, found by its name where the function stands."""
    if kind.startswith("Mapping["):
        if not isinstance(value, Mapping):
            raise InputError(f"{name} must be a mapping of names, found {brief(value)}")
        if get_origin(there.get(re.split(r"\W+", kind)[-2])) is Callable:
            for key, one in value.items():
                function(f"{name}[{brief(key)}]", one)
    elif kind.startswith("Callable[") or get_origin(there.get(kind)) is Callable:
        return function(name, value)
    elif kind in CLASSES:  # by name, for a module may know a class for its annotations only
        if not any(one.__name__ == kind and one.__module__.startswith("thalweg.") for one in type(value).__mro__):
            raise InputError(f"{name} must be a thalweg {kind}, found {brief(value)}")
    elif not isinstance(value, str):  # which words there are, and which is meant, the function says itself
        options = re.findall(r"[\w-]+", kind[7:]) if kind.startswith("Literal[") else get_args(there.get(kind))
        if options and all(isinstance(one, str) for one in options):
            raise InputError(f"{name} must be one of {', '.join(options)}, found {brief(value)}")
    return value

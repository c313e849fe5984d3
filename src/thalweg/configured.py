"""Configurations whose faults are told in one sentence, whoever makes them: by name, rule and value found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from thalweg.errors import InputError, brief, nearest

__all__ = ["Configured", "broken_rule"]


def broken_rule(item: Mapping[str, Any]) -> tuple[str, str]:
    """What pydantic demands of a value, as the end of "… must", and the words for the value found.

    Args:
        item: One of the errors that pydantic lists, neither of a validator of ours nor of a name.
    """
    found, message = f"found {brief(item['input'])}", str(item["msg"])
    if item["type"] == "int_parsing_size":
        return "be an integer of at most 4300 digits", found
    if item["type"] == "literal_error":
        found += nearest(str(item["input"]), re.findall(r"'([^']*)'", item["ctx"]["expected"]))
    rule = re.sub(r"^\w+ should (be )?", r"", message).partition(", unable to")[0]
    return f"be {rule}" if " should be " in message else rule, found


def _told(error: ValidationError, fields: Iterable[str], title: str) -> str:
    """All faults of a configuration that code has made."""
    rules: dict[tuple[str, str], list[str]] = {}  # the members of a union complain one by one about the same value
    whole: list[str] = []
    for item in error.errors(include_url=False):
        name = _name(item["loc"])
        if item["type"] == "extra_forbidden":
            whole.append(f"unknown field '{name}'{nearest(name, fields)}")
        elif item["type"] == "missing":
            whole.append(f"{name} must be given")
        elif item["type"] in ("value_error", "assertion_error"):
            sentence = str(item["msg"]).partition(", ")[2]
            whole.append(f"{name}: {sentence}" if name else sentence)
        else:
            rule, found = broken_rule(item)
            rules.setdefault((name, found), []).append(rule)
    parts = [
        f"{name or title} must {' or '.join(dict.fromkeys(some))}, {found}" for (name, found), some in rules.items()
    ]
    return "; ".join([*parts, *whole])


def _name(location: tuple[int | str, ...]) -> str:
    """The dotted field, without the tags that pydantic puts in for the members of a union."""
    tags = {"int", "float", "str", "bool", "tuple", "list", "dict", "none"}
    parts = [f"[{part}]" if isinstance(part, int) else part for part in location]
    kept = [
        part for place, part in enumerate(parts) if not place or (part not in tags and not re.search(r"\w\[", part))
    ]
    return ".".join(kept).replace(".[", "[")


class _Telling(type(BaseModel)):
    """Made by a call, a configuration speaks for itself; inside another one its faults are the other's to tell."""

    model_fields: dict[str, Any]

    def __call__(cls, *args: Any, **fields: Any) -> Any:
        if args:
            raise InputError(f"{cls.__name__} must be given its fields by name, found {brief(args[0])}")
        try:
            return super().__call__(*args, **fields)
        except ValidationError as error:
            raise InputError(_told(error, cls.model_fields, cls.__name__)) from None


if TYPE_CHECKING:
    Configured = BaseModel
else:

    class Configured(BaseModel, metaclass=_Telling):
        """Base of configurations.

        >>> class Sizes(Configured):
        ...     depth: int = 3
        >>> Sizes(depth="deep")
        Traceback (most recent call last):
            ...
        thalweg.errors.InputError: depth must be a valid integer, found 'deep'
        """

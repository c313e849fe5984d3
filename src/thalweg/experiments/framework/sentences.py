"""What is wrong with a configuration, in one sentence: the field, the rule, the value found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from thalweg.configured import broken_rule
from thalweg.experiments.framework.fields import closest, rows

__all__ = ["sentence"]

SHOWN = 5
"""Faults that one sentence names; the others are counted."""


def sentence(error: ValidationError, kind: type[BaseModel], spelled: Mapping[str, str] | None = None) -> str:
    """All that pydantic found, as one sentence without its types and links.

    Args:
        error: What validation raised.
        kind: The model that was validated.
        spelled: Dotted field -> how the user wrote it, where that differs (``training.batch-size``).

    >>> from pydantic import Field
    >>> class Config(BaseModel):
    ...     replicas: int = Field(default=8, ge=1)
    >>> try:
    ...     Config(replicas=0)
    ... except ValidationError as error:
    ...     print(sentence(error, Config))
    replicas must be greater than or equal to 1, found 0
    """
    known, spelled = {row.name: row for row in rows(kind)}, spelled or {}
    rules: dict[tuple[str, str], list[str]] = {}  # the members of a union complain one by one about the same value
    whole: list[str] = []
    for item in error.errors(include_url=False):
        name, message = _name(item["loc"], known), str(item["msg"])
        if item["type"] == "extra_forbidden":
            unknown = ".".join(map(str, item["loc"]))
            whole.append(f"unknown field '{unknown}'{closest(unknown, list(known))}")
        elif item["type"] == "missing":
            whole.append(f"{'.'.join(map(str, item['loc']))} must be given")
        elif item["type"] in ("value_error", "assertion_error"):
            whole.append(_placed(message.partition(", ")[2], name, known, kind, spelled))
        else:
            rule, found = broken_rule(item)
            rules.setdefault((name, found), []).append(rule)
    for (name, found), parts in rules.items():
        field = spelled.get(name, name) or "the configuration"
        whole.append(f"{field} must {' or '.join(dict.fromkeys(parts))}, {found}")
    distinct = list(dict.fromkeys(whole))
    more = f"; and {len(distinct) - SHOWN} more like these" if len(distinct) > SHOWN else ""
    return "; ".join(distinct[:SHOWN]) + more


def _name(location: tuple[int | str, ...], known: dict[str, Any]) -> str:
    """The dotted field of an error; the tags that pydantic puts in for the members of a union are left out."""
    name = ""
    for part in location:
        longer = f"{name}.{part}" if name else str(part)
        if isinstance(part, int):
            name += f"[{part}]"
        elif longer in known:
            name = longer
    return name


def _placed(message: str, name: str, known: dict[str, Any], kind: type[BaseModel], spelled: Mapping[str, str]) -> str:
    """A sentence of our own validators: they name a field of their table, the reader needs its place from the top."""
    tables = known[name].tables if name in known else (kind,) if not name else ()
    first = message.split()[0] if message else ""
    if any(first in table.model_fields for table in tables):
        field = f"{name}.{first}" if name else first
    elif first == name.rpartition(".")[2]:
        field = name
    else:
        return f"{spelled.get(name, name)}: {message}" if name else message
    return spelled.get(field, field) + message[len(first) :]

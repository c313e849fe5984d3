"""What is wrong with a configuration, in one sentence: the field, the rule, the value found."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ValidationError

from thalweg.errors import nearest
from thalweg.experiments.fields import closest, rows

__all__ = ["sentence"]


def sentence(error: ValidationError, kind: type[BaseModel]) -> str:
    """All that pydantic found, as one sentence without its types and links.

    Args:
        error: What validation raised.
        kind: The model that was validated.

    >>> from pydantic import Field
    >>> class Config(BaseModel):
    ...     replicas: int = Field(default=8, ge=1)
    >>> try:
    ...     Config(replicas=0)
    ... except ValidationError as error:
    ...     print(sentence(error, Config))
    replicas must be greater than or equal to 1, found 0
    """
    known = {row.name: row for row in rows(kind)}
    rules: dict[tuple[str, str], list[str]] = {}  # the members of a union complain one by one about the same value
    whole: list[str] = []
    for item in error.errors(include_url=False):
        name, found, message = _name(item["loc"], known), f"found {item['input']!r}", str(item["msg"])
        if item["type"] == "extra_forbidden":
            unknown = ".".join(map(str, item["loc"]))
            whole.append(f"unknown field '{unknown}'{closest(unknown, list(known))}")
        elif item["type"] == "missing":
            whole.append(f"{'.'.join(map(str, item['loc']))} must be given")
        elif item["type"] in ("value_error", "assertion_error"):
            whole.append(_placed(message.partition(", ")[2], name, known, kind))
        else:
            rule = re.sub(r"^\w+ should (be )?", r"", message).partition(", unable to")[0]
            if item["type"] == "literal_error":
                found += nearest(str(item["input"]), re.findall(r"'([^']*)'", item["ctx"]["expected"]))
            rules.setdefault((name, found), []).append(f"be {rule}" if " should be " in message else rule)
    for (name, found), parts in rules.items():
        whole.append(f"{name or 'the configuration'} must {' or '.join(dict.fromkeys(parts))}, {found}")
    return "; ".join(dict.fromkeys(whole))


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


def _placed(message: str, name: str, known: dict[str, Any], kind: type[BaseModel]) -> str:
    """A sentence of our own validators: they name a field of their table, the reader needs its place from the top."""
    tables = known[name].tables if name in known else (kind,) if not name else ()
    first = message.split()[0] if message else ""
    if any(first in table.model_fields for table in tables):
        return f"{name}.{message}" if name else message
    table, _, last = name.rpartition(".")
    if first == last:
        return f"{table}.{message}" if table else message
    return f"{name}: {message}" if name else message

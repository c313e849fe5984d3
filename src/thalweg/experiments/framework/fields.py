"""The fields of a configuration as rows: for error messages, help and the docs."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from thalweg.errors import nearest

__all__ = ["FieldRow", "closest", "named", "rows", "tables", "value"]

ARGUMENTS = "args"
"""Last part of the name of a field that holds keyword arguments, each of which is a field of its own to the user."""


@dataclass(frozen=True)
class FieldRow:
    """One field of a configuration.

    Attributes:
        name: Dotted from the top, ``training.batch_size``.
        annotation: Its type.
        default: Its default in the class (a preset may differ); pydantic's ``PydanticUndefined`` if it must be given.
        text: What it means.
        tables: The models that a table of this name may be; empty for a plain value.
    """

    name: str
    annotation: Any
    default: Any
    text: str
    tables: tuple[type[BaseModel], ...]

    @property
    def kind(self) -> str:
        """The type as a person reads it."""
        return _readable(self.annotation)


def rows(config: type[BaseModel], prefix: str = "") -> Iterator[FieldRow]:
    """All fields of a configuration, a table followed by the fields in it.

    >>> from thalweg.experiments import ExperimentConfig
    >>> [(row.name, row.kind, row.default) for row in rows(ExperimentConfig)][:2]
    [('seed', 'int', 0), ('device', 'str', 'cpu')]
    """
    seen = set()
    for name, field in config.model_fields.items():
        row = FieldRow(
            prefix + name, field.annotation, _default(field), field.description or "", tables(field.annotation)
        )
        yield row
        for table in row.tables:  # fields that several members of a union share are listed once
            for inner in rows(table, f"{row.name}."):
                if inner.name not in seen:
                    seen.add(inner.name)
                    yield inner


def named(name: str, known: Mapping[str, FieldRow]) -> FieldRow | None:
    """The row of a dotted field; also of a name within a field of keyword arguments, such as ``model.args.width``.

    >>> from thalweg.models.config import ModelConfig
    >>> known = {row.name: row for row in rows(ModelConfig)}
    >>> named("args.width", known).text, named("width.args", known)
    ('Keyword argument of your own.', None)
    """
    if name in known:
        return known[name]
    table, _, key = name.rpartition(".")
    if table in known and table.rpartition(".")[2] == ARGUMENTS and key.isidentifier():
        return FieldRow(name, Any, None, "Keyword argument of your own.", ())
    return None


def tables(annotation: Any) -> tuple[type[BaseModel], ...]:
    """The pydantic models in an annotation such as ``Training`` or ``Training | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return (annotation,)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated):
        return tuple(table for member in typing.get_args(annotation) for table in tables(member))
    return ()


def value(config: BaseModel, name: str) -> object:
    """The value of a dotted field; None below a table that is absent.

    >>> from thalweg.experiments import ExperimentConfig
    >>> value(ExperimentConfig(seed=3), "seed")
    3
    """
    found: object = config
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else getattr(found, part, None)
    return found


def closest(name: str, known: list[str]) -> str:
    """As :func:`~thalweg.errors.nearest`, and a field is also found by its last part alone.

    >>> closest("lr", ["seed", "training.lr"])
    ", did you mean 'training.lr'?"
    """
    last = [option for option in known if option.rpartition(".")[2] == name.rpartition(".")[2]]
    return nearest(name, known) or (f", did you mean '{last[0]}'?" if last else "")


def _default(field: FieldInfo) -> Any:
    # A factory that looks at other fields has no default of its own.
    return None if field.default_factory_takes_validated_data else field.get_default(call_default_factory=True)


def _readable(annotation: Any) -> str:
    origin, members = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is type(None):
        return "None"
    if origin is Literal:
        return " | ".join(map(repr, members))
    if origin is typing.Annotated:
        return _readable(members[0])
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(_readable, members))
    if origin is not None:
        inner = ", ".join("..." if member is Ellipsis else _readable(member) for member in members)
        return f"{origin.__name__}[{inner}]"
    return getattr(annotation, "__name__", str(annotation))

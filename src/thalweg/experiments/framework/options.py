"""From a preset, a TOML file and overrides to one validated configuration.

All three speak of the same thing, dotted keys with values, and meet in :func:`override`: the command line, the TOML
file and a sweep accept exactly the same and refuse it in the same words.
"""

from __future__ import annotations

import re
import tomllib
import typing
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from thalweg._files.reading import regular
from thalweg.errors import InputError, brief
from thalweg.experiments.framework.config import ExperimentConfig
from thalweg.experiments.framework.fields import FieldRow, closest, named, rows, value
from thalweg.experiments.framework.sentences import sentence

if TYPE_CHECKING:
    from thalweg.experiments.framework.discovery import Experiment

__all__ = ["configure", "flatten", "override", "plain_value", "read_arguments", "read_toml", "toml_value", "validated"]

C = TypeVar("C", bound=BaseModel)


def configure(
    experiment: Experiment,
    *,
    preset: str = "quick",
    file: Path | None = None,
    changes: Mapping[str, object] | None = None,
) -> ExperimentConfig:
    """A preset, changed by a TOML file, changed by overrides.

    Args:
        experiment: Whose configuration.
        preset: Where to start.
        file: TOML whose keys are fields; tables are nested.
        changes: Dotted field to value, as for :func:`override`; these win.

    Raises:
        InputError: An unknown preset or field, a value that is not allowed, a file that is no TOML.
    """
    config = experiment.preset(preset)
    if file is not None:
        data = read_toml(file)
        if "sweep" in data:
            raise InputError(f"{file} must have no table [sweep] for a single run: `thalweg sweep` reads it")
        try:
            config = override(config, flatten(data, type(config)))
        except InputError as error:
            raise InputError(f"{file}: {error}") from error
    return override(config, changes or {})


def override(config: C, changes: Mapping[str, object]) -> C:
    """The same configuration with some fields changed, validated as a whole.

    Args:
        config: Any pydantic model.
        changes: Dotted field (``training.batch_size``; hyphens count as underscores) to its new value. Text is
            converted to the field's type: ``"64"``, ``"true"``, ``"None"``, ``"10,10"`` or ``"[10, 10]"`` for a
            sequence, a TOML value for anything else.

    Raises:
        InputError: An unknown field (the nearest is offered), or values that are not allowed.

    >>> class Training(BaseModel):
    ...     rate: float = 0.1
    ...     widths: tuple[int, ...] = (8,)
    >>> class Config(BaseModel):
    ...     training: Training = Training()
    >>> override(Config(), {"training.rate": "1e-3", "training.widths": "10,10"})
    Config(training=Training(rate=0.001, widths=(10, 10)))
    >>> override(Config(), {"training.rte": 1})
    Traceback (most recent call last):
        ...
    thalweg.errors.InputError: unknown field 'training.rte', did you mean 'training.rate'?
    """
    if not changes:
        return config
    known = {row.name: row for row in rows(type(config))}
    spelled: dict[str, str] = {}
    for key, given in changes.items():
        name = _spelled_out(key, given, known, config)
        if name in spelled:
            raise InputError(f"field '{name}' must be given once, found {spelled[name]} and {key}")
        spelled[name] = key
    data = config.model_dump()
    for name, key in sorted(spelled.items(), key=lambda pair: not _replaces(pair[0], config)):  # these first
        row = named(name, known)
        if row is None and isinstance(config, ExperimentConfig) and name in config.REFUSES:
            raise InputError(f"{name} has no place here: {config.REFUSES[name]}")
        if row is None:
            raise InputError(
                f"unknown field '{key}'{closest(name, list(known)) or ', see `thalweg run EXPERIMENT --help`'}"
            )
        found = _converted(changes[key], row, key)
        if name.endswith(f".{SOURCE}") and found is not None:
            _replace(data, name.removesuffix(f".{SOURCE}"), config, spelled)
        elif _replaces(name, config) and found and not value(config, name):
            _reset(data, name, config, spelled)
        _assign(data, name.split("."), found)
    return validated(type(config), data, spelled)


def validated(kind: type[C], data: Mapping[str, object], spelled: Mapping[str, str] | None = None) -> C:
    """A configuration from nested data, such as the ``config.json`` of a run.

    Args:
        kind: Its class.
        data: Its fields.
        spelled: Dotted field -> how the user wrote it, for messages.

    Raises:
        InputError: It is no valid configuration; one sentence names the fields, the rules and the values.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise InputError(sentence(error, kind, spelled)) from None


def flatten(data: Mapping[str, object], kind: type[BaseModel]) -> dict[str, object]:
    """Nested tables as dotted fields: ``{"training": {"rate": 0.5}}`` becomes ``{"training.rate": 0.5}``.

    Args:
        data: What a TOML file holds.
        kind: The configuration that says which names are tables; any other mapping stays a value.
    """
    known = {row.name for row in rows(kind) if row.tables}

    def walk(table: Mapping[str, object], prefix: str) -> Iterable[tuple[str, object]]:
        for key, found in table.items():
            name = prefix + key.replace("-", "_")
            if isinstance(found, Mapping) and name in known:
                yield from walk(found, f"{name}.")
            else:
                yield name, found

    return dict(walk(data, ""))


def read_toml(path: Path) -> dict[str, object]:
    """The content of a TOML file.

    Raises:
        InputError: It cannot be read, or is no TOML.
    """
    if path.exists() and not path.is_dir():
        regular(path, follow=True)
    try:
        return tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise InputError(f"cannot read {path}: {str(error.strerror).lower()}") from None
    except RecursionError:
        raise InputError(f"{path} is no TOML file: it is too deeply nested") from None
    except ValueError as error:  # of TOML, of the encoding, or of Python, which reads 4,300 digits of a number at most
        raise InputError(f"{path} is no TOML file: {error}") from None


def toml_value(text: str) -> object:
    """A value as TOML writes it.

    Raises:
        ValueError: The text is none.

    >>> toml_value("[8, 8]")
    [8, 8]
    """
    try:
        table = tomllib.loads(f"value = {text}")
    except RecursionError:
        raise ValueError(f"a value must not be nested that deep, found {brief(text)}") from None
    if len(table) > 1 or "\n" in text:
        raise ValueError(f"a value must be a single one, found {brief(text)}")
    return table["value"]


def read_arguments(arguments: Sequence[str]) -> dict[str, str | list[str]]:
    """Overrides as they stand on a command line.

    Args:
        arguments: ``--any.field VALUE``, ``--any.field=VALUE``, ``--a.sequence VALUE VALUE``.

    Raises:
        InputError: A value without a field, or a field given twice.

    >>> read_arguments(["--seed", "3", "--training.widths", "10", "10", "--data.name=mnist"])
    {'seed': '3', 'training.widths': ['10', '10'], 'data.name': 'mnist'}
    """
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for argument in arguments:
        if argument.startswith("--") and len(argument) > 2:
            name, equals, value = argument[2:].partition("=")
            if name in found:
                raise InputError(f"option --{name} is given twice")
            current = found[name] = [value] if equals else []
        elif current is None:
            raise InputError(f"unexpected argument {brief(argument)}: fields are given as --field VALUE")
        else:
            current.append(argument)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


SOURCE = "source"
"""Last part of the name of a field that names something of the user's in place of the table that it stands in."""


def _spelled_out(key: str, given: object, known: Mapping[str, FieldRow], config: BaseModel) -> str:
    """The dotted name that a key stands for: a table given as a text is its source; what is short for others."""
    name = key.replace("-", "_")
    head, dot, rest = name.partition(".")
    if head not in known and isinstance(config, ExperimentConfig) and head in config.SHORT:
        name = f"{config.SHORT[head]}{dot}{rest}"
    if isinstance(given, str) and given != "None" and f"{name}.{SOURCE}" in known and name in known:
        return f"{name}.{SOURCE}"
    return name


def _replace(data: dict[str, Any], table: str, config: BaseModel, given: Mapping[str, str]) -> None:
    """Take out what a preset says of a table that the user replaces, and of what is made for it alone."""
    if value(config, f"{table}.{SOURCE}") is not None:
        return
    _assign(data, table.split("."), {})
    _reset(data, table, config, given)


def _replaces(name: str, config: BaseModel) -> bool:
    """Whether a field takes the place of others."""
    return name.endswith(f".{SOURCE}") or (isinstance(config, ExperimentConfig) and name in config.RESETS)


def _reset(data: dict[str, Any], table: str, config: BaseModel, given: Mapping[str, str]) -> None:
    """Give the fields that another one takes the place of the values that they then have, where none is given."""
    resets = config.RESETS.get(table, {}) if isinstance(config, ExperimentConfig) else {}
    for name, default in resets.items():
        if not any(one == name or one.startswith(f"{name}.") for one in given):
            _assign(data, name.split("."), default)


def _assign(data: dict[str, Any], path: list[str], value: object) -> None:
    table = data
    for depth, key in enumerate(path[:-1], 1):
        found = table.get(key)
        if isinstance(found, BaseModel):  # a whole table given as a value, and then one of its fields
            found = found.model_dump()
        if found is not None and not isinstance(found, dict):
            name = ".".join(path[:depth])
            raise InputError(f"{name} must be a table to have a field {'.'.join(path)}, found {brief(found)}")
        table[key] = found or {}  # an optional table that is None becomes one
        table = table[key]
    table[path[-1]] = value


def _converted(value: object, row: FieldRow, key: str) -> object:
    """Text in the type of its field, if any reading of it fits; else unchanged, for validation to refuse."""
    if not (isinstance(value, str) or (isinstance(value, list) and all(isinstance(item, str) for item in value))):
        return value
    if row.annotation is Any:  # a keyword argument: TOML says what it is
        return [plain_value(item) for item in value] if isinstance(value, list) else plain_value(value)
    adapter = TypeAdapter(row.annotation)
    for reading in _readings(value) if isinstance(value, str) else [value]:
        with suppress(ValidationError):
            return adapter.validate_python(reading)
    if value == []:
        raise InputError(f"field '{key}' must be given a value")
    # No reading fits. Of a sequence, what is wrong is an item, not that the text is no sequence.
    return list(_readings(value))[-1] if isinstance(value, str) and _is_sequence(row.annotation) else value


def plain_value(text: str) -> object:
    """A value as TOML writes it, or the text itself.

    >>> plain_value("8"), plain_value("[1, 2]"), plain_value("None"), plain_value("relu")
    (8, [1, 2], None, 'relu')
    """
    if text == "None":
        return None
    try:
        return toml_value(text)
    except ValueError:
        return text


def _is_sequence(annotation: Any) -> bool:
    members = (annotation, *typing.get_args(annotation))
    return any(typing.get_origin(member) in (tuple, list) for member in members)


def _readings(text: str) -> Iterable[object]:
    if text == "None":  # before the text itself, which an optional str or path would take
        yield None
    yield text
    if re.fullmatch("none|null", text, re.IGNORECASE):
        yield None
    with suppress(ValueError):
        yield toml_value(text)
    yield [part.strip() for part in text.split(",")]

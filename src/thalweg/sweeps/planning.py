"""What a sweep will do: one task per combination of the swept values. Pure: nothing is run or written here."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thalweg._files.writing import canonical
from thalweg._short import short
from thalweg.errors import InputError, brief
from thalweg.experiments.framework.config import ExperimentConfig
from thalweg.experiments.framework.discovery import find
from thalweg.experiments.framework.fields import closest, named, rows
from thalweg.experiments.framework.options import flatten, override, read_toml, validated
from thalweg.runs.layout import folder_name
from thalweg.sweeps.values import spread

__all__ = ["Plan", "Task", "flat", "plan", "read_settings", "replan", "worded"]

MOST_TASKS = 100_000
"""Tasks of a sweep; each is a run in a folder of its own."""


@short
@dataclass(frozen=True)
class Task:
    """One configuration of the sweep.

    Attributes:
        name: Name of its run folder, from the experiment and the whole configuration.
        values: Swept field (dotted) -> its value, as JSON has it.
        config: The configuration.
    """

    name: str
    values: Mapping[str, Any]
    config: ExperimentConfig

    @property
    def words(self) -> str:
        """The swept values as in a sentence."""
        return ", ".join(f"{key}={value}" for key, value in self.values.items())


@short
@dataclass(frozen=True)
class Plan:
    """An experiment and all its tasks.

    Attributes:
        experiment: Its name.
        sweeps: Swept field (dotted) -> its values, in the order given.
        tasks: The product of all values, the last field changing fastest; equal configurations are one task.
        plot: Which numbers the figures show; none: a choice is made from what was found.
    """

    experiment: str
    sweeps: Mapping[str, tuple[Any, ...]]
    tasks: tuple[Task, ...]
    plot: tuple[str, ...] = ()

    @property
    def shared(self) -> dict[str, Any]:
        """The settings that all tasks share, nested, without the swept fields."""
        data = self.tasks[0].config.model_dump(mode="json")
        for key in self.sweeps:
            *tables, last = key.split(".")
            table = data
            for name in tables:
                table = table[name]
            del table[last]
        return data

    @property
    def settings(self) -> dict[str, Any]:
        """All of it as JSON data; :func:`replan` reads it."""
        sweeps = {key: list(values) for key, values in self.sweeps.items()}
        return {"sweep": sweeps, **({"plot": list(self.plot)} if self.plot else {}), **self.shared}


def plan(experiment: str, config: ExperimentConfig, sweeps: Mapping[str, object], plot: Sequence[str] = ()) -> Plan:
    """The tasks of a sweep.

    Where the configuration itself varies a field (`vary` of `capacity`, `sensitivity` and others) and that field is
    swept, every task has one model, in place of the `values` that a single run would compare.

    Args:
        experiment: Which experiment.
        config: What the tasks share.
        sweeps: Dotted field -> values, as text (:mod:`thalweg.sweeps.values`) or as a sequence.
        plot: Which numbers the figures show; a choice is made if there are none.

    Raises:
        InputError: No or an unknown field, text that breaks the grammar, a value that the experiment refuses.

    >>> from thalweg.experiments import find
    >>> from thalweg.sweeps import plan
    >>> made = plan("trajectory", find("trajectory").preset("tiny"), {"training.lr": "0.1,0.2", "seed": "0..2"})
    >>> len(made.tasks), made.tasks[1].words
    (6, 'training.lr=0.1, seed=1')
    """
    if not sweeps:
        raise InputError("sweep must name at least one field, as in --sweep seed=0..4")
    known = {row.name: row for row in rows(type(config))}
    given: dict[str, list[object]] = {}
    for key, values in sweeps.items():
        name = key.replace("-", "_")
        row = named(name, known)
        if row is None:
            raise InputError(f"unknown field '{key}'{closest(name, list(known))}")
        if row.tables:
            raise InputError(f"sweep must name a field with a value, found the table '{key}'")
        if name in given:
            raise InputError(f"field '{name}' must be swept once, found it twice")
        given[name] = spread(name, values, row.annotation)
    return _product(experiment, config, given, tuple(plot))


def _product(experiment: str, config: ExperimentConfig, given: Mapping[str, list], plot: tuple[str, ...]) -> Plan:
    count = math.prod(map(len, given.values()))
    if count > MOST_TASKS:
        factors = " × ".join(f"{len(values):,} of {key}" for key, values in given.items())
        raise InputError(f"sweep must have at most {MOST_TASKS:,} tasks, found {count:,}: {factors}")
    varied = config.varied in given  # the task is then the only model of its run
    tasks: dict[str, Task] = {}
    for values in itertools.product(*given.values()):
        changes = dict(zip(given, values, strict=True))
        chosen = override(config, {"values": (), **changes} if varied else changes)
        data = chosen.model_dump(mode="json")
        name, flattened = folder_name(experiment, data), flat(data)
        tasks.setdefault(name, Task(name, {key: flattened[key] for key in given}, chosen))
    sweeps = {key: _distinct(task.values[key] for task in tasks.values()) for key in given}
    return Plan(experiment, sweeps, tuple(tasks.values()), plot)


def _distinct(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple({canonical(value): value for value in values}.values())


def replan(experiment: str, settings: Mapping[str, Any]) -> Plan:
    """The plan of an earlier sweep, from its `settings`.

    Raises:
        InputError: They are no settings of a sweep, or not of one that this version knows.

    >>> from thalweg.experiments import find
    >>> from thalweg.sweeps import plan, replan
    >>> made = plan("trajectory", find("trajectory").preset("tiny"), {"model.hidden": "[8],[4,4]", "seed": "0..1"})
    >>> replan("trajectory", made.settings) == made
    True
    """
    shared = dict(settings)
    sweeps, plot = shared.pop("sweep", None), shared.pop("plot", ())
    if not isinstance(sweeps, Mapping) or not all(isinstance(values, list) and values for values in sweeps.values()):
        raise InputError(f"settings of a sweep must have a table 'sweep' of lists, found {brief(sweeps)}")
    kind = find(experiment).config
    for key, values in sweeps.items():
        *tables, last = key.split(".")
        table = shared
        for name in tables:
            inner = table.get(name) or {}
            if not isinstance(inner, Mapping):
                raise InputError(f"settings of a sweep must have a table {name} for {key}, found {brief(inner)}")
            table[name] = dict(inner)
            table = table[name]
        table[last] = values[0]
    return _product(experiment, validated(kind, shared), sweeps, tuple(plot))


def read_settings(
    experiment: str, *, preset: str = "quick", file: Path | None = None, changes: Mapping[str, object] | None = None
) -> tuple[ExperimentConfig, dict[str, object]]:
    """A configuration and the sweeps that a TOML file asks for in its table ``[sweep]``.

    Args:
        experiment: Which experiment.
        preset: Where to start.
        file: TOML whose keys are fields, and ``[sweep]``: field -> text or list of values.
        changes: Dotted field -> value; these win.

    Raises:
        InputError: As :func:`thalweg.experiments.configure`.
    """
    found = find(experiment)
    config, sweeps = found.preset(preset), {}
    if file is not None:
        data = read_toml(file)
        table = data.pop("sweep", {})
        if not isinstance(table, Mapping):
            raise InputError(f"{file}: sweep must be a table of fields, found {brief(table)}")
        try:
            config, sweeps = override(config, flatten(data, type(config))), flatten(table, type(config))
        except InputError as error:
            raise InputError(f"{file}: {error}") from error
    return override(config, changes or {}), sweeps


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name; a table that is absent is a value None.

    >>> flat({"model": {"hidden": [3, 3]}, "seed": 0})
    {'model.hidden': [3, 3], 'seed': 0}
    """
    found: dict[str, Any] = {}
    for name, value in config.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return found


def worded(value: Any) -> str:
    """A swept value as in a legend.

    >>> worded([8, 8]), worded(None), worded(0.1), worded(1.0)
    ('8-8', 'None', '0.1', '1')
    """
    if isinstance(value, list):
        return "-".join(map(worded, value)) or "none"
    return f"{value:.12g}" if isinstance(value, float) else str(value)

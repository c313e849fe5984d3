"""The settings of a run as rows of a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from thalweg.errors import InputError
from thalweg.experiments.framework.discovery import find
from thalweg.experiments.framework.fields import rows
from thalweg.report.story import inline
from thalweg.sources import Source, is_stamped

if TYPE_CHECKING:
    from thalweg.runs import Run

__all__ = ["Setting", "experiment_of", "flat", "setting", "settings"]


@dataclasses.dataclass(frozen=True)
class Setting:
    """One setting: its dotted name, value and meaning, and whether it is another than the field's default."""

    name: str
    value: str
    meaning: Markup
    chosen: bool


def experiment_of(run: Run) -> str:
    """Which experiment a run, or a sweep, is of."""
    return run.experiment.removesuffix("-sweep") if "sweep" in run.config else run.experiment


def settings(experiment: str, config: Mapping[str, Any]) -> tuple[Setting, ...]:
    """Every setting with its meaning from the configuration's own docs; none for an experiment that is not there."""
    try:
        known = {row.name: row for row in rows(find(experiment).config)}
    except InputError:
        known = {}
    found = []
    for name, value in flat(config).items():
        row, words = known.get(name), setting(value)
        meaning = inline(row.text) if row else Markup()
        found.append(Setting(name, words, meaning, chosen=row is None or words != setting(row.default)))
    return tuple(found)


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted names.

    >>> flat({"model": {"widths": [3, 3]}, "seed": 0})
    {'model.widths': [3, 3], 'seed': 0}
    """
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def setting(value: Any) -> str:
    """A value as a table has it.

    >>> setting([8, 8]), setting(None), setting(True)
    ('8, 8', 'none', 'true')
    >>> setting(f"mine.py:Net#sha256={'0123456789abcdef' * 4}")
    'mine.py:Net (SHA-256 0123456789ab…)'
    """
    if isinstance(value, str) and is_stamped(value):
        source = Source.of(value)
        return f"{value.partition('#sha256=')[0]} (SHA-256 {source.sha256[:12]}…)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ", ".join(setting(item) for item in value) if value else "none"
    return "none" if value is None else str(value)

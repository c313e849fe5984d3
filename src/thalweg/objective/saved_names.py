"""Which of the names that a checkpoint saved is which parameter of a model.

Checkpoints are written by wrapped models (`torch.compile`, DataParallel, Lightning), so that words such as "module."
stand in front of names or inside them. Names decide, never positions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from thalweg.errors import InputError
from thalweg.objective.layout import ParameterLayout

__all__ = ["Names", "canonical", "matched", "places"]

WRAPPERS = frozenset(
    {"module", "model", "_orig_mod", "_forward_module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
)
QUOTE = "'"
SHOWN = 3  # names in a message


@dataclass(frozen=True)
class Names:
    """The names of a model: those in θ, with the other names of tied parameters, and all that a checkpoint may hold.

    Args:
        layout: What θ holds.
        aliases: For each parameter in θ all its names, its own first.
        outside: name -> value of every other parameter and buffer.
    """

    layout: ParameterLayout
    aliases: Mapping[str, tuple[str, ...]]
    outside: Mapping[str, Tensor]

    @classmethod
    def of(cls, model: nn.Module, layout: ParameterLayout) -> Names:
        """Reads the names of a model in which `layout` was found."""
        every = dict(model.named_parameters(remove_duplicate=False))
        known: dict[int, list[str]] = {id(every[name]): [name] for name in layout.names}
        for name, value in every.items():
            if id(value) in known and name not in known[id(value)]:
                known[id(value)].append(name)
        aliases = {name: tuple(known[id(every[name])]) for name in layout.names}
        inside = {name for names in aliases.values() for name in names}
        rest = {**every, **dict(model.named_buffers(remove_duplicate=False))}
        return cls(layout, aliases, {name: value for name, value in rest.items() if name not in inside})

    @property
    def all(self) -> set[str]:
        """Every name that is expected."""
        return {name for names in self.aliases.values() for name in names} | set(self.outside)


Match = tuple[dict[str, tuple[str, ...]], dict[str, str], list[str]]


def matched(names: Names, values: Mapping[Any, Any], name: str) -> Match:
    """The saved names of each parameter in θ, those of what else the model has, and those that it does not have."""
    saved = [key for key in values if isinstance(key, str)]
    odd = [repr(key) for key in values if not isinstance(key, str)]
    for expected in (_identity, canonical):
        wanted = {own: tuple(expected(one) for one in group) for own, group in names.aliases.items()}
        table = {expected(key): key for key in saved}
        if len(set(wanted.values())) < len(wanted):
            continue  # two parameters that only a wrapper's word tells apart
        prefixes = _prefixes(wanted, table)
        if len(prefixes) > 1 or (prefixes and len(table) < len(saved)):
            twice = [key for key in saved if table[expected(key)] != key] or prefixes
            found = ", ".join(f"'{one}'" for one in twice[:SHOWN])
            raise InputError(f"{name} must hold every parameter once, found several under {found}: pass one part of it")
        if prefixes:
            return _placed(names, wanted, table, prefixes[0], expected, odd)
    wanted = {own: tuple(canonical(one) for one in group) for own, group in names.aliases.items()}
    table = {canonical(key): key for key in saved}
    keys, rest, stray = _placed(names, wanted, table, "", canonical, odd)
    return keys, rest, [f"{one}{_of(values.get(one.strip(QUOTE)))}" for one in stray]


def _placed(
    names: Names,
    wanted: Mapping[str, tuple[str, ...]],
    table: Mapping[str, str],
    prefix: str,
    expected: Callable[[str], str],
    odd: list[str],
) -> Match:
    """The match under one prefix; names outside it belong to something else (a loss of its own, a metric)."""
    keys = {own: tuple(table[prefix + one] for one in group if prefix + one in table) for own, group in wanted.items()}
    rest = {own: table[prefix + expected(own)] for own in names.outside if prefix + expected(own) in table}
    known = {key for found in keys.values() for key in found} | set(rest.values())
    everything = {prefix + expected(one) for one in names.all}
    inside = [key for short, key in table.items() if short.startswith(prefix) and short not in everything]
    stray = [f"'{key}'" for key in inside if key not in known and not key.endswith("_extra_state")]
    return {own: found for own, found in keys.items() if found}, rest, [*stray, *odd]


def _of(value: Any) -> str:
    return f" {tuple(value.shape)}" if isinstance(value, Tensor) else ""


def _identity(name: str) -> str:
    return name


def canonical(name: str) -> str:
    """The name without the words of wrappers, wherever they stand."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _prefixes(wanted: Mapping[str, tuple[str, ...]], table: Mapping[str, str]) -> list[str]:
    """What stands in front of every parameter's name; "" alone where the names are there as they are.

    A number in it would be a place in a sequence: a layer of something deeper, which is no wrapper around a model.
    """
    found = _all_prefixes(wanted, table)
    if "" in found:
        return [""]
    bare = [prefix for prefix in found if not canonical(prefix.removesuffix("."))]
    return bare if len(bare) == 1 else found


def _all_prefixes(wanted: Mapping[str, tuple[str, ...]], table: Mapping[str, str]) -> list[str]:
    first = next(iter(wanted.values()))
    ends = {key[: -len(one)] for one in first for key in table if key.endswith(one)}
    return [
        prefix
        for prefix in sorted(ends, key=lambda end: (len(end), end))
        if (not prefix or prefix.endswith("."))
        and not any(part.isdigit() for part in prefix.split("."))
        and all(any(prefix + one in table for one in group) for group in wanted.values())
    ]


def places(names: Names, values: Mapping[Any, Any]) -> list[str]:
    """Every prefix under which a state dict holds all parameters in θ; empty where one of them is missing.

    Args:
        names: Of the model.
        values: name -> value, on one level.
    """
    for expected in (_identity, canonical):
        wanted = {own: tuple(expected(one) for one in group) for own, group in names.aliases.items()}
        table = {expected(key): key for key in values if isinstance(key, str)}
        if len(set(wanted.values())) == len(wanted) and (found := _all_prefixes(wanted, table)):
            return found
    return []

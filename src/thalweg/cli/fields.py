"""The fields of an experiment on the command line: their help, and names that are none."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable

from thalweg.cli.arguments import RUN_OPTIONS
from thalweg.errors import InputError
from thalweg.experiments.framework.discovery import Experiment
from thalweg.experiments.framework.durations import MINUTES
from thalweg.experiments.framework.estimates import time_words
from thalweg.experiments.framework.fields import FieldRow, closest, named, rows, value

__all__ = ["check_fields", "describe"]

FOLDERS = ("out", "output", "outdir", "output_dir", "out_dir", "dir", "directory", "folder", "runs", "save", "logdir")


MATTER = ("replicas", "seed", "data.name", "data.samples", "model.hidden", "model.activation", "training.optimizer")
MATTER += ("training.lr", "training.batch_size", "training.epochs")
"""Fields of most experiments that the short help shows, before those of the experiment itself."""

OWN = 4
"""How many fields of its own an experiment shows in the short help."""


def check_fields(experiment: Experiment, given: Iterable[str], options: str, command: str = "run") -> None:
    """Refuse what is neither a field nor an option, with the nearest of both.

    Raises:
        InputError: A name that does not exist.
    """
    known = {row.name: row for row in rows(experiment.config)}
    fields = list(known)
    for name in given:
        plain = name.replace("-", "_")
        head, dot, rest = plain.partition(".")
        whole = f"{experiment.config.SHORT[head]}{dot}{rest}" if head in experiment.config.SHORT else plain
        if named(plain, known) or named(whole, known):
            continue
        if plain in experiment.config.REFUSES:
            raise InputError(f"--{plain} has no place in {experiment.name}: {experiment.config.REFUSES[plain]}")
        if plain in FOLDERS:
            raise InputError(f"unknown option '--{name}': --root names the folder that keeps the runs")
        all_names = [*fields, *re.findall(r"^  (--\w+) ", options, re.MULTILINE)]
        hint = closest(plain, fields) or closest(f"--{plain}", all_names)
        raise InputError(f"unknown field '{name}'{hint or f', see `thalweg {command} {experiment.name} --help`'}")


def describe(
    experiment: Experiment, preset: str, command: str = "run", options: str = RUN_OPTIONS, *, whole: bool = False
) -> None:
    """Help of one experiment: summary, presets, and fields with their texts and their values in the preset.

    Args:
        experiment: Which.
        preset: Whose values are shown.
        command: The command that is described.
        options: Its options, as text.
        whole: Show every field, not those that matter most.
    """
    fields = list(rows(experiment.config))
    shown = fields if whole else _short(experiment, fields)
    left = sum(not row.tables for row in fields) - sum(not row.tables for row in shown)
    title = f"the fields that matter most, with their values in preset '{preset}'"
    chosen = experiment.preset(preset)
    parser = argparse.ArgumentParser(
        prog=f"thalweg {command} {experiment.name}",
        usage="%(prog)s [--preset NAME] [--config FILE] [--any.field VALUE ...]",
        description=f"{experiment.summary}\n\npresets: {', '.join(_timed(experiment))}\n\n{options}",
        epilog=f"{left} more: `thalweg {command} {experiment.name} --help-all`" if left else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    groups = {"": parser.add_argument_group(title if left else f"fields, with their values in preset '{preset}'")}
    for row in shown:
        if row.tables:
            groups[row.name] = parser.add_argument_group(f"[{row.name}] {row.text}".rstrip(" ."))
            continue
        text = f"{row.text} [{value(chosen, row.name)}]".replace("%", "%%")
        groups.get(row.name.rpartition(".")[0], groups[""]).add_argument(f"--{row.name}", metavar=row.kind, help=text)
    parser.print_help()


def _short(experiment: Experiment, fields: list[FieldRow]) -> list[FieldRow]:
    """The fields that matter most: those of most experiments, then the first that only this one has; all of a few."""
    plain = [row for row in fields if not row.tables]
    if len(plain) <= len(MATTER) + OWN:
        return fields
    own = [row for row in plain if row.name in vars(experiment.config).get("__annotations__", {})]
    known = {row.name: row for row in plain}
    first = [row for row in own if row.name not in MATTER][:OWN]
    heads = experiment.config.SHORT
    common = []
    for name in MATTER:
        head, dot, rest = name.partition(".")
        common.append(f"{heads.get(head, head)}{dot}{rest}")
    return first + [known[name] for name in common if name in known]


def _timed(experiment: Experiment) -> list[str]:
    """The presets, each with how long it takes on two cores, where that is known."""
    known = MINUTES.get(experiment.name, {})
    return [f"{name} ({time_words(60 * known[name])})" if name in known else name for name in experiment.presets]

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
from thalweg.experiments.framework.fields import closest, named, rows, value

__all__ = ["check_fields", "describe"]

FOLDERS = ("out", "output", "outdir", "output_dir", "out_dir", "dir", "directory", "folder", "runs", "save", "logdir")


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


def describe(experiment: Experiment, preset: str, command: str = "run", options: str = RUN_OPTIONS) -> None:
    """Help of one experiment: summary, presets, and every field with its text and its value in the preset."""
    chosen = experiment.preset(preset)
    parser = argparse.ArgumentParser(
        prog=f"thalweg {command} {experiment.name}",
        usage="%(prog)s [--preset NAME] [--config FILE] [--any.field VALUE ...]",
        description=f"{experiment.summary}\n\npresets: {', '.join(_timed(experiment))}\n\n{options}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    groups = {"": parser.add_argument_group(f"fields, with their values in preset '{preset}'")}
    for row in rows(experiment.config):
        if row.tables:
            groups[row.name] = parser.add_argument_group(f"[{row.name}] {row.text}".rstrip(" ."))
            continue
        text = f"{row.text} [{value(chosen, row.name)}]".replace("%", "%%")
        groups[row.name.rpartition(".")[0]].add_argument(f"--{row.name}", metavar=row.kind, help=text)
    parser.print_help()


def _timed(experiment: Experiment) -> list[str]:
    """The presets, each with how long it takes on two cores, where that is known."""
    known = MINUTES.get(experiment.name, {})
    return [f"{name} ({time_words(60 * known[name])})" if name in known else name for name in experiment.presets]

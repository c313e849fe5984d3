"""Commands that compute: ``thalweg run`` and ``thalweg resume``."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from thalweg.cli.common import open_run, watched
from thalweg.cli.parser import RUN_OPTIONS, Once, Parser, folder
from thalweg.cli.printing import complain, say
from thalweg.errors import InputError

if TYPE_CHECKING:
    from thalweg.experiments.framework.discovery import Experiment
    from thalweg.experiments.framework.estimates import Estimate
    from thalweg.runs import Run

__all__ = ["check_fields", "describe", "finish", "resume", "run"]


FOLDERS = ("out", "output", "outdir", "output_dir", "out_dir", "dir", "directory", "folder", "runs", "save", "logdir")


def run(options: argparse.Namespace) -> None:
    """Run an experiment, or say what can be chosen in it."""
    from thalweg.experiments.framework.discovery import find

    experiment = find(options.experiment)
    parser = Parser(prog=f"thalweg run {experiment.name}", add_help=False, allow_abbrev=False)
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--preset", default="quick", action=Once)
    parser.add_argument("--config", type=Path, action=Once)
    parser.add_argument("--root", type=folder, default=Path("runs"), action=Once)
    parser.add_argument("--fresh", action="store_true")
    chosen, rest = parser.parse_known_args(options.rest)
    if chosen.help:
        describe(experiment, chosen.preset)
        return

    from thalweg.experiments.framework.options import configure, read_arguments

    changes = read_arguments(rest)
    check_fields(experiment, changes, RUN_OPTIONS)
    config = configure(experiment, preset=chosen.preset, file=chosen.config, changes=changes)

    from thalweg.experiments.framework.execution import start

    command = shlex.join(["thalweg", "run", experiment.name, *options.rest])
    finish(start(experiment.name, config, chosen.root, command, fresh=chosen.fresh))


def resume(options: argparse.Namespace) -> None:
    """Continue a run, or a sweep."""
    from thalweg.experiments.framework.execution import admit, reopen

    run = open_run(options.run, options.root)
    admit(run, options.source)
    if "sweep" in run.config:
        from thalweg.cli import sweeping

        sweeping.resume(run)
        return
    finish(reopen(run.path))


def check_fields(experiment: Experiment, given: Iterable[str], options: str, command: str = "run") -> None:
    """Refuse what is neither a field nor an option, with the nearest of both.

    Raises:
        InputError: A name that does not exist.
    """
    from thalweg.experiments.framework.fields import closest, named, rows

    known = {row.name: row for row in rows(experiment.config)}
    fields = list(known)
    for name in given:
        plain = name.replace("-", "_")
        head, dot, rest = plain.partition(".")
        whole = f"{experiment.config.SHORT[head]}{dot}{rest}" if head in experiment.config.SHORT else plain
        if named(plain, known) or named(whole, known):
            continue
        if plain in FOLDERS:
            raise InputError(f"unknown option '--{name}': --root names the folder that keeps the runs")
        all_names = [*fields, *re.findall(r"^  (--\w+) ", options, re.MULTILINE)]
        hint = closest(plain, fields) or closest(f"--{plain}", all_names)
        raise InputError(f"unknown field '{name}'{hint or f', see `thalweg {command} {experiment.name} --help`'}")


def describe(experiment: Experiment, preset: str, command: str = "run", options: str = RUN_OPTIONS) -> None:
    """Help of one experiment: summary, presets, and every field with its text and its value in the preset."""
    from thalweg.experiments.framework.fields import rows, value

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
    from thalweg.experiments.framework.durations import MINUTES
    from thalweg.experiments.framework.estimates import time_words

    known = MINUTES.get(experiment.name, {})
    return [f"{name} ({time_words(60 * known[name])})" if name in known else name for name in experiment.presets]


def _announced(run: Run, expected: Estimate | None) -> Estimate | None:
    """Says how long a run will take; returns that, if it is long enough for a bar of the whole."""
    from thalweg.experiments.framework.discovery import find
    from thalweg.experiments.framework.estimates import LONG, estimate, faster
    from thalweg.experiments.framework.options import validated

    experiment = find(run.experiment)
    config = validated(experiment.config, run.config)
    left = estimate(config, run) if expected is None else expected
    if not left.words:
        return None
    shorter = "" if expected is not None else faster(experiment, config, left.seconds)
    complain(f"{left.words}{f'; {shorter}' if shorter else ''}")
    return left if left.seconds >= LONG else None


def finish(run: Run, expected: Estimate | None = None) -> None:
    """Say how long it will take, compute what is missing, write the report, say what was found.

    Args:
        run: Which.
        expected: How long it will take, if that was measured already.
    """
    from thalweg import report
    from thalweg.experiments.framework.execution import compute
    from thalweg.parts import whole

    was_complete = run.state == "complete"
    complain(f"{'complete already' if was_complete else 'running'}: {run.path}")
    left = None if was_complete else _announced(run, expected)
    try:
        with watched(), nullcontext() if left is None else whole("the whole run", left.left, done=left.done):
            findings = compute(run)
            if not (was_complete and run.files.report.is_file()):
                report.write(run)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; `thalweg resume {shlex.quote(str(run.path))}` continues") from None
    for statement in findings.statements:
        say(statement)
    for warning in findings.warnings:
        say(f"warning: {warning}")
    say(f"report: {run.files.report}")

"""The command ``thalweg run``, and what every command that computes a run does with it."""

from __future__ import annotations

import argparse
import shlex
from contextlib import nullcontext
from pathlib import Path

from thalweg import report
from thalweg.cli.arguments import RUN_OPTIONS, Once, Parser, folder
from thalweg.cli.common import watched
from thalweg.cli.fields import check_fields, describe
from thalweg.cli.printing import complain, say
from thalweg.experiments.framework.discovery import find
from thalweg.experiments.framework.estimates import LONG, Estimate, estimate, faster
from thalweg.experiments.framework.options import configure, read_arguments, validated
from thalweg.parts import whole
from thalweg.runs import Run

__all__ = ["finish", "run"]


def run(options: argparse.Namespace) -> None:
    """Run an experiment, or say what can be chosen in it."""
    experiment = find(options.experiment)
    parser = Parser(prog=f"thalweg run {experiment.name}", add_help=False, allow_abbrev=False)
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--help-all", action="store_true")
    parser.add_argument("--preset", default="quick", action=Once)
    parser.add_argument("--config", type=Path, action=Once)
    parser.add_argument("--root", type=folder, default=Path("runs"), action=Once)
    parser.add_argument("--fresh", action="store_true")
    chosen, rest = parser.parse_known_args(options.rest)
    if chosen.help or chosen.help_all:
        describe(experiment, chosen.preset, whole=chosen.help_all)
        return

    changes = read_arguments(rest)
    check_fields(experiment, changes, RUN_OPTIONS)
    config = configure(experiment, preset=chosen.preset, file=chosen.config, changes=changes)

    from thalweg.experiments.framework.execution import start

    command = shlex.join(["thalweg", "run", experiment.name, *options.rest])
    finish(start(experiment.name, config, chosen.root, command, fresh=chosen.fresh))


def _announced(run: Run, expected: Estimate | None) -> Estimate | None:
    """Says how long a run will take; returns that, if it is long enough for a bar of the whole."""
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
    from thalweg.experiments.framework.execution import compute

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

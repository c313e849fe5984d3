"""The command ``thalweg sweep``: one experiment with many settings."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from thalweg import report
from thalweg.cli.arguments import SWEEP_OPTIONS, Once, Parser, folder
from thalweg.cli.common import watched
from thalweg.cli.fields import check_fields, describe
from thalweg.cli.printing import complain, say
from thalweg.errors import InputError
from thalweg.experiments.framework.discovery import find
from thalweg.experiments.framework.options import read_arguments
from thalweg.runs import Run
from thalweg.sweeps import sweeping
from thalweg.sweeps import workers as working
from thalweg.sweeps.planning import Plan, plan, read_settings, replan

__all__ = ["finish", "resume", "sweep"]


def sweep(options: argparse.Namespace) -> None:
    """Sweep an experiment, or say what can be chosen in it."""
    experiment = find(options.experiment)
    parser = Parser(prog=f"thalweg sweep {experiment.name}", add_help=False, allow_abbrev=False)
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--help-all", action="store_true")
    parser.add_argument("--sweep", action="append", default=[], metavar="FIELD=VALUES")
    parser.add_argument("--plot", default="", metavar="NUMBER,…", action=Once)
    parser.add_argument("--workers", type=int, action=Once)
    parser.add_argument("--cluster", action=Once)
    parser.add_argument("--preset", default="quick", action=Once)
    parser.add_argument("--config", type=Path, action=Once)
    parser.add_argument("--root", type=folder, default=Path("runs"), action=Once)
    chosen, rest = parser.parse_known_args(options.rest)
    if chosen.help or chosen.help_all:
        describe(experiment, chosen.preset, "sweep", SWEEP_OPTIONS, whole=chosen.help_all)
        return

    from thalweg.subjects.code import allow  # knows torch

    changes = read_arguments(rest)
    check_fields(experiment, changes, SWEEP_OPTIONS, "sweep")
    typed = _typed(chosen.sweep)
    for field in changes:
        if field.replace("-", "_") in typed:
            raise InputError(f"field '{field}' must be swept or given a value, found both")
    config, sweeps = read_settings(experiment.name, preset=chosen.preset, file=chosen.config, changes=changes)
    numbers = [name for name in chosen.plot.split(",") if name]
    made = plan(experiment.name, config, sweeps | typed, numbers)
    for task in made.tasks:
        allow(task.config.sources)
        try:
            task.config.check_sizes(chosen.root)
        except InputError as error:
            raise InputError(f"{error} ({task.words})") from None
    command = shlex.join(["thalweg", "sweep", experiment.name, *options.rest])
    finish(made, chosen.root, _workers(chosen.workers, chosen.cluster), command)


def resume(run: Run) -> None:
    """Go on with a sweep, on this machine."""
    made = replan(run.experiment.removesuffix(sweeping.SUFFIX), run.config)
    finish(made, run.path.parent, _workers(None, None), run.environment["command"])


def finish(plan: Plan, root: Path, workers: working.Workers, command: str) -> None:
    """Do what is missing, write table and report, say what was found and what failed.

    Raises:
        SystemExit: With code 1, if there are tasks that did not come to their end.
    """
    left, run = sweeping.missing(plan, root), sweeping.open_sweep(plan, root, command)
    was_complete = run.state == "complete"
    state = f"{len(plan.tasks) - len(left)} of {len(plan.tasks)} tasks complete already"
    complain(f"{run.path}: {state}{'' if was_complete else f'; {workers.words}'}")
    try:
        with watched():
            done = sweeping.sweep(plan, root, workers, command=command)
            if not (was_complete and run.files.report.is_file()):
                report.write(done.run, findings=done.findings)
    except KeyboardInterrupt:
        again = f"`thalweg resume {shlex.quote(str(run.path))}` does the rest"
        raise KeyboardInterrupt(
            f"interrupted, {len(sweeping.missing(plan, root))} tasks are missing; {again}"
        ) from None
    for statement in done.findings.statements:
        say(statement)
    for warning in done.findings.warnings:
        say(f"warning: {warning}")
    say(f"table: {run.path / 'sweep.parquet'}")
    say(f"report: {run.files.report}")
    if done.run.state != "complete":
        complain(f"thalweg: {done.run.message}; the same command tries them again")
        raise SystemExit(1)


def _typed(sweeps: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in sweeps:
        field, equals, values = text.partition("=")
        if not equals or not field:
            raise InputError(f"--sweep must be written FIELD=VALUES, found '{text}'")
        field = field.replace("-", "_")
        if field in found:
            raise InputError(f"field '{field}' must be swept once, found it twice")
        found[field] = values
    return found


def _workers(count: int | None, cluster: str | None) -> working.Workers:
    if cluster is None:
        return working.Local(working.cores() if count is None else count)
    if count is not None:
        raise InputError(f"--workers counts processes of this machine and --cluster has its own, found {count} of them")
    return working.Cluster(cluster)

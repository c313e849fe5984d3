"""The command line: ``thalweg list``, ``run``, ``runs``, ``resume``, ``report``, ``export``, ``data``.

Whatever the user did wrong is one sentence on standard error and exit code 2, an interrupt is 130; a traceback means a
fault of ours. Commands import what they need when they run, so that help and ``list`` answer at once.
"""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from thalweg import __version__
from thalweg.errors import InputError, nearest

if TYPE_CHECKING:
    from thalweg.experiments.discovery import Experiment
    from thalweg.runs import Run

__all__ = ["entry", "main"]

RUN_OPTIONS = """\
options of every run:
  --preset NAME      start from these settings (default: quick)
  --config FILE      then apply this TOML file
  --any.field VALUE  then change single fields
  --root FOLDER      keep runs in this folder (default: runs)
  --fresh            start over, discarding what an earlier run of the same settings has kept
"""


class _Parser(argparse.ArgumentParser):
    """Argparse that complains in one sentence and knows nearest names."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}, see `{self.prog} --help`")

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            what = {"command": "command", "action": "action"}.get(action.dest, f"value for {action.dest}")
            options = [str(choice) for choice in action.choices]
            raise InputError(f"unknown {what} '{value}'{nearest(str(value), options) or ': use ' + ', '.join(options)}")


def entry() -> NoReturn:
    """The ``thalweg`` command."""
    sys.exit(main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """Run one command.

    Args:
        arguments: What follows ``thalweg`` on the command line.

    Returns:
        The exit code: 0, 2 for bad input or a file that cannot be read or written, 130 after an interrupt.
    """
    try:
        options = _parser().parse_args(arguments)
        options.command(options)
        sys.stdout.flush()
    except SystemExit as done:  # argparse leaves this way after printing help
        return int(done.code or 0)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except InputError as error:
        return _complain(str(error), 2)
    except OSError as error:
        return _complain(_sentence(error), 2)
    except KeyboardInterrupt as interrupt:
        return _complain(str(interrupt) or "interrupted", 130)
    return 0


def _sentence(error: OSError) -> str:
    """The library's own errors are sentences; the operating system's are turned into one."""
    if not str(error).startswith("[Errno") or not error.strerror:
        return str(error)
    about = f" {error.filename}" if error.filename else ""
    return f"cannot use{about}: {error.strerror[:1].lower()}{error.strerror[1:]}"


def _complain(sentence: str, code: int) -> int:
    print(f"thalweg: {sentence}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="thalweg", description="A laboratory for how neural networks learn.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"thalweg {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)

    def add(name: str, command: Callable[[argparse.Namespace], None], summary: str, **more: Any) -> _Parser:
        sub = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False, **more)
        sub.set_defaults(command=command)
        return sub

    add("list", _list, "List the experiments.")

    sub = add(
        "run",
        _run,
        "Run an experiment, or resume it if the same settings were interrupted.",
        usage="thalweg run EXPERIMENT [--preset NAME] [--config FILE] [--any.field VALUE ...]",
        epilog=f"{RUN_OPTIONS}\n`thalweg list` names the experiments, `thalweg run EXPERIMENT --help` its fields.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sub.add_argument("experiment", metavar="EXPERIMENT", help="which experiment, see `thalweg list`")
    rest = sub.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    rest.required = False  # Python 3.11 would ask for it by name when EXPERIMENT is missing

    sub = add("runs", _runs, "Show all runs: state, size, age.")
    _add_root(sub)

    sub = add("resume", _resume, "Continue an interrupted or failed run where it stopped.")
    sub.add_argument("run", metavar="RUN", help="run folder, or its name below --root")
    _add_root(sub)

    sub = add("report", _report, "Write report.html again from what a run has kept, or one report of several runs.")
    sub.add_argument("runs", metavar="RUN", nargs="+", help="run folders, or their names below --root")
    sub.add_argument("--output", type=Path, metavar="FILE", help="where to write the report of several runs")
    _add_root(sub)

    sub = add("export", _export, "Write what a run has recorded in another format.")
    sub.add_argument("run", metavar="RUN", help="run folder, or its name below --root")
    sub.add_argument("--to", required=True, choices=("csv", "tensorboard"), help="format: csv or tensorboard")
    _add_root(sub)

    sub = add("data", _data, "List, fetch or locate data sets.")
    actions = sub.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=_Parser)
    actions.add_parser("list", help="which data sets there are, and which of them are here")
    actions.add_parser("where", help="which folders are searched")
    fetch = actions.add_parser("fetch", help="download a data set, check it, install it")
    fetch.add_argument("name", metavar="NAME", help="which data set, see `thalweg data list`")
    return parser


def _add_root(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", type=Path, default=Path("runs"), metavar="FOLDER", help="folder of all runs (runs)")


def _list(_: argparse.Namespace) -> None:
    from thalweg.experiments.discovery import discover

    experiments = discover()
    width = max(map(len, experiments), default=0)
    for name, experiment in experiments.items():
        print(f"{name:<{width}}  {experiment.summary}")


def _run(options: argparse.Namespace) -> None:
    from thalweg.experiments.discovery import find

    experiment = find(options.experiment)
    parser = _Parser(prog=f"thalweg run {experiment.name}", add_help=False, allow_abbrev=False)
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--root", type=Path, default=Path("runs"))
    parser.add_argument("--fresh", action="store_true")
    chosen, rest = parser.parse_known_args(options.rest)
    if chosen.help:
        _describe(experiment, chosen.preset)
        return

    from thalweg.experiments.options import configure, read_arguments

    config = configure(experiment, preset=chosen.preset, file=chosen.config, changes=read_arguments(rest))

    from thalweg.experiments.execution import start

    command = shlex.join(["thalweg", "run", experiment.name, *options.rest])
    _finish(start(experiment.name, config, chosen.root, command, fresh=chosen.fresh))


def _describe(experiment: Experiment, preset: str) -> None:
    """Help of one experiment: summary, presets, and every field with its text and its value in the preset."""
    from thalweg.experiments.fields import rows, value

    chosen = experiment.preset(preset)
    parser = argparse.ArgumentParser(
        prog=f"thalweg run {experiment.name}",
        usage="%(prog)s [--preset NAME] [--config FILE] [--any.field VALUE ...]",
        description=f"{experiment.summary}\n\npresets: {', '.join(experiment.presets)}\n\n{RUN_OPTIONS}",
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


def _finish(run: Run) -> None:
    """Compute what is missing, write the report, say what was found."""
    from thalweg import progress, report
    from thalweg.experiments.execution import compute

    was_complete = run.state == "complete"
    print(f"{'complete already' if was_complete else 'running'}: {run.path}", file=sys.stderr)
    _log_to_stderr()
    try:
        with progress.shown():
            findings = compute(run)
            if not (was_complete and run.files.report.is_file()):
                report.write(run)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; `thalweg resume {shlex.quote(str(run.path))}` continues") from None
    for statement in findings.statements:
        print(statement)
    for warning in findings.warnings:
        print(f"warning: {warning}")
    print(f"report: {run.files.report}")


def _log_to_stderr() -> None:
    """Show the library's own log lines, such as which of two equal ways it has chosen."""
    logger = logging.getLogger("thalweg")
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("thalweg: %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)


def _open(name: str, root: Path) -> Run:
    """A run by its folder, or by its name below the root."""
    from thalweg.runs import Run, find_runs

    if Path(name).is_dir() or os.sep in name:
        return Run.open(name)
    names = [run.name for run in find_runs(root)]
    if name not in names:
        raise InputError(f"there is no run '{name}' in {root}{nearest(name, names)}")
    return Run.open(root / name)


def _resume(options: argparse.Namespace) -> None:
    path = _open(options.run, options.root).path
    from thalweg.experiments.execution import reopen

    _finish(reopen(path))


def _runs(options: argparse.Namespace) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from thalweg.progress import duration
    from thalweg.runs import find_runs

    runs = find_runs(options.root)
    if not runs:
        print(f"no runs in {options.root}")
        return
    table = Table("run", "state", box=box.SIMPLE)
    table.add_column("size", justify="right")
    table.add_column("age", justify="right")
    table.add_column("message", overflow="fold")
    for run in runs:
        table.add_row(run.name, run.state, _bytes(run.size), duration(run.age), escape(run.message))
    Console().print(table)


def _bytes(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def _report(options: argparse.Namespace) -> None:
    from thalweg import report

    runs = [_open(name, options.root) for name in options.runs]
    print(f"report: {report.write(runs[0] if len(runs) == 1 else runs, options.output)}")


def _export(options: argparse.Namespace) -> None:
    from thalweg.runs import export

    print(export(_open(options.run, options.root), options.to))


def _data(options: argparse.Namespace) -> None:
    from thalweg import progress, tasks

    match options.action:
        case "list":
            for row in tasks.list_data():
                place = row.found or "not here"
                print(f"{row.name:<14} {row.what}\n{'':<14} {place}{f': {row.note}' if row.note else ''}")
        case "where":
            for place in tasks.where():
                print(f"{place.path}  ({place.what}{'' if place.exists else ', does not exist'})")
        case "fetch":
            with progress.shown():
                print(tasks.fetch(options.name))

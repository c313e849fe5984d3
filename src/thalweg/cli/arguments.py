"""What can be typed after ``thalweg``; the parser complains in one sentence.

A command is a function by its module and name, "running.run": its module is imported when it is called, and no other.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from thalweg._version import __version__
from thalweg.cli.printing import lines
from thalweg.errors import InputError, brief, nearest

__all__ = ["PRESETS", "RUN_OPTIONS", "SWEEP_OPTIONS", "Once", "Parser", "commands", "folder"]

PRESETS = ("quick", "course")  # of the whole course

RUN_OPTIONS = """\
options of every run:
  --preset NAME      start from these settings (default: quick)
  --config FILE      then apply this TOML file
  --any.field VALUE  then change single fields
  --root FOLDER      keep runs in this folder (default: runs)
  --fresh            start over, discarding what an earlier run of the same settings has kept
"""

SWEEP_OPTIONS = """\
options of every sweep:
  --sweep FIELD=VALUES  a field and its values; give it several times for the product of all
                        0..4  0..100:25  log:8..4096:10  lin:0..1:5  0.1,0.2  [8,8],[16]
  --plot NUMBER,...     draw these of the numbers that are found (default: up to four)
  --workers N           processes on this machine (default: one for each core)
  --cluster ADDRESS     tcp://HOST:PORT of a dask scheduler, in place of processes
  --preset NAME         start from these settings (default: quick)
  --config FILE         then apply this TOML file; its table [sweep] holds fields and values
  --any.field VALUE     then change single fields
  --root FOLDER         keep runs in this folder (default: runs)
"""


class Once(argparse.Action):
    """Stores a value like argparse's own action, and refuses a second one: fields are refused twice as well."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        """Store the value.

        Raises:
            InputError: The option was given before.
        """
        given = vars(namespace).setdefault("given_once", set())
        if self.dest in given:
            raise InputError(f"option {option} is given twice")
        given.add(self.dest)
        setattr(namespace, self.dest, values)


def folder(text: str) -> Path:
    """The folder of an option; an empty name, as from an unset variable of the shell, is not taken for this folder."""
    if not text:
        raise argparse.ArgumentTypeError("must name a folder, found ''")
    return Path(text)


class Parser(argparse.ArgumentParser):
    """Argparse that complains in one sentence and knows nearest names.

    Attributes:
        takes_arguments: Whether ``--model.args.NAME VALUE`` and ``--data.args.NAME VALUE`` may stand among the options;
            they are left in ``rest``, with their values.
    """

    takes_arguments = False

    def parse_known_args(  # type: ignore[override]  # as the base, without its overloads
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse, with the arguments of model and data apart where they may stand."""
        if not self.takes_arguments:
            return super().parse_known_args(args, argparse.Namespace() if namespace is None else namespace)
        parts: dict[bool, list[str]] = {True: [], False: []}
        own = False
        for argument in args or ():
            own = argument.startswith(("--model.args.", "--data.args.")) if argument.startswith("--") else own
            parts[own].append(argument)
        found = argparse.Namespace() if namespace is None else namespace
        vars(found).update(rest=parts[True], typed=list(args or ()))
        return super().parse_known_args(parts[False], found)

    def format_help(self) -> str:
        """The help page, each of its lines fit to be shown."""
        return lines(super().format_help())

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments.

        Raises:
            InputError: Always.
        """
        raise InputError(f"{message}, see `{self.prog} --help`")

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            what = {"command": "command", "action": "action"}.get(action.dest, f"value for {action.dest}")
            options = [str(choice) for choice in action.choices]
            hint = nearest(str(value), options) or f": use {', '.join(options)}"
            raise InputError(f"unknown {what} {brief(value)}{hint}")


def commands() -> argparse.ArgumentParser:
    """The parser of all commands; each result has a ``command``, the function to call with it."""
    parser = Parser(prog="thalweg", description="A laboratory for how neural networks learn.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"thalweg {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)

    def add(name: str, command: str, summary: str, **more: Any) -> Parser:
        sub = subparsers.add_parser(name, help=summary, description=summary, allow_abbrev=False, **more)
        sub.set_defaults(command=command)
        return sub

    add("list", "listing.show_list", "List the experiments.")

    sub = add(
        "run",
        "running.run",
        "Run an experiment, or resume it if the same settings were interrupted.",
        usage="thalweg run EXPERIMENT [--preset NAME] [--config FILE] [--any.field VALUE ...]",
        epilog=f"{RUN_OPTIONS}\n`thalweg list` names the experiments, `thalweg run EXPERIMENT --help` its fields.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_experiment(sub)

    sub = add(
        "sweep",
        "sweeping.sweep",
        "Run an experiment with many settings, on all cores or a cluster; again, it runs only what is missing.",
        usage="thalweg sweep EXPERIMENT --sweep FIELD=VALUES [...] [--workers N | --cluster ADDRESS]\n"
        "                     [--preset NAME] [--config FILE] [--any.field VALUE ...]",
        epilog=f"{SWEEP_OPTIONS}\n`thalweg list` names the experiments, `thalweg sweep EXPERIMENT --help` its fields.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_experiment(sub)

    sub = add(
        "course",
        "course.course",
        "Run every experiment of the course, or what is missing of it, and write one document of all.",
    )
    text = "quick: a tour in minutes, on data that ship with thalweg; course: the exercise at its own scale, on MNIST"
    sub.add_argument("--preset", choices=PRESETS, default="quick", help=f"{text} (quick)")
    sub.add_argument("--runs", type=folder, default=Path("runs"), metavar="DIR", help="folder of all runs (runs)")

    _add_checkpoints(add)

    sub = add("runs", "showing.show_runs", "Show all runs: state, size, age.")
    _add_root(sub)

    sub = add("view", "viewing.view", "Show all runs in the browser: live, one by one, or side by side.")
    sub.add_argument("--port", type=int, default=8321, metavar="N", help="port of 127.0.0.1, 0 for any free one (8321)")
    sub.add_argument("--no-browser", dest="browser", action="store_false", help="only say the address")
    _add_root(sub)

    sub = add("resume", "resuming.resume", "Continue an interrupted or failed run where it stopped.")
    sub.add_argument("run", metavar="RUN", help="run folder, or its name below --root")
    text = "file of your own that the run uses: code that is not named is not run; may be given several times"
    sub.add_argument("--source", action="append", default=[], metavar="FILE", help=text)
    _add_root(sub)

    sub = add(
        "report",
        "showing.write_report",
        "Write report.html again from what a run has kept, or one report of several runs.",
    )
    sub.add_argument("runs", metavar="RUN", nargs="+", help="run folders, or their names below --root")
    sub.add_argument("--course", action="store_true", help="order the runs by the questions of the course")
    sub.add_argument("--output", type=Path, metavar="FILE", help="where to write the report of several runs")
    sub.add_argument(
        "--pdf", action="store_true", help="write it as PDF as well; that of the course has at most 10 pages"
    )
    of_course = sub.add_argument_group("options of --course")
    text = "only these: chapters (1-2), questions (1-2-3) or experiments"
    of_course.add_argument("--questions", nargs="+", default=(), metavar="NAME", help=text)
    text = "these figures first, EXPERIMENT/FIGURE each, and alone in the short PDF"
    of_course.add_argument("--figures", nargs="+", default=(), metavar="NAME", help=text)
    text = "comments of your own: a folder of files EXPERIMENT.md, and title.md"
    of_course.add_argument("--comments", type=folder, metavar="FOLDER", help=text)
    of_course.add_argument("--whole", action="store_true", help="print everything, not 10 pages")
    _add_root(sub)

    sub = add("export", "showing.write_export", "Write what a run has recorded in another format.")
    sub.add_argument("run", metavar="RUN", help="run folder, or its name below --root")
    formats = ("csv", "tensorboard", "wandb", "mlflow", "vtk", "npz", "parquet")
    text = "csv, tensorboard, wandb (offline) or mlflow for metrics; vtk (ParaView), npz or parquet for surfaces"
    sub.add_argument("--to", required=True, choices=formats, help=text)
    _add_root(sub)

    sub = add("data", "showing.manage_data", "List, fetch or locate data sets.")
    actions = sub.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=Parser)
    actions.add_parser("list", help="which data sets there are, and which of them are here")
    actions.add_parser("where", help="which folders are searched")
    fetch = actions.add_parser("fetch", help="download a data set, check it, install it")
    fetch.add_argument("name", metavar="NAME", help="which data set, see `thalweg data list`")
    return parser


def _add_checkpoints(add: Callable[..., Parser]) -> None:
    """The commands for weights that other programs have saved."""
    paths = "files (.pt, .pth, .bin, .ckpt, .safetensors), globs or folders; last.pt:model_ema says which of several"
    sub = add("import", "checkpointing.import_checkpoints", "Make a run of checkpoints that another program has saved.")
    sub.add_argument("paths", nargs="+", metavar="PATH", help=paths)
    _add_subject(sub, data=False)
    _add_root(sub)
    sub = add("analyze", "checkpointing.analyze", "Measure trained weights with all instruments, and write one report.")
    _add_subject(sub, data=True)
    sub.add_argument("--checkpoint", nargs="+", required=True, metavar="PATH", help=paths)
    sub.add_argument("--minutes", type=float, default=10.0, metavar="N", help="how long it may take (10)")
    sub.add_argument(
        "--out", type=Path, metavar="FILE", help="the report, .html or .pdf (default: in the run's folder)"
    )
    _add_root(sub)


def _add_subject(sub: Parser, *, data: bool) -> None:
    """The options that name a model, data and a loss.

    Args:
        sub: The command's parser.
        data: Whether data must be given.
    """
    model = "class of modules, function or module: FILE.py:NAME; --model.args.NAME VALUE passes arguments"
    sub.takes_arguments = True
    sub.add_argument("--model", required=True, metavar="FILE.py:NAME", help=model)
    sub.add_argument("--data", required=data, metavar="SOURCE", help="FILE.py:NAME, or a file (.npz, .csv, .parquet)")
    sub.add_argument("--loss", default="auto", metavar="LOSS", help="a name, or FILE.py:NAME (auto)")
    sub.add_argument("--metrics", metavar="FILE.py:NAME", help="measures beside loss and accuracy")
    sub.add_argument("--target", default="", metavar="COLUMN", help="column of a table that is predicted")


def _add_experiment(parser: argparse.ArgumentParser) -> None:
    """The experiment, and whatever follows it: its fields are known only when it is."""
    parser.add_argument("experiment", metavar="EXPERIMENT", help="which experiment, see `thalweg list`")
    rest = parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    rest.required = False  # Python 3.11 would ask for it by name when EXPERIMENT is missing


def _add_root(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", type=folder, default=Path("runs"), metavar="FOLDER", help="folder of all runs (runs)")

"""A parser of arguments that complains in one sentence."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from thalweg.cli.printing import lines
from thalweg.errors import InputError, brief, nearest

__all__ = ["RUN_OPTIONS", "SWEEP_OPTIONS", "Once", "Parser", "folder"]

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

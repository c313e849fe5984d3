"""The command line: ``thalweg list``, ``run``, ``sweep``, ``runs``, ``view``, ``resume``, ``report`` and so on.

Whatever the user did wrong is one sentence on standard error and exit code 2, an interrupt is 130; a traceback means a
fault of ours. Commands import what they need when they run, so that help and ``list`` answer at once.

`arguments` says what can be typed; `running`, `resuming`, `sweeping` and `course` hold the commands that compute,
`showing` and `viewing` those that show what there is.
"""

from __future__ import annotations

import importlib
import io
import os
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from thalweg.cli.arguments import commands
from thalweg.cli.printing import WIDEST, complain
from thalweg.errors import LONGEST, InputError
from thalweg.threads import start

__all__ = ["entry", "main"]


def entry() -> NoReturn:
    """The ``thalweg`` command."""
    start()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # letters that a terminal lacks are spelled out, not a reason to stop
            stream.reconfigure(errors="backslashreplace")
    sys.exit(main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """Run one command.

    Args:
        arguments: What follows ``thalweg`` on the command line.

    Returns:
        The exit code: 0, 2 for bad input or a file that cannot be read or written, 130 after an interrupt.
    """
    try:
        code = 0
        try:
            options = commands().parse_args(arguments)
            module, name = options.command.split(".")
            getattr(importlib.import_module(f"thalweg.cli.{module}"), name)(options)
        except SystemExit as done:  # argparse leaves this way after printing help
            code = int(done.code or 0)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except InputError as error:
        return _complain(str(error), 2)
    except OSError as error:
        return _complain(_sentence(error), 2)
    except (MemoryError, RuntimeError) as error:
        if not (found := _memory(error)):
            raise
        return _complain(found, 2)
    except KeyboardInterrupt as interrupt:  # its hint is a command to be copied
        return _complain(str(interrupt) or "interrupted", 130, most=WIDEST)
    return 0


def _sentence(error: OSError) -> str:
    """The library's own errors are sentences; the operating system's are turned into one."""
    if not str(error).startswith("[Errno") or not error.strerror:
        return str(error)
    about = f" {error.filename}" if error.filename else ""
    return f"cannot use{about}: {error.strerror[:1].lower()}{error.strerror[1:]}"


def _memory(error: Exception) -> str:
    """A sentence if it is memory that was missing (torch says so by text only); empty for any other error."""
    text = str(error)
    if not isinstance(error, MemoryError) and not re.search("can't allocate memory|out of memory", text):
        return ""
    asked = re.search(r"tried to allocate ([\d.]+ ?\w+)", text, re.IGNORECASE)
    return f"these settings need more memory than there is{f': {asked[1]} at once' if asked else ''}"


def _complain(sentence: str, code: int, most: int = LONGEST) -> int:
    complain(f"thalweg: {sentence}", most)
    return code

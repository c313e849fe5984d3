"""Lines on the terminal: all that a command says goes through here.

What it says quotes arguments, names of files and folders, titles and settings that anybody may have written. A line
stays a line, nothing in it steers the terminal, and it does not grow with the input.
"""

from __future__ import annotations

import logging
import sys

from thalweg.errors import LONGEST, one_line

__all__ = ["OneLine", "complain", "lines", "say"]

WIDEST = 5000
"""Characters of a line of output: a path has up to 4,096, and is still to be copied."""


def say(text: object) -> None:
    """A line on standard output, seen at once also where it goes into a pipe or a file."""
    print(one_line(text, WIDEST), flush=True)


def complain(text: object, most: int = LONGEST) -> None:
    """A sentence on standard error."""
    print(one_line(text, most), file=sys.stderr)


def lines(text: str) -> str:
    """A text of several lines that are meant to be, such as a help page; each of them fit to be shown."""
    return "\n".join(one_line(line, WIDEST) for line in text.split("\n"))


class OneLine(logging.Formatter):
    """A record of the library's log as one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return one_line(super().format(record))

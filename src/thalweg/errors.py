"""What a caller can do wrong, said in one sentence.

A bad argument raises :class:`InputError` with a message that names the argument, the rule and the value found. The
command line prints that sentence alone, without a traceback, and leaves with exit code 2.

What a sentence quotes was written by others: an argument, a file name, a title. :func:`one_line` makes it fit to be
shown, on one line and of bounded length, without characters that steer a terminal or turn the direction of writing.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable

__all__ = ["InputError", "brief", "first_line", "nearest", "one_line"]

LONGEST = 800
"""Characters of a sentence that a person still reads."""

QUOTED = 120
"""Characters of a value that a sentence quotes."""

_MIDDLE = " … "


class InputError(ValueError):
    """The caller gave something that cannot be used; the message is one sentence that says what, and what is allowed.

    >>> raise InputError("replicas must be at least 1, found 0")
    Traceback (most recent call last):
        ...
    thalweg.errors.InputError: replicas must be at least 1, found 0
    """


def nearest(name: str, options: Iterable[str]) -> str:
    """End of a sentence that offers the known name closest to an unknown one; empty if none is close.

    Args:
        name: What the caller wrote.
        options: The names that exist.

    >>> nearest("trajectry", ["trajectory", "spectrum"])
    ", did you mean 'trajectory'?"
    >>> nearest("xyz", ["trajectory", "spectrum"])
    ''
    """
    known = {option.casefold(): option for option in options}
    folded = name.casefold()
    found = difflib.get_close_matches(folded, known, n=1, cutoff=0.6)
    if not found:  # letters in another order count little for difflib, although it is the commonest slip
        found = [option for option in known if sorted(option) == sorted(folded)]
    return f", did you mean '{known[found[0]]}'?" if found else ""


def one_line(text: object, most: int = LONGEST) -> str:
    r"""Text that anybody may have written, fit to be shown in a terminal or a log file.

    Line breaks, control characters, marks that turn the direction of writing, and everything else that is not visible
    are spelled out as in a Python string; letters, signs and spaces of all scripts stay as they are. Of a longer text
    the middle is left out: what is wrong stands at its beginning, and what to do about it often at its end.

    Args:
        text: What to show; anything else than text by its `str`.
        most: Greatest number of characters.

    >>> one_line("no run 'a\x1b[31m\nb' in runs")
    "no run 'a\\x1b[31m\\nb' in runs"
    >>> one_line("x" * 100, most=11)
    'xxxx … xxxx'
    """
    plain = str(text)
    half = (most - len(_MIDDLE)) // 2
    shortened = len(plain) > most
    parts = (plain[:most], plain[-most:]) if shortened else (plain,)
    spelled = ["".join(map(_visible, part)) for part in parts]
    if not shortened and len(spelled[0]) <= most:
        return spelled[0]
    return f"{spelled[0][: most - len(_MIDDLE) - half]}{_MIDDLE}{spelled[-1][-half:]}"


def brief(value: object, most: int = QUOTED) -> str:
    """A value as a sentence quotes it: its `repr`, of which the middle may be left out.

    >>> brief("x" * 200, most=21)
    "'xxxxxxxx … xxxxxxxx'"
    """
    try:
        return one_line(repr(value), most)
    except ValueError:  # Python writes no integer of more than 4,300 digits
        return "a number of thousands of digits"


def first_line(error: BaseException) -> str:
    r"""The first line of an error's message, of bounded length; its type where it has none.

    >>> first_line(RuntimeError("no kernel\nsecond line")), first_line(KeyError())
    ('no kernel', 'KeyError')
    """
    text = str(error).strip()
    return one_line(text.splitlines()[0], 160) if text else type(error).__name__


def _visible(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    return character.encode("unicode_escape").decode()

"""What a caller can do wrong, said in one sentence.

A bad argument raises :class:`InputError` with a message that names the argument, the rule and the value found. The
command line prints that sentence alone, without a traceback, and leaves with exit code 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["InputError", "nearest"]


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

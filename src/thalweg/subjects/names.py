"""What may be written for a loss: names, known without torch."""

from __future__ import annotations

from thalweg.errors import InputError, brief, nearest
from thalweg.sources import is_code, stamped

__all__ = ["NAMES", "check_name", "loss_text"]

NAMES = ("cross-entropy", "nll", "mse", "l1", "huber", "bce")
"""Losses by name; bce takes scores (logits), as cross-entropy does."""


def check_name(text: str) -> str:
    """The name of a loss, as it is.

    Raises:
        InputError: No loss has it.
    """
    if text in NAMES or text == "auto":
        return text
    raise InputError(
        f"loss must be auto, {', '.join(NAMES)} or FILE.py:NAME, found {brief(text)}{nearest(text, NAMES)}"
    )


def loss_text(text: str) -> str:
    """A loss as a configuration has it: a name, or a source with its checksum.

    Raises:
        InputError: Neither, or a file that is not there.
    """
    return stamped(text, "loss") if is_code(text) else check_name(text)

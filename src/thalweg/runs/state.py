"""How far a run is, told from its folder alone, so that no crash can leave a wrong answer behind."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Literal, get_args

from thalweg._files.reading import present
from thalweg.errors import InputError
from thalweg.runs.environment import now
from thalweg.runs.layout import RunFiles
from thalweg.runs.ledger import Ledger
from thalweg.runs.lock import is_locked

__all__ = ["State", "state_of", "message_of", "ending", "mark", "one_line"]

State = Literal["new", "running", "interrupted", "failed", "complete"]


def state_of(files: RunFiles) -> State:
    """The state of a run.

    "complete" has the marker; "running" is locked by a live process; "failed" ended with an error; "interrupted" was
    begun and ended in any other way, be it Ctrl-C, `kill -9` or a power cut; "new" was never begun.

    Raises:
        InputError: In place of one of the files that tell it there is something that is no file.
    """
    if present(files.complete):
        return "complete"
    if is_locked(files.lock):
        return "running"
    if not present(files.state):
        return "new"
    return "failed" if _ending(files).get("state") == "failed" else "interrupted"


def message_of(files: RunFiles) -> str:
    """Why the run failed or was interrupted, in one line; empty in every other state."""
    state = state_of(files)
    ending = _ending(files)
    if state not in ("failed", "interrupted"):
        return ""
    return str(ending.get("message", "")) if ending.get("state") == state else "killed"


def _ending(files: RunFiles) -> dict[str, Any]:
    with suppress(InputError):
        return ending(files)
    return {}


def ending(files: RunFiles) -> dict[str, Any]:
    """What ``state.json`` says.

    Raises:
        InputError: It is missing or corrupt.
    """
    value = Ledger(files.folder).document(files.state)
    if value.get("state") not in get_args(State) or not isinstance(value.get("message"), str):
        raise InputError(f"{files.state} is corrupt: it does not say how a run ended")
    return value


def mark(files: RunFiles, state: State, message: str = "") -> None:
    """Note how a session goes on or ends."""
    ledger = Ledger(files.folder)
    ledger.write_document(files.state, {"state": state, "message": message, "time": now()})
    ledger.note(files.state)


def one_line(error: BaseException) -> str:
    """An error as one line of at most 500 characters.

    >>> one_line(KeyError("width")), one_line(InputError("seed must be an integer"))
    ("KeyError: 'width'", 'seed must be an integer')
    """
    text = " ".join(str(error).split())[:500]
    if text and isinstance(error, InputError | OSError):
        return text  # a sentence for the user already
    return f"{type(error).__name__}: {text}" if text else type(error).__name__

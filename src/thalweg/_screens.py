"""Where the line of a long call is drawn: a terminal, a notebook, or nowhere."""

from __future__ import annotations

import html
import importlib
import os
import shutil
import sys
from collections.abc import Callable
from typing import Any, Protocol, TextIO

__all__ = ["Screen", "screen", "switched_off"]

WIDTH = 24  # characters of a bar
OFF = ("0", "off", "no", "false")


class Screen(Protocol):
    """Where one line is drawn over and over."""

    def draw(self, label: str, share: float | None, words: str) -> None:
        """Draws it: a bar for a share of the work, and words beside it."""

    def clear(self) -> None:
        """Takes it away."""


class _Terminal:
    """A line that is written over itself."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def draw(self, label: str, share: float | None, words: str) -> None:
        full = round(WIDTH * min(1.0, share or 0.0))
        bar = "" if share is None else "━" * full + " " * (WIDTH - full) + " "
        room = max(20, shutil.get_terminal_size().columns - 1)
        try:
            bar.encode(self.stream.encoding or "utf-8")
        except (UnicodeEncodeError, LookupError):
            bar = bar.replace("━", "#")
        self._write("\r\x1b[2K" + f"{label} {bar}{words}"[:room])

    def clear(self) -> None:
        self._write("\r\x1b[2K")

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


class _Notebook:
    """An output of the cell that is replaced; empty in the end."""

    def __init__(self, display: Callable[..., Any]) -> None:
        self.display = display
        self.handle: Any = None

    def draw(self, label: str, share: float | None, words: str) -> None:
        bar = "" if share is None else f"<progress value='{min(1.0, share):.4f}' max='1'></progress> "
        self._show({"text/plain": f"{label} {words}", "text/html": f"{html.escape(label)} {bar}{html.escape(words)}"})

    def clear(self) -> None:
        self._show({"text/plain": "", "text/html": ""})

    def _show(self, bundle: dict[str, str]) -> None:
        if self.handle is None:
            self.handle = self.display(bundle, raw=True, display_id=True)
        else:
            self.handle.update(bundle, raw=True)


def screen() -> Screen | None:
    """Where a person is likely to look; None for scripts in the background, workers, and where it was switched off."""
    if switched_off():
        return None
    processes = sys.modules.get("multiprocessing")
    if processes is not None and processes.parent_process() is not None:
        return None
    python = sys.modules.get("IPython")
    shell = python.get_ipython() if python is not None else None
    if getattr(shell, "kernel", None) is not None:
        return _Notebook(importlib.import_module("IPython.display").display)
    stream = sys.stderr
    if stream is None or stream.closed or not stream.isatty() or os.environ.get("TERM") == "dumb":
        return None
    return _Terminal(stream)


def switched_off() -> bool:
    """Whether the environment asks for silence."""
    return os.environ.get("THALWEG_PROGRESS", "").strip().lower() in OFF

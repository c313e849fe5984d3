"""The command ``thalweg view``: all runs in the browser."""

from __future__ import annotations

import argparse
import threading
import webbrowser

from thalweg.cli.printing import say

__all__ = ["view"]


def view(options: argparse.Namespace) -> None:
    """Show the runs in the browser until Ctrl-C."""
    from thalweg.viewer import serve

    def ready(address: str) -> None:
        say(f"runs of {options.root}: {address}  (Ctrl-C ends)")
        if options.browser:
            # In a thread: some browsers keep their caller waiting.
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    try:
        serve(options.root, port=options.port, ready=ready)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the viewer has ended") from None

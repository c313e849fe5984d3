"""The browser that tests open pages in, if one is installed."""

from __future__ import annotations

import shutil

__all__ = ["chromium"]

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")


def chromium() -> str | None:
    """Its path, first choice first; None if there is none."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)

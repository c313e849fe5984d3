"""The runs of a folder in the browser, on this machine only: ``thalweg view``.

Three pages: all runs, one run, several runs side by side. They show what is in the run folders and change nothing:
requests that would are refused, as is every file outside of a run's folder and every address but this machine's own.

`listing` makes a line of each run and `progress` says how far it is, `curves` draws what it records, `beside` sets
several side by side, `files` says which files may be read; `application` makes pages of them, `guard` keeps its rules,
and `serving` is the server.
"""

from __future__ import annotations

from thalweg.viewer.serving import PORT, serve

__all__ = ["PORT", "serve"]

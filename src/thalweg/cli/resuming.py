"""The command ``thalweg resume``."""

from __future__ import annotations

import argparse

from thalweg.cli import running, sweeping
from thalweg.cli.common import open_run
from thalweg.experiments.framework.execution import admit, reopen

__all__ = ["resume"]


def resume(options: argparse.Namespace) -> None:
    """Continue a run, or a sweep."""
    run = open_run(options.run, options.root)
    admit(run, options.source)
    if "sweep" in run.config:
        sweeping.resume(run)
        return
    running.finish(reopen(run.path))

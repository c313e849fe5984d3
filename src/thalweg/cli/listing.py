"""The command ``thalweg list``."""

from __future__ import annotations

import argparse

from thalweg.cli.printing import say
from thalweg.experiments.framework.discovery import discover

__all__ = ["show_list"]


def show_list(_: argparse.Namespace) -> None:
    """Name and summary of every experiment."""
    experiments = discover()
    width = max(map(len, experiments), default=0)
    for name, experiment in experiments.items():
        say(f"{name:<{width}}  {experiment.summary}")

"""One file per experiment; everything else about an experiment follows from its file.

A module in this folder that defines ``run`` at its top level *is* an experiment, named after the file with hyphens for
underscores. It holds

- a docstring: question, method, figure and how to read it; the first line is the summary in ``thalweg list``;
- ``class Config(ExperimentConfig)``: every knob as a documented field;
- ``PRESETS``: named configurations, among them ``tiny`` (seconds, for the tests) and ``quick`` (the default);
- ``run(config, run) -> Findings``: does the work, keeps what it measured in the run folder, returns what it found.

Its subcommand, help, TOML keys, sweep keys, report and docs page are made from these; nothing is registered. Folders
named in the environment variable ``THALWEG_EXPERIMENTS`` are searched as well: an experiment of your own needs no fork.

The framework: :mod:`~thalweg.experiments.discovery` (which experiments exist, without importing any),
:mod:`~thalweg.experiments.config` (what all configurations share), :mod:`~thalweg.experiments.options` (presets, TOML
and overrides), :mod:`~thalweg.experiments.findings` (what an experiment returns) and
:mod:`~thalweg.experiments.execution` (an experiment in its run folder).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from thalweg._lazy import lazy

if TYPE_CHECKING:
    from thalweg.experiments.config import ExperimentConfig
    from thalweg.experiments.discovery import Experiment, discover, find
    from thalweg.experiments.execution import execute
    from thalweg.experiments.findings import Findings
    from thalweg.experiments.options import configure, override

__all__ = ["Experiment", "ExperimentConfig", "Findings", "configure", "discover", "execute", "find", "override"]

__path__ = [*__path__, *filter(None, os.environ.get("THALWEG_EXPERIMENTS", "").split(os.pathsep))]

# Listing the experiments imports neither pydantic nor torch.
__getattr__, __dir__ = lazy(
    __name__,
    {
        "discovery": "Experiment discover find",
        "config": "ExperimentConfig",
        "findings": "Findings",
        "options": "configure override",
        "execution": "execute",
    },
)

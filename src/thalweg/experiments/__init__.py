"""One file or folder per experiment; everything else about an experiment follows from it.

A module in this folder that defines ``run`` at its top level *is* an experiment, named after the file with hyphens for
underscores. It holds

- a docstring: question, method, figure and how to read it; the first line is the summary in ``thalweg list``;
- ``class Config(ExperimentConfig)``: every knob as a documented field;
- ``PRESETS``: named configurations, among them ``tiny`` (seconds, for the tests) and ``quick`` (the default);
- ``run(config, run) -> Findings``: does the work, keeps what it measured in the run folder, returns what it found.

A longer experiment is a folder of the same parts, in which each file imports only those before it: ``config.py``
(``Config`` and ``PRESETS``, without torch), ``measure.py`` (computes results), ``figures.py``, ``report.py`` (both only
read the results) and ``experiment.py`` (docstring and ``run``).

Its subcommand, help, TOML keys, sweep keys, report and docs page are made from these; nothing is registered. Folders
named in the environment variable ``THALWEG_EXPERIMENTS`` are searched as well: an experiment of your own needs no fork.

:mod:`~thalweg.experiments.framework` finds, configures and executes experiments; :mod:`~thalweg.experiments.shared`
holds what several of them use.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from thalweg._lazy import lazy

if TYPE_CHECKING:
    from thalweg.experiments.framework.config import ExperimentConfig
    from thalweg.experiments.framework.discovery import Experiment, discover, find
    from thalweg.experiments.framework.execution import execute
    from thalweg.experiments.framework.findings import Findings
    from thalweg.experiments.framework.foreign import run
    from thalweg.experiments.framework.options import configure, override

__all__ = ["Experiment", "ExperimentConfig", "Findings", "configure", "discover", "execute", "find", "override", "run"]

__path__ = [*__path__, *filter(None, os.environ.get("THALWEG_EXPERIMENTS", "").split(os.pathsep))]

# Listing the experiments imports neither pydantic nor torch.
__getattr__, __dir__ = lazy(
    __name__,
    {
        "framework.discovery": "Experiment discover find",
        "framework.config": "ExperimentConfig",
        "framework.findings": "Findings",
        "framework.options": "configure override",
        "framework.execution": "execute",
        "framework.foreign": "run",
    },
)

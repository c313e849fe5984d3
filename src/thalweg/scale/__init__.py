"""Sweeps: one experiment with many settings, on the cores of this machine or on a cluster.

>>> import tempfile
>>> from thalweg.experiments import find
>>> from thalweg.scale import plan
>>> made = plan("trajectory", find("trajectory").preset("tiny"), {"training.lr": "log:1e-3..1e-1:3", "seed": "0..1"})
>>> [task.words for task in made.tasks][:3]
['training.lr=0.001, seed=0', 'training.lr=0.001, seed=1', 'training.lr=0.01, seed=0']

:func:`plan` turns a configuration and the swept values into tasks; :func:`sweep` has every task that is missing done by
workers (`Local` processes, a `Cluster` of dask, or any ``concurrent.futures.Executor``), puts all settings and results
into one table and writes a report. A task is one run in the folder of its configuration: it is done once whoever asks
for it, however often, and goes on where a worker died.

The parts: :mod:`~thalweg.scale.values` (how values are written), :mod:`~thalweg.scale.planning` (the tasks),
:mod:`~thalweg.scale.working` (one task, in a worker), :mod:`~thalweg.scale.workers` (who works),
:mod:`~thalweg.scale.dispatch` (who gets what, and what happens when a worker dies), :mod:`~thalweg.scale.table`,
:mod:`~thalweg.scale.telling` (figures and sentences), :mod:`~thalweg.scale.sweeping` (all of it).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thalweg.scale.planning import Plan, Task, plan, replan
    from thalweg.scale.sweeping import Sweep, sweep
    from thalweg.scale.workers import Cluster, Given, Local

__all__ = ["Cluster", "Given", "Local", "Plan", "Sweep", "Task", "plan", "replan", "sweep"]

_HOME = {
    "Cluster": "workers",
    "Given": "workers",
    "Local": "workers",
    "Plan": "planning",
    "Sweep": "sweeping",
    "Task": "planning",
    "plan": "planning",
    "replan": "planning",
    "sweep": "sweeping",
}


def __getattr__(name: str) -> object:
    """Load a name when it is first used: planning imports no torch, local workers no dask."""
    if name not in _HOME:
        raise AttributeError(f"module 'thalweg.scale' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"thalweg.scale.{_HOME[name]}"), name)
    globals()[name] = value
    return value

"""Sweeps: one experiment with many settings, on the cores of this machine or on a cluster.

>>> import tempfile
>>> from thalweg.experiments import find
>>> from thalweg.sweeps import plan
>>> made = plan("trajectory", find("trajectory").preset("tiny"), {"training.lr": "log:1e-3..1e-1:3", "seed": "0..1"})
>>> [task.words for task in made.tasks][:3]
['training.lr=0.001, seed=0', 'training.lr=0.001, seed=1', 'training.lr=0.01, seed=0']

:func:`plan` turns a configuration and the swept values into tasks; :func:`sweep` has every task that is missing done by
workers (`Local` processes, a `Cluster` of dask, or any ``concurrent.futures.Executor``), puts all settings and results
into one table and writes a report. A task is one run in the folder of its configuration: it is done once whoever asks
for it, however often, and goes on where a worker died.

The parts: :mod:`~thalweg.sweeps.values` (how values are written), :mod:`~thalweg.sweeps.planning` (the tasks),
:mod:`~thalweg.sweeps.working` (one task, in a worker), :mod:`~thalweg.sweeps.workers` (who works),
:mod:`~thalweg.sweeps.dispatch` (who gets what, and what happens when a worker dies), :mod:`~thalweg.sweeps.table`,
:mod:`~thalweg.sweeps.telling` (figures and sentences), :mod:`~thalweg.sweeps.sweeping` (all of it).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg._lazy import lazy

if TYPE_CHECKING:
    from thalweg.sweeps.planning import Plan, Task, plan, replan
    from thalweg.sweeps.sweeping import Sweep, sweep
    from thalweg.sweeps.workers import Cluster, Given, Local

__all__ = ["Cluster", "Given", "Local", "Plan", "Sweep", "Task", "plan", "replan", "sweep"]

# Planning imports no torch, local workers no dask.
__getattr__, __dir__ = lazy(
    __name__, {"workers": "Cluster Given Local", "planning": "Plan Task plan replan", "sweeping": "Sweep sweep"}
)

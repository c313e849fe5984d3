"""Sweeps (one experiment with many settings, on the cores of this machine or on a cluster), and sharded objectives.

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

Apart from these, :func:`sharded` spreads the data of one objective over the processes of `torch.distributed`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg._lazy import lazy

if TYPE_CHECKING:
    from thalweg.scale.planning import Plan, Task, plan, replan
    from thalweg.scale.sharding import sharded
    from thalweg.scale.sweeping import Sweep, sweep
    from thalweg.scale.workers import Cluster, Given, Local

__all__ = ["Cluster", "Given", "Local", "Plan", "Sweep", "Task", "plan", "replan", "sharded", "sweep"]

# Planning imports no torch, local workers no dask.
__getattr__, __dir__ = lazy(
    __name__,
    {
        "workers": "Cluster Given Local",
        "planning": "Plan Task plan replan",
        "sharding": "sharded",
        "sweeping": "Sweep sweep",
    },
)

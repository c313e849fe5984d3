"""What a network learns from: target functions, handwritten digits and other images, or any data set of the user.

A :class:`~thalweg.tasks.config.TaskConfig` names the data and what is done to it (subsampling, corrupted labels,
shuffled pixels, standardisation); :func:`~thalweg.tasks.loading.load` turns it into a
:class:`~thalweg.tasks.task.Task`: the very tensors that training sees, with a checksum over them.

>>> from thalweg import tasks
>>> task = tasks.load(tasks.TaskConfig(name="function", expression="sin(3*pi*x)", points=64))
>>> task.kind, task.input_shape, task.outputs
('regression', (1,), 1)

Names are loaded when they are first used, so that reading a configuration imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg._lazy import lazy

if TYPE_CHECKING:
    from thalweg.tasks.config import TaskConfig
    from thalweg.tasks.expression import Expression, parse
    from thalweg.tasks.fetching import fetch
    from thalweg.tasks.functions import TARGETS, Target, target
    from thalweg.tasks.loading import load
    from thalweg.tasks.places import DataRow, Place, list_data, where
    from thalweg.tasks.task import Task, from_arrays, from_dataset

__all__ = [
    "TARGETS",
    "DataRow",
    "Expression",
    "Place",
    "Target",
    "Task",
    "TaskConfig",
    "fetch",
    "from_arrays",
    "from_dataset",
    "list_data",
    "load",
    "parse",
    "target",
    "where",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "functions": "TARGETS Target target",
        "places": "DataRow Place list_data where",
        "expression": "Expression parse",
        "task": "Task from_arrays from_dataset",
        "config": "TaskConfig",
        "fetching": "fetch",
        "loading": "load",
    },
)

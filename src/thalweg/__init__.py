"""Thalweg: a laboratory for how neural networks learn.

Everything is a function of one flat parameter vector. An :class:`~thalweg.objective.Objective` turns any ``nn.Module``
with its loss and data into L(θ), and every function of θ takes leading axes: a hundred trainings, a surface and a
single checkpoint are all batches of θ.

Importing the package is cheap: names are loaded when they are first used, so ``import thalweg`` alone imports no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from thalweg.errors import InputError

if TYPE_CHECKING:
    from thalweg import (
        curvature,
        errors,
        experiments,
        figures,
        landscape,
        models,
        objective,
        progress,
        report,
        runs,
        tasks,
        training,
    )
    from thalweg.objective import Objective
    from thalweg.runs import Run
    from thalweg.training import Recipe, Recorder, train

__version__ = "0.1.0"

__all__ = [
    "InputError",
    "Objective",
    "Recipe",
    "Recorder",
    "Run",
    "train",
    "curvature",
    "errors",
    "experiments",
    "figures",
    "landscape",
    "models",
    "objective",
    "progress",
    "report",
    "runs",
    "tasks",
    "training",
]

_HOME = {"Objective": "objective", "Recipe": "training", "Recorder": "training", "Run": "runs", "train": "training"}


def __getattr__(name: str) -> object:
    """Load a public name or submodule when it is first asked for (PEP 562)."""
    if name in _HOME:
        value = getattr(importlib.import_module(f"thalweg.{_HOME[name]}"), name)
    elif name in __all__:
        value = importlib.import_module(f"thalweg.{name}")
    else:
        raise AttributeError(f"module 'thalweg' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

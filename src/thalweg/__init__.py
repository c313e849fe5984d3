"""Thalweg: a laboratory for how neural networks learn.

Everything is a function of one flat parameter vector. An :class:`~thalweg.objective.Objective` turns any ``nn.Module``
with its loss and data into L(θ), and every function of θ takes leading axes: a hundred trainings, a surface and a
single checkpoint are all batches of θ.

>>> import thalweg
>>> from thalweg import landscape, models, tasks
>>> from torch import nn
>>> task = tasks.load(tasks.TaskConfig(name="digits", samples=200))
>>> model = models.build(models.ModelConfig(hidden=(16,)), task.input_shape, task.outputs)
>>> objective = thalweg.Objective(model, nn.CrossEntropyLoss(), task.train)
>>> recipe = thalweg.Recipe(optimizer="adam", lr=0.03, epochs=60)
>>> recording = thalweg.train(objective, recipe=recipe, replicas=4, seed=0)  # all four at once
>>> recording.snapshots
Snapshots(S=61, R=4, P=1210, float32)
>>> theta = recording.snapshots[-1]  # the last weights of all replicas, (R, P)
>>> objective.value(theta).shape, objective.hvp(theta, objective.gradient(theta)).shape
(torch.Size([4]), torch.Size([4, 1210]))
>>> bool((objective.value(theta) < 0.1 * objective.value(recording.snapshots[0])).all())
True
>>> paths = landscape.pca(recording.snapshots[:])  # their paths through weight space, in one plane
>>> paths.coordinates(2).shape
torch.Size([61, 4, 2])

Whole experiments, with figures and a report, run from the command line: ``thalweg list``. A training loop of your own
is recorded by :class:`~thalweg.training.Recorder` into the same kind of :class:`~thalweg.runs.Run`.

Importing the package is cheap: names are loaded when they are first used, so ``import thalweg`` alone imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg._lazy import lazy
from thalweg._version import __version__
from thalweg.errors import InputError

if TYPE_CHECKING:
    from thalweg import (
        analysis,
        checkpoints,
        critical,
        curvature,
        errors,
        experiments,
        figures,
        generalization,
        landscape,
        models,
        objective,
        progress,
        report,
        results,
        runs,
        subjects,
        sweeps,
        tasks,
        training,
    )
    from thalweg.analysis import analyze
    from thalweg.objective import Objective
    from thalweg.runs import Run
    from thalweg.subjects import Subject
    from thalweg.training import Recipe, Recorder, train

__all__ = [
    "__version__",
    "InputError",
    "Objective",
    "Recipe",
    "Recorder",
    "Run",
    "Subject",
    "train",
    "analysis",
    "analyze",
    "checkpoints",
    "critical",
    "curvature",
    "errors",
    "experiments",
    "figures",
    "generalization",
    "landscape",
    "models",
    "objective",
    "progress",
    "report",
    "results",
    "runs",
    "sweeps",
    "subjects",
    "tasks",
    "training",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "analysis": "analysis analyze",
        "checkpoints": "checkpoints",
        "critical": "critical",
        "curvature": "curvature",
        "errors": "errors",
        "experiments": "experiments",
        "figures": "figures",
        "generalization": "generalization",
        "landscape": "landscape",
        "models": "models",
        "objective": "objective Objective",
        "progress": "progress",
        "report": "report",
        "results": "results",
        "runs": "runs Run",
        "sweeps": "sweeps",
        "subjects": "subjects Subject",
        "tasks": "tasks",
        "training": "training Recipe Recorder train",
    },
)

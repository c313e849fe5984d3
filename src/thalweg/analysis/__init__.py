"""One trained network, all instruments, one report.

:func:`analyze` measures loss and gradient, says what kind of point the weights are, estimates the curvature, looks at
the loss around them, and measures sharpness, sensitivity, margins and norms; with several checkpoints also the path
between them. It chooses probes, grids and samples from measured costs so that it ends within the minutes given, and
says what it left out and with which sampling error.

>>> import torch
>>> import thalweg
>>> model = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3))
>>> objective = thalweg.Objective(model, torch.nn.CrossEntropyLoss(), (torch.randn(60, 4), torch.arange(60) % 3))
>>> found = thalweg.analyze(objective, minutes=0.5)
>>> sorted(part.key for part in found.parts)
['around', 'curvature', 'point', 'robustness']
>>> found.number("loss").value == float(objective.double().value(objective.double().theta))
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg._lazy import lazy

if TYPE_CHECKING:
    from thalweg.analysis.analyzing import analyze
    from thalweg.analysis.costs import Costs
    from thalweg.analysis.part import Analysis, Number, Part
    from thalweg.analysis.path import Along, Walk
    from thalweg.analysis.planning import Plan, Stage, plan

__all__ = ["Along", "Analysis", "Costs", "Number", "Part", "Plan", "Stage", "Walk", "analyze", "plan"]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "analyzing": "analyze",
        "costs": "Costs",
        "part": "Analysis Number Part",
        "path": "Along Walk",
        "planning": "Plan Stage plan",
    },
)

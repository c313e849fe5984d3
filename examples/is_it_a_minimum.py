"""
Is it a minimum?
================

Minimise the norm of the gradient, count the positive eigenvalues, call it the minimal ratio: the figures behind the
page :doc:`/is-it-a-minimum`, made at a small scale.
"""

import io
import tempfile

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

import thalweg
from thalweg import critical, models, tasks
from thalweg.curvature import exact_curvature
from thalweg.experiments import execute, find, override
from thalweg.experiments.framework.execution import load_findings
from thalweg.figures import Axis, Figure, Line, Panel, VLine
from thalweg.figures.matplotlib import render


def show(figure: Figure) -> None:
    """Puts a figure of thalweg where the gallery looks for pictures."""
    picture = plt.imread(io.BytesIO(render(figure, dpi=150)[0]))
    height, width = picture.shape[:2]
    plt.figure(figsize=(width / 150, height / 150), dpi=150).figimage(picture)


# %%
# The experiment, with few trainings: end points of the course's method, and certified points beside them.

few = {"replicas": 16, "training.steps": 800, "norm_steps": 300, "saddles": 8, "embedded": 2, "narrower": 4}
config = override(find("zero-gradient").preset("quick"), {**few, "training.metrics.every": 5, "neighbours": 20})
with tempfile.TemporaryDirectory() as folder:
    found = load_findings(execute("zero-gradient", config, folder))
for statement in found.statements:
    print("-", statement)
show(found.figures[0])

# %%
# The spectra of one point of every kind.

show(next(figure for figure in found.figures if figure.name == "spectra"))

# %%
# The network of the classic exercise: 571 parameters, eight layers of ReLU. One short training, then the norm of the
# gradient as the objective; then the Hessian at the end, in double and in single precision, and its eigenvalues by a
# solver for symmetric matrices (``eigvalsh``) and, as classic scripts do, by the one for all matrices (``eigvals``).

task = tasks.load(tasks.TaskConfig(name="function", expression="sinc", points=128), torch.float64)
model = models.build(models.ModelConfig(hidden=(5, 10, 10, 10, 10, 10, 5)), task.input_shape, task.outputs)
objective = thalweg.Objective(model, nn.MSELoss(), task.train, dtype=torch.float64)
training = thalweg.train(objective, recipe=thalweg.Recipe(lr=1e-2, steps=600), seed=0)
end = critical.gradient_norm_adam(critical.as_problem(objective), training.snapshots[-1], steps=100).theta[0]

single = objective.to(dtype=torch.float32)
rough = exact_curvature(single, end.float(), dtype=torch.float32).matrix
exact = exact_curvature(objective, end).matrix
spectra = {
    "double, symmetric solver": torch.linalg.eigvalsh(exact),
    "double, general solver": torch.linalg.eigvals(exact).real,
    "single, symmetric solver": torch.linalg.eigvalsh(rough).double(),
    "single, general solver": torch.linalg.eigvals(rough).real.double(),
}
for name, values in spectra.items():
    print(f"{name}: {(values > 0).double().mean():.3f} of the eigenvalues are > 0")
tolerances = [0, *np.geomspace(1e-28, 1, 169)]
places = [1e-32, *tolerances[1:]]  # zero has no place on a logarithmic axis but this
lines = []
for name, style in (("double, symmetric solver", "solid"), ("single, general solver", "dashed")):
    scaled = (spectra[name] / spectra[name].abs().max()).numpy()
    for sign, word, colour in ((1, "positive", 0), (-1, "negative", 1)):
        share = [(sign * scaled > tolerance).mean() for tolerance in tolerances]
        lines.append(Line(places, share, label=f"{word}, {name}", colour=colour, style=style, steps=True))
for kind, name in ((np.float64, "double"), (np.float32, "single")):
    lines.append(VLine(571 * float(np.finfo(kind).eps), f"P·ε, {name}", style="dotted"))
ticks = ((1e-32, "0"), (1e-24, "10⁻²⁴"), (1e-16, "10⁻¹⁶"), (1e-8, "10⁻⁸"), (1, "1"))
x = Axis("tolerance as a share of the largest eigenvalue", scale="log", ticks=ticks)
panel = Panel(x, Axis("share of eigenvalues", limits=(0, 0.6)), tuple(lines))
show(Figure("tolerance", "The sign of rounding noise", "", (panel,), size=(7.2, 4.0)))

# %%
# Back to the small network: which saddle leads to which minimum.

show(next(figure for figure in found.figures if figure.name == "landscape"))

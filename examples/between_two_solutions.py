"""
Between two solutions
=====================

Two networks, trained apart, and three ways from one to the other: the pictures of the page :doc:`/paths`, made at a
small scale.
"""

import io

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

import thalweg
from thalweg import landscape, models, tasks
from thalweg.figures import Axis, Band, Figure, Line, Panel, VLine
from thalweg.figures.matplotlib import render


def show(figure: Figure) -> None:
    """Puts a figure of thalweg where the gallery looks for pictures."""
    picture = plt.imread(io.BytesIO(render(figure, dpi=150)[0]))
    height, width = picture.shape[:2]
    plt.figure(figsize=(width / 150, height / 150), dpi=150).figimage(picture)


def curve(x: torch.Tensor, values: torch.Tensor, label: str, **look: object) -> tuple[Band, Line]:
    """Median and range over the pairs (T, R)."""
    low, middle, high = (f(values.numpy(), axis=1) for f in (np.min, np.median, np.max))
    shared = {key: look[key] for key in ("side", "colour") if key in look}
    return Band(x, low, high, group=label, **shared), Line(x, middle, label=label, **look)


# %%
# Three pairs of networks. The first of a pair sees batches of 64 images, the second batches of 512; all six start from
# weights of their own.

task = tasks.load(tasks.TaskConfig(), torch.float32)
model = models.build(models.ModelConfig(hidden=(32, 32)), task.input_shape, task.outputs)
objective = thalweg.Objective(model, nn.CrossEntropyLoss(), task.train)
sets = {"train": objective, "test": objective.with_data(task.test)}

solutions = []
for first, batch in ((0, 64), (3, 512)):
    recipe = thalweg.Recipe(lr=3e-3, batch_size=batch, epochs=50)
    solutions.append(thalweg.train(objective, recipe=recipe, replicas=3, first=first).snapshots[-1])
a, b = solutions

# %%
# The straight line through both, from α = −1 to α = 2. At 0 stands the first network, at 1 the second.

line = landscape.interpolate(sets, a, b)
barrier = line.barriers["train"]
for pair, (height, error, place) in enumerate(zip(barrier.height, barrier.error, barrier.position, strict=True), 1):
    print(f"pair {pair}: a barrier of {height:.2f} ± {error:.2f} at α = {place:.2f}")

marks = []
for name, style in (("train", "solid"), ("test", "dashed")):
    marks += curve(line.positions, line.values[name]["loss"], f"{name} loss", colour=0, style=style)
for name, style in (("train", "solid"), ("test", "dashed")):
    look = {"colour": 1, "side": "right", "style": style}
    marks += curve(line.positions, line.values[name]["accuracy"], f"{name} accuracy", **look)
marks += [VLine(end, style="dotted", colour="muted") for end in (0.0, 1.0)]
right = Axis("accuracy", limits=(0, 1.02))
panel = Panel(Axis("α"), Axis("loss", scale="log"), tuple(marks), right=right, title="batch 64 (0), batch 512 (1)")
show(Figure("line", "On the line through two solutions", "", (panel,), size=(6.4, 4.0)))

# %%
# The same two networks, the hidden units of the second one in the order of the first: the function is the same, the
# weights are nearer, and the barrier is gone but for a small rest.

found = landscape.align(objective, a, b)
aligned = landscape.interpolate(sets, a, found.theta(b))
print(f"distance {found.before.median():.1f} before, {found.after.median():.1f} after alignment")
print(f"barrier {barrier.height.median():.3f} before, {aligned.barriers['train'].height.median():.3f} after")

# %%
# And a curve: a quadratic Bézier curve with one bend, trained so that the loss is low all along it.

recipe = thalweg.Recipe(lr=1e-2, steps=500, batch_size=128, schedule="linear", final=0.01)
bent = landscape.connect(objective, a, b, recipe).path
around = landscape.follow(sets, bent)
print(f"the curve is {(bent.length / bent.distance).median():.2f} times as long as the line")
print(f"highest training loss on it: {around.values['train']['loss'].amax(0).median():.3f}")

marks = []
for label, way in (("straight line", line), ("after alignment", aligned), ("Bézier curve", around)):
    inside = (way.positions >= 0) & (way.positions <= 1)
    marks += curve(way.arc[inside].median(dim=1).values, way.values["train"]["loss"][inside], label)
x = Axis("share of the way", ticks=((0.0, "batch 64"), (0.5, "half"), (1.0, "batch 512")))
panel = Panel(x, Axis("training loss", scale="log"), tuple(marks))
show(Figure("ways", "Ways from one solution to the other", "", (panel,), size=(6.4, 4.0)))

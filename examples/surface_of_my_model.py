"""
The surface around a model of one's own
=======================================

A trained network, its loss in a plane of two random directions with the norms of its filters (Li et al. 2018), and what
that picture hides: in a dozen lines, for any module.
"""

from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn

import thalweg
from thalweg import landscape
from thalweg.figures import Axis, Contour, Figure, Panel, Surface3D
from thalweg.figures.choosing import chosen_axis, chosen_scale
from thalweg.figures.matplotlib import save

# %%
# A network trained as usual, in a loop of one's own.

torch.manual_seed(0)
pixels, labels = load_digits(return_X_y=True)
x, y = torch.tensor(pixels / 16, dtype=torch.float32).reshape(-1, 1, 8, 8), torch.tensor(labels)
model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for _ in range(60):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()

# %%
# The surface. The model itself is never changed; the objective holds a copy.

objective = thalweg.Objective(model.eval(), nn.CrossEntropyLoss(), (x, y))
directions = landscape.random_directions(objective, objective.theta, normalize="filter", seed=0)
plane = landscape.surface(objective, objective.theta, directions, 21, metrics=("loss", "accuracy"))
print(f"loss at the centre {plane.at_center('loss'):.3f}, accuracy {plane.at_center('accuracy'):.3f}")
print(f"loss on the plane {plane.values['loss'].min():.3f} to {plane.values['loss'].max():.1f}")
print("What it hides:", *plane.notes, sep="\n- ")

# %%
# A figure: levels, and the same in space. The colours follow the numbers, and the caption says how.

(across, up), loss = plane.axes, plane.values["loss"].T  # rows of a figure's field lie along y
colours, why = chosen_scale("loss", loss)
a, b = (Axis(label) for label in directions.labels)
levels = Panel(a, b, (Contour(across, up, loss, scale=colours, filled=True),))
space = Panel(a, b, (Surface3D(across, up, loss, scale=colours, floor=True),), z=chosen_axis("loss", loss))
figure = Figure("surface", "The loss around my model", f"{why} {' '.join(plane.notes)}", (levels, space))
folder = Path("runs/my-surface")
folder.mkdir(parents=True, exist_ok=True)
print("written:", *save(figure, folder / "surface"))

# %%
# The numbers for other programs: ParaView opens the ``.vts`` file.

for program in ("vtk", "npz"):
    print("written:", *landscape.export_surface(plane, folder / "surface", program))

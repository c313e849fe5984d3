"""
The surface around a model of one's own
=======================================

A trained network, its loss in a plane of two random directions with the norms of its filters (Li et al. 2018), and what
that picture hides: each picture in one line, for any module.
"""

from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn

import thalweg
from thalweg import landscape

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
print(plane.summary())
print("What it hides:", *plane.notes, sep="\n- ")

# %%
# Levels, and the same in space. The colours follow the numbers, and the caption says how.

folder = Path("runs/my-surface")
folder.mkdir(parents=True, exist_ok=True)
print("written:", plane.plot().save(folder / "surface.png"))
print("written:", plane.plot("accuracy").save(folder / "accuracy.svg"))
print("written:", plane.space().save(folder / "space.html"))

# %%
# The numbers for other programs: ParaView opens the ``.vts`` file.

for program in ("vtk", "npz"):
    print("written:", *landscape.export_surface(plane, folder / "surface", program))

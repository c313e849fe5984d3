"""
A training loop of one's own
============================

Three lines put a plain PyTorch loop into a run folder: make a `Recorder`, call `step` after each step of the optimiser,
close it. What it recorded is then read and analysed like any other run.
"""

import torch
from torch import nn

import thalweg
from thalweg.landscape import pca

torch.manual_seed(0)
x = torch.linspace(-1, 1, 128)[:, None]
y = torch.sin(5 * x)
model = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

# %%
# The loop. Only the three lines with `recorder` are new; `with thalweg.Recorder(…) as recorder` closes by itself.

recorder = thalweg.Recorder("runs/own-loop", model, every=10, config={"lr": 0.01}, overwrite=True)
for _ in range(500):
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(x), y)
    loss.backward()
    optimizer.step()
    recorder.step(loss=loss)
recorder.close()

# %%
# The run, read lazily: `snapshots[s, r]` reads one vector of parameters from the disk.

run = recorder.run
print(run.name, run.state, run.snapshots)
print(run.metrics.tail(3))

# %%
# The same functions as for every other run: the loss on the way, and the plane in which the path lies.

objective = thalweg.Objective(model, nn.MSELoss(), (x, y))
path = run.snapshots[:, 0]  # (S, P)
print("loss at the first and the last snapshot:", *objective.value(path[[0, -1]]).tolist())
plane = pca(run.snapshots)
print(f"two components hold {100 * float(plane.ratio(2).sum()):.1f} % of the path's variance")

"""
A model of one's own
====================

Any module, loss and data become a function of one flat vector of parameters; with that, a hundred trainings are one
call, and so are a surface around a solution or the curvature at it.
"""

import torch
from torch import nn

import thalweg


class Residual(nn.Module):
    """Any module will do: this one has a skip connection and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.inner, self.leave = nn.Linear(2, 16), nn.Linear(16, 16), nn.Linear(16, 2)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores of two classes."""
        h = torch.tanh(self.enter(x))
        return self.leave(h + torch.tanh(self.inner(self.dropout(h))))


# %%
# Two spirals, the model and the loss. `eval()` switches dropout off for the analyses; the training switches it on.

torch.manual_seed(0)
angle = 6 * torch.rand(300).sqrt()
side = torch.arange(300) % 2
x = torch.stack([angle.cos(), angle.sin()], dim=1) * angle[:, None] / 2 * (1 - 2 * side)[:, None]
objective = thalweg.Objective(Residual().eval(), nn.CrossEntropyLoss(), (x, side))

# %%
# Twenty trainings at once. Each replica has its own seed for weights, batches and dropout.

recipe = thalweg.Recipe(optimizer="adam", lr=0.02, batch_size=50, epochs=100, schedule="cosine")
training = thalweg.train(objective, recipe=recipe, replicas=20, seed=0, evaluate={"train": objective})
last = training.metrics.filter(training.metrics["epoch"] == 100)
print(training.snapshots)
print(f"training accuracy: {last['train_accuracy'].min():.2f} to {last['train_accuracy'].max():.2f}")

# %%
# Every function of the parameters takes any leading axes: here straight lines from the first solution to the others.

theta = training.snapshots[-1]  # (R, P)
share = torch.linspace(0, 1, 21)[:, None, None]
line = (1 - share) * theta[:1] + share * theta[1:]  # (21, R - 1, P)
loss = objective.value(line)  # (21, R - 1)
barrier = loss.max(0).values - torch.maximum(loss[0], loss[-1])
print(f"height of the barrier on the straight line between two solutions: median {barrier.median():.2f}")

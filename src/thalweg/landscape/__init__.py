"""Where training goes: projections of trajectories, and the control that tells path from chance.

`pca` puts all runs into one frame and says how much of them it shows; `tsne` draws their neighbourhoods from there;
`random_walk` and `matched_walk` are the control to be drawn beside.

>>> import torch
>>> from thalweg import landscape
>>> snapshots = torch.randn(41, 3, 5000, generator=torch.manual_seed(0)).cumsum(dim=0)  # no training: noise
>>> found = landscape.pca(snapshots)
>>> found.coordinates(2).shape
torch.Size([41, 3, 2])
>>> control = landscape.pca(landscape.matched_walk(found))
>>> bool((found.ratio(2) - control.ratio(2)).abs().max() < 0.02)  # nothing but chance in it
True
"""

from thalweg.landscape.pca import PCA, pca
from thalweg.landscape.tsne import TSNE, tsne
from thalweg.landscape.walk import matched_walk, random_walk, walk_ratio

__all__ = ["PCA", "TSNE", "matched_walk", "pca", "random_walk", "tsne", "walk_ratio"]

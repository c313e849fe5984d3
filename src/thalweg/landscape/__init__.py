"""Where training goes and what lies around it: projections of trajectories, and surfaces of the loss.

`pca` puts all runs into one frame and says how much of them it shows (`explained_ratio` says only this, several times
faster); `tsne` draws their neighbourhoods from there; `random_walk` and `matched_walk` are the control to be drawn
beside.

>>> import torch
>>> from thalweg import landscape
>>> snapshots = torch.randn(41, 3, 5000, generator=torch.manual_seed(0)).cumsum(dim=0)  # no training: noise
>>> found = landscape.pca(snapshots)
>>> found.coordinates(2).shape
torch.Size([41, 3, 2])
>>> control = landscape.pca(landscape.matched_walk(found))
>>> bool((found.ratio(2) - control.ratio(2)).abs().max() < 0.02)  # nothing but chance in it
True

`surface` evaluates the loss on a grid along `Directions`: `random_directions`, `pca_directions`, `gradient_direction`,
`hessian_directions`, `solution_directions`. `path_on_plane` says how far a trajectory is from its picture, and
`scatter_surface` draws the loss at the weights visited and near them, without a plane.

`interpolate` goes straight from one solution to another and on, `connect` trains a curve of low loss between them,
`align` puts the hidden units of one into the order of the other first; all end in a `Profile` with its `Barrier`s.
`perturb` moves one parameter at a time.

`export_surface` writes a surface for ParaView (VTK), numpy or tables; a run keeps it as a `SavedSurface`.
"""

from thalweg.landscape.alignment import Alignment, align
from thalweg.landscape.barriers import Barrier
from thalweg.landscape.curves import Connection, connect
from thalweg.landscape.directions import Directions, gradient_direction, solution_directions
from thalweg.landscape.exporting import export_surface
from thalweg.landscape.filters import normalized, random_directions
from thalweg.landscape.grid import Grid
from thalweg.landscape.interpolation import interpolate, valley, with_ends
from thalweg.landscape.paths import Path
from thalweg.landscape.pca import PCA, explained_ratio, pca
from thalweg.landscape.perturbation import Perturbation, fine_offsets, perturb
from thalweg.landscape.plane import PathOnPlane, path_on_plane
from thalweg.landscape.principal import hessian_directions, pca_directions
from thalweg.landscape.profiles import Profile, follow
from thalweg.landscape.saved import SavedSurface
from thalweg.landscape.scatter import ScatterSurface, scatter_surface
from thalweg.landscape.surface import Surface, surface
from thalweg.landscape.tsne import TSNE, tsne
from thalweg.landscape.walk import matched_walk, random_walk, walk_ratio

__all__ = [
    "PCA",
    "TSNE",
    "Alignment",
    "Barrier",
    "Connection",
    "Directions",
    "Grid",
    "Path",
    "PathOnPlane",
    "Perturbation",
    "Profile",
    "SavedSurface",
    "ScatterSurface",
    "Surface",
    "align",
    "connect",
    "explained_ratio",
    "export_surface",
    "fine_offsets",
    "follow",
    "gradient_direction",
    "hessian_directions",
    "interpolate",
    "matched_walk",
    "normalized",
    "path_on_plane",
    "pca",
    "pca_directions",
    "perturb",
    "random_directions",
    "random_walk",
    "scatter_surface",
    "solution_directions",
    "surface",
    "tsne",
    "valley",
    "walk_ratio",
    "with_ends",
]

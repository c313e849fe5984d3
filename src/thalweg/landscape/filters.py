"""Random directions in units of the weights: filter-normalised (Li et al. 2018), layer-normalised, whole.

A ReLU network computes the same function after one layer is multiplied by α and the next by 1/α, but a step of fixed
length then means something else. Directions with the norms of the weights themselves make pictures of both networks
equal, and pictures of different networks comparable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from thalweg.declared import declared
from thalweg.errors import InputError, nearest
from thalweg.landscape.directions import Directions, finished, moving
from thalweg.objective import Objective, ParameterLayout
from thalweg.objective.arguments import as_theta, floating
from thalweg.objective.seeds import generator

__all__ = ["Norm", "normalized", "random_directions"]

Norm = Literal["filter", "layer", "whole", "none"]
Treatment = Literal["zero", "keep"]
NORMALISING = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm)


@declared
def random_directions(
    objective: Objective,
    theta: Tensor,
    count: int = 2,
    seed: int = 0,
    *,
    normalize: Norm = "filter",
    biases: Treatment = "zero",
    normalization: Treatment = "zero",
    parameters: str | Sequence[str] = "*",
    orthogonal: bool = False,
) -> Directions:
    """Draws Gaussian directions and gives them the norms of the weights.

    Args:
        objective: Knows the parameters and the modules that they belong to.
        theta: (P,), the weights whose norms the directions take; or what `Objective.as_theta` takes, such as a model.
        count: K.
        seed: Direction k depends on the seed and on k alone.
        normalize: "filter", d_ij ← d_ij ‖θ_ij‖/‖d_ij‖ for every filter of a convolution and every row of a weight
            matrix (§4 of the source; always the first axis, as in its code, which in a transposed convolution is an
            input channel); "layer", the same per parameter tensor; "whole", per direction; "none".
        biases: Parameters with one axis or none, of layers that do not normalise: "zero" (the source's choice) leaves
            them where they are, "keep" moves them as one filter each.
        normalization: The same for the parameters of BatchNorm, LayerNorm, GroupNorm and their like.
        parameters: Glob or globs: only these move, such as those of one layer.
        orthogonal: Orthogonalise the directions. In many dimensions random ones are nearly orthogonal anyway, and
            orthogonalised ones no longer have the norms of the filters exactly.

    Returns:
        Vectors (K, P) in the dtype of the objective.

    Raises:
        InputError: An argument is out of range, or nothing is left to move.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
        >>> objective = Objective(model, nn.MSELoss(), (torch.randn(7, 3), torch.randn(7, 1)))
        >>> plane = random_directions(objective, objective.theta, seed=1)
        >>> row = objective.layout.unravel(plane.vectors)["0.weight"][0, 2]  # of the third neuron
        >>> bool(torch.isclose(row.norm(), model[0].weight[2].norm()))
        True

    Source:
        H. Li, Z. Xu, G. Taylor, C. Studer, T. Goldstein, "Visualizing the loss landscape of neural nets", NeurIPS 2018.
    """
    theta = as_theta(objective, theta)
    _check(objective, theta, count, normalize, biases, normalization)
    layout = objective.layout
    moves = _moves(objective, biases, normalization)
    chosen = layout.only(parameters).names
    names = [name for name in layout.names if moves[name] and name in chosen]
    if not names:
        raise InputError(
            "parameters must leave a weight to move: all that were chosen are biases or belong to normalisation "
            "layers (biases='keep' and normalization='keep' move those)"
        )
    still = torch.ones(layout.size, dtype=torch.bool)
    still[layout.select(names)] = False
    drawn = [
        torch.randn(layout.size, generator=generator(seed, k, "direction"), dtype=torch.float64) for k in range(count)
    ]
    vectors = torch.stack(drawn).masked_fill(still, 0.0).to(theta.device)
    vectors = normalized(vectors, theta.detach().double().masked_fill(still.to(theta.device), 0.0), layout, normalize)
    if not bool(vectors.any()):
        raise InputError("theta must have weights that are not zero for directions of its norms, found zeros only")
    kind = "random" if normalize == "none" else f"random, {normalize}-normalised"
    hidden = (
        f"{count} of {layout.size} dimensions at random: they show curvature near its average over the dimensions, "
        "and miss the few directions in which it is large."
    )
    labels = [f"random direction {k + 1}" for k in range(count)]
    found = finished(vectors.to(objective.dtype), labels, kind, [hidden], orthogonal=orthogonal)
    still = _staying(objective, found.vectors, chosen, moves, normalize)
    said = f"{moving(found.vectors)} of {layout.size} parameters move{still}."
    return replace(found, notes=(hidden, said, *found.notes[1:]))


@declared
def normalized(vectors: Tensor, theta: Tensor, layout: ParameterLayout, normalize: Norm = "filter") -> Tensor:
    """Scales directions to the norms of the weights; see :func:`random_directions` for the choices.

    Args:
        vectors: (…, P).
        theta: (…, P), leading axes broadcast against those of `vectors`.
        layout: Where the filters lie.
        normalize: "filter", "layer", "whole" or "none".

    Returns:
        (…, P); zero where the direction is.
    """
    vectors, theta = floating(vectors, "vectors"), floating(theta, "theta")
    if not isinstance(layout, ParameterLayout):
        raise InputError(f"layout must be a ParameterLayout (objective.layout), found {type(layout).__name__}")
    if normalize == "none":
        return vectors
    if normalize == "whole":
        return vectors * _ratio(theta, vectors, 1)
    parts = {}
    weights = layout.unravel(theta)
    for name, part in layout.unravel(vectors).items():
        axes = len(layout.shapes[layout.names.index(name)])
        # a filter has all axes but the first; a vector or a number counts as one filter
        inner = axes - 1 if normalize == "filter" and axes > 1 else axes
        parts[name] = part * _ratio(weights[name], part, inner)
    return layout.ravel(parts)


def _ratio(theta: Tensor, vectors: Tensor, axes: int) -> Tensor:
    """‖θ‖/‖d‖ over the last axes, kept as axes of length 1; zero for a zero direction."""
    dims = tuple(range(-axes, 0))
    if not dims:
        above, below = theta.abs(), vectors.abs()
    else:
        above = torch.linalg.vector_norm(theta, dim=dims, keepdim=True)
        below = torch.linalg.vector_norm(vectors, dim=dims, keepdim=True)
    return torch.where(below > 0, above / below, 0.0)


def _moves(objective: Objective, biases: Treatment, normalization: Treatment) -> dict[str, bool]:
    """Whether each parameter moves."""
    layers = _normalising(objective)
    out = {}
    for name, shape in zip(objective.layout.names, objective.layout.shapes, strict=True):
        treatment = normalization if name.rpartition(".")[0] in layers else biases if len(shape) <= 1 else "keep"
        out[name] = treatment == "keep"
    return out


def _staying(
    objective: Objective, vectors: Tensor, chosen: tuple[str, ...], moves: dict[str, bool], normalize: str
) -> str:
    """Which parameters do not move, in brackets; empty if all do."""
    layout = objective.layout
    layers = _normalising(objective)
    still = {name: bool((part == 0).all(0).any()) for name, part in layout.unravel(vectors).items()}
    names = [name for name in layout.names if still[name]]
    held = [name for name in names if name in chosen and not moves[name]]
    zeros = {"filter": "filters of zeros", "layer": "layers of zeros"}.get(normalize, "weights whose step is zero")
    left = {
        "biases": any(name.rpartition(".")[0] not in layers for name in held),
        "normalisation parameters": any(name.rpartition(".")[0] in layers for name in held),
        zeros: any(name in chosen and moves[name] for name in names),
        "parameters that were not chosen": any(name not in chosen for name in names),
    }
    words = [word for word, there in left.items() if there]
    if not words:
        return ""
    return f" ({', '.join(words[:-1])}{' and ' if len(words) > 1 else ''}{words[-1]} stay where they are)"


def _normalising(objective: Objective) -> list[str]:
    """The names of the layers that normalise."""
    return [name for name, module in objective.program.model.named_modules() if isinstance(module, NORMALISING)]


def _check(objective: Objective, theta: Tensor, count: int, normalize: str, biases: str, normalization: str) -> None:
    if theta.dim() != 1 or not bool(theta.isfinite().all()):
        raise InputError(f"theta must be one finite vector of shape ({objective.size},), found {tuple(theta.shape)}")
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise InputError(f"count must be a whole number of at least 1 direction, found {count!r}")
    choices = (
        ("normalize", normalize, get_args(Norm)),
        ("biases", biases, get_args(Treatment)),
        ("normalization", normalization, get_args(Treatment)),
    )
    for name, value, options in choices:
        if value not in options:
            known = ", ".join(options)
            raise InputError(f"{name} must be one of {known}, found '{value}'{nearest(str(value), options)}")

"""Neurons put into the same order before two networks are compared (Ainsworth, Hayase & Srinivasa 2023).

Two networks trained apart use their hidden units in another order, and a straight line between them mixes units that
have nothing to do with each other. Permuting the units of one network changes its weights and not its function; of all
its n!·m!·… equal copies the one nearest to the other network is looked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor, nn

from thalweg._short import short
from thalweg.declared import declared
from thalweg.errors import InputError, nearest
from thalweg.figures import Axis, Bars, Figure, Mark, Panel, Scatter
from thalweg.landscape.matching import activation_matching, weight_matching
from thalweg.landscape.permutations import Group, indices, permute_buffers, unit_groups
from thalweg.objective import Objective
from thalweg.objective.arguments import as_theta, floating, same_shape
from thalweg.progress import each
from thalweg.results import BaseResult
from thalweg.results.networks import flat, tabled
from thalweg.results.words import counted, percent, range_words

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Alignment", "align"]

METHODS = ("weights", "activations")


@short
@dataclass(frozen=True, eq=False)
class Alignment(BaseResult):
    """The permutations that bring the units of one network into the order of another, for every pair.

    Args:
        groups: The groups of exchangeable units.
        permutations: One (…, n) for each group: unit i of the first network corresponds to unit permutations[i] of the
            second.
        index: (…, P): `theta_b` in the order of the first network is `theta_b.gather(-1, index)`.
        before: (…) float64, ‖θ_a − θ_b‖.
        after: (…) float64, the same distance once the second network is permuted; NaN where a weight is not finite
            (that pair keeps its order).
        sweeps: (…) passes over the layers until nothing improved; 0 for activation matching.
    """

    groups: tuple[Group, ...]
    permutations: tuple[Tensor, ...]
    index: Tensor
    before: Tensor
    after: Tensor
    sweeps: Tensor

    @property
    def moved(self) -> dict[str, np.ndarray]:
        """Layer -> (pairs,), the share of its units that change places."""
        found = {}
        for group, order in zip(self.groups, self.permutations, strict=True):
            rows = order.reshape(-1, group.size).cpu()
            found[group.layer] = (rows != torch.arange(group.size)).double().mean(1).numpy()
        return found

    def plot(self) -> Figure:
        """The distance of every pair before and after, and the share of every layer's units that change places."""
        before, after = flat(self.before), flat(self.after)
        x = np.arange(len(before), dtype=np.float64)
        ticks = tuple((float(k), f"{k:g}") for k in x) if len(x) <= 12 else ()
        distances: list[Mark] = [
            Scatter(x, before, label="as they are", size=6.0),
            Scatter(x, after, label="after alignment", size=6.0, symbol="square"),
        ]
        panels = [Panel(Axis("pair", ticks=ticks), Axis("distance ‖θ_a − θ_b‖"), tuple(distances))]
        if self.moved:
            share = [(float(np.min(m)), float(np.median(m)), float(np.max(m))) for m in self.moved.values()]
            low, middle, high = (np.array(ends) for ends in zip(*share, strict=True))
            bars = Bars(tuple(self.moved), middle, low, high, group="moved", horizontal=True)
            panels.append(Panel(Axis("share of units that change places", limits=(0.0, 1.05)), Axis("layer"), (bars,)))
        caption = (
            "Left: the distance between the networks of every pair, before and after the hidden units of the second "
            "are put into the order of the first. Right: how many units of each layer change places (median and range "
            "over the pairs)."
        )
        return Figure("alignment", "Hidden units in one order", caption, tuple(panels))

    def table(self) -> pl.DataFrame:
        """One row per pair: both distances, sweeps, and the share of units of each layer that change places."""
        columns = {"distance before": self.before, "distance after": self.after, "sweeps": self.sweeps}
        return tabled(columns | {f"moved, {layer}": share for layer, share in self.moved.items()}, "pair")

    def summary(self) -> str:
        """How far alignment brings the networks together, and how many units it moves."""
        before, after = flat(self.before), flat(self.after)
        units = sum(group.size for group in self.groups)
        moved = sum((share * group.size for share, group in zip(self.moved.values(), self.groups, strict=True)))
        several = f" (of {len(before)} pairs median, lowest to highest)" if len(before) > 1 else ""
        return (
            f"The distance between the networks falls from {range_words(before)} to {range_words(after)}{several}, to "
            f"{range_words(after / before, percent)} of what it was: {range_words(flat(moved))} of "
            f"{counted(units, 'hidden unit')} change places."
        )

    def theta(self, theta_b: Tensor) -> Tensor:
        """The second network, (…, P), with its units in the order of the first: the same function."""
        theta_b = floating(theta_b, "theta_b")
        if theta_b.shape != self.index.shape:
            raise InputError(f"theta_b must have shape {tuple(self.index.shape)}, found {tuple(theta_b.shape)}")
        return theta_b.gather(-1, self.index.to(theta_b.device))

    def buffers(self, buffers_b: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Running statistics of the second network, name -> (…, *shape), in the same order."""
        lead = self.index.shape[:-1]
        flat = {name: value.reshape(-1, *value.shape[len(lead) :]) for name, value in buffers_b.items()}
        orders = [order.reshape(-1, order.shape[-1]) for order in self.permutations]
        rows = [
            permute_buffers({name: value[r] for name, value in flat.items()}, self.groups, [one[r] for one in orders])
            for r in range(lead.numel())
        ]
        return {
            name: torch.stack([row[name] for row in rows]).reshape(value.shape) for name, value in buffers_b.items()
        }


@declared
def align(
    objective: Objective,
    theta_a: Tensor,
    theta_b: Tensor,
    *,
    method: Literal["weights", "activations"] = "weights",
    samples: int = 1000,
    seed: int = 0,
) -> Alignment:
    """Finds the order of the second network's hidden units that fits the first network best.

    "weights" maximises ⟨θ_a, Pθ_b⟩, which is minimising ‖θ_a − Pθ_b‖, by solving one linear assignment after the other
    for the layers in random order until nothing improves (Ainsworth et al. 2023, section 3.2 and algorithm 1). The
    descent ends in a local optimum; it is started twice, from the given order and from matching the layers one by one
    from the input, and the nearer result counts. "activations" matches units by the correlation of what their layers
    give out on the objective's data, layer by layer (section 3.1; Li et al. 2016), before the nonlinearity, where two
    dead units still differ.

    "weights" uses no buffers; with "activations" normalisation layers use the statistics of the samples, and all other
    buffers are those that the objective's model holds. `Alignment.buffers` reorders those of the second network.

    Permutations are the only symmetry looked at: not the signs of tanh units, not the scales of ReLU units.

    Args:
        objective: Says which network; with "activations", on which data.
        theta_a: (…, P), the first network, which stays as it is; or what `Objective.as_theta` takes, such as a model.
        theta_b: (…, P), the second one.
        method: What is compared.
        samples: Greatest number of samples for "activations", the first ones.
        seed: Of the order of the layers.

    Raises:
        InputError: A network that is no plain chain of layers, or whose permuted parameters are not all in theta.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))
        >>> objective = Objective(model, nn.MSELoss(), (torch.randn(9, 3), torch.randn(9, 2)))
        >>> theta = objective.initial()
        >>> mixed = theta.clone()
        >>> mixed[:24], mixed[24:32] = theta[:24].reshape(8, 3).flip(0).flatten(), theta[24:32].flip(0)
        >>> mixed[32:48] = theta[32:48].reshape(2, 8).flip(1).flatten()
        >>> found = align(objective, theta, mixed)
        >>> found.permutations[0].tolist(), bool((found.theta(mixed) == theta).all())
        ([7, 6, 5, 4, 3, 2, 1, 0], True)

    Source:
        S. K. Ainsworth, J. Hayase, S. Srinivasa, "Git Re-Basin: merging models modulo permutation symmetries", ICLR
        2023; Y. Li, J. Yosinski, J. Clune, H. Lipson, J. Hopcroft, "Convergent learning: do different neural networks
        learn the same representations?", ICLR 2016.
    """
    theta_a, theta_b = as_theta(objective, theta_a, "theta_a"), as_theta(objective, theta_b, "theta_b")
    same_shape(theta_a, theta_b)
    if method not in METHODS:
        raise InputError(f"method must be one of {', '.join(METHODS)}, found '{method}'{nearest(method, METHODS)}")
    model = objective.module(objective.theta)
    groups = _groups(objective, model)
    lead, layout = theta_a.shape[:-1], objective.layout
    found: list[tuple[list[Tensor], int]] = []
    pairs = list(zip(*(theta.reshape(-1, layout.size) for theta in (theta_a, theta_b)), strict=True))
    for a, b in each("aligning units, pairs", pairs):
        if not bool(a.isfinite().all() and b.isfinite().all()):
            found.append(([torch.arange(group.size) for group in groups], 0))
        elif method == "weights":
            first, second = (layout.unravel(theta.detach().cpu().double()) for theta in (a, b))
            found.append(weight_matching(first, second, groups, seed))
        else:
            found.append((activation_matching(objective, a, b, groups, samples), 0))
    index = torch.stack([indices(layout, groups, orders) for orders, _ in found])
    b = theta_b.reshape(-1, layout.size)
    moved = b.gather(-1, index.to(b.device)).reshape(theta_b.shape)
    return Alignment(
        groups=groups,
        permutations=tuple(
            torch.stack([orders[g] for orders, _ in found]).reshape(*lead, group.size) for g, group in enumerate(groups)
        ),
        index=index.reshape(*lead, -1),
        before=(theta_a.double() - theta_b.double()).norm(dim=-1),
        after=(theta_a.double() - moved.double()).norm(dim=-1),
        sweeps=torch.tensor([sweeps for _, sweeps in found]).reshape(lead),
    )


def _groups(objective: Objective, model: nn.Module) -> tuple[Group, ...]:
    if objective.loss_on == "batch":
        raise InputError("alignment needs an objective whose loss takes (output, target), found loss_on='batch'")
    groups = unit_groups(model)
    parameters = {name for name, _ in model.named_parameters()}
    for group in groups:
        for member in group.members:
            if member.name in parameters and member.name not in objective.layout.slices:
                raise InputError(f"alignment needs theta to hold all layers, '{member.name}' is a constant outside it")
    return groups

"""How units are matched: by the weights attached to them, or by their activations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, fx
from torch.nn.modules.batchnorm import _BatchNorm

from thalweg.errors import InputError
from thalweg.landscape.permutations import Group, permute_parameter
from thalweg.objective import Objective
from thalweg.objective.structure import trace

__all__ = ["activation_matching", "weight_matching"]

SWEEPS = 100  # the paper's networks needed fewer than ten
Matrices = Mapping[str, Tensor]


def weight_matching(a: Matrices, b: Matrices, groups: Sequence[Group], seed: int) -> tuple[list[Tensor], int]:
    """Coordinate descent on Σ ⟨W_a, P W_b⟩ (Ainsworth et al. 2023, algorithm 1) from two starts.

    Args:
        a: Parameters of the first network, float64.
        b: Those of the second.
        groups: What can be permuted.
        seed: Of the order of the layers.

    Returns:
        The permutation (n,) of every group, and the number of sweeps over the layers.
    """
    identity = [torch.arange(group.size) for group in groups]
    forward = list(identity)
    for g in range(len(groups)):
        forward[g] = _assign(_score(a, b, groups, forward, g, given=True))
    ends = [_descend(a, b, groups, list(start), seed) for start in (identity, forward)]
    return max(ends, key=lambda end: _similarity(a, b, groups, end[0]))


def _assign(score: Tensor) -> Tensor:
    """The permutation p that maximises Σᵢ score[i, p[i]]: (n, n) -> (n,)."""
    return torch.from_numpy(linear_sum_assignment(score.numpy(), maximize=True)[1])


def _rows(value: Tensor, axis: int, block: int) -> Tensor:
    """A parameter as one row per unit: (…, n·block, …) -> (n, rest)."""
    moved = value.movedim(axis, 0)
    return moved.reshape(len(moved) // block, -1)


def _score(a: Matrices, b: Matrices, groups: Sequence[Group], orders: list[Tensor], g: int, *, given: bool) -> Tensor:
    """Inner products of the units of a group, seen from all that is attached to them: (n, n).

    Args:
        a: Parameters of the first network.
        b: Those of the second, in their own order.
        groups: All groups.
        orders: The permutations so far; those of the other groups count.
        g: The group.
        given: Without the weights of the next layer, whose own order may be unknown.
    """
    members = groups[g].members[:-1] if given else groups[g].members
    total = torch.zeros(groups[g].size, groups[g].size, dtype=torch.float64)
    for member in members:
        if member.name in a:  # a parameter; running statistics only follow
            moved = permute_parameter(b[member.name], member.name, groups, orders, skip=g)
            total += _rows(a[member.name], member.axis, member.block) @ _rows(moved, member.axis, member.block).T
    return total


def _similarity(a: Matrices, b: Matrices, groups: Sequence[Group], orders: list[Tensor]) -> float:
    return sum(float((a[name] * permute_parameter(b[name], name, groups, orders)).sum()) for name in a)


def _descend(
    a: Matrices, b: Matrices, groups: Sequence[Group], orders: list[Tensor], seed: int
) -> tuple[list[Tensor], int]:
    chooser = torch.Generator().manual_seed(seed)
    for sweep in range(1, SWEEPS + 1):
        improved = False
        for g in torch.randperm(len(groups), generator=chooser).tolist():
            score = _score(a, b, groups, orders, g, given=False)
            order = _assign(score)
            gain = score.gather(1, order[:, None]).sum() - score.gather(1, orders[g][:, None]).sum()
            if float(gain) > 1e-12 * float(score.abs().sum()):  # a tie within rounding would go round for ever
                orders[g], improved = order, True
        if not improved:
            return orders, sweep
    return orders, SWEEPS


def activation_matching(
    objective: Objective, theta_a: Tensor, theta_b: Tensor, groups: Sequence[Group], samples: int
) -> list[Tensor]:
    """Matches the units of every group alone by the correlation of their activations.

    Args:
        objective: Network and data.
        theta_a: (P,), the first network.
        theta_b: (P,), the second.
        groups: What can be permuted.
        samples: Greatest number of samples.

    Returns:
        The permutation (n,) of every group.
    """
    first, second = (_activations(objective, theta, groups, samples) for theta in (theta_a, theta_b))
    return [_assign(x @ y.T) for x, y in zip(first, second, strict=True)]


class _Watch(fx.Interpreter):
    """Runs a traced network and keeps the outputs of some nodes."""

    def __init__(self, module: fx.GraphModule, nodes: set[str]) -> None:
        super().__init__(module)
        self.nodes, self.kept = nodes, dict[str, Tensor]()

    def run_node(self, n: fx.Node) -> Any:
        """Evaluates a node."""
        out = super().run_node(n)
        if n.name in self.nodes:
            self.kept[n.name] = out
        return out


def _activations(objective: Objective, theta: Tensor, groups: Sequence[Group], samples: int) -> list[Tensor]:
    """Standardised activations of the units of every group, so that products are correlations: (n, samples·places)."""
    model = objective.module(theta)
    for module in model.modules():  # normalised by the batch: a private copy, whose running statistics do not count
        if isinstance(module, _BatchNorm):
            module.train()
    traced = trace(model)
    if traced is None:
        raise InputError("alignment needs a network that can be traced symbolically, found one that cannot")
    watch = _Watch(traced, {group.node for group in groups})
    batch, _ = next(objective.batches.chunks(samples))
    with torch.no_grad():
        watch.run(batch[0])
    out = []
    for group in groups:
        z = watch.kept[group.node].movedim(group.axis, 0).reshape(group.size, -1).double().cpu()
        z = z - z.mean(dim=1, keepdim=True)
        out.append(z / z.norm(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny))
    return out

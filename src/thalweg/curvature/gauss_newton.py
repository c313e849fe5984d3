"""Gauss–Newton and empirical Fisher matrices by their products: both are Jᵀ Λ J of an inner function of θ.

For the Gauss–Newton matrix the inner function is the model's output and Λ the Hessian of the mean loss in it; for the
empirical Fisher matrix it is the vector of per-sample losses ℓ_n, and Λ = diag(1/N). One graph of the inner function
gives all factors: J v by differentiating Jᵀ w in w (the "double backward trick"), Λ u by differentiating the loss
twice, and Jᵀ u by a backward pass. Graphs are kept between products where they fit the objective's memory budget.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from thalweg.curvature.operator import Operator, carried
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.objective import Objective, ParameterLayout, containers
from thalweg.objective.arguments import as_theta, as_vector
from thalweg.objective.planning import PRODUCT
from thalweg.objective.samples import common_length, cut
from thalweg.objective.stacking import pytree_rows
from thalweg.progress import each

__all__ = ["dense_factor_matrix", "fisher_operator", "fisher_products", "ggn_operator", "ggn_products"]

Factored = Literal["ggn", "fisher"]


@declared
def ggn_products(
    objective: Objective, theta: Tensor, *, parameters: str | Sequence[str] = "*", retain: bool = True
) -> Callable[[Tensor], Tensor]:
    """Returns v ↦ G(θ) v with G = (1/N) Σ_n J_nᵀ (∇²_f ℓ_n) J_n + l2·I (Schraudolph 2002).

    Args:
        objective: One whose loss takes (output, target); weighted over ragged batches as the loss itself.
        theta: (…, P).
        parameters: Glob or globs: the block of these p parameters.
        retain: Keep the graphs between products where they fit the objective's memory budget.

    Returns:
        A function v (K…, …, p) -> (K…, …, p), in the objective's dtype.

    Raises:
        InputError: The loss takes whole batches, so that it has no output to differentiate in.

    Example:
        >>> objective = Objective(torch.nn.Linear(1, 1), torch.nn.MSELoss(), (torch.ones(4, 1), torch.zeros(4, 1)))
        >>> ggn_products(objective, objective.theta)(torch.tensor([1.0, 0.0]))
        tensor([2., 2.])
    """
    return _products(objective, theta, parameters, retain, "ggn")


@declared
def fisher_products(
    objective: Objective, theta: Tensor, *, parameters: str | Sequence[str] = "*", retain: bool = True
) -> Callable[[Tensor], Tensor]:
    """Returns v ↦ (1/N) Σ_n g_n (g_nᵀ v) with g_n = ∇ℓ_n, the gradient of the loss of sample n without the penalty.

    This is the *empirical* Fisher matrix, of the targets in the data. The Fisher matrix proper, of targets drawn from
    the model, is `ggn_products` for cross-entropy, and that up to a factor for a squared error (Kunstner et al. 2019).

    Args:
        objective: One whose loss takes (output, target) and is a mean over samples.
        theta: (…, P).
        parameters: Glob or globs: the block of these p parameters.
        retain: Keep the graphs between products where they fit the objective's memory budget.

    Returns:
        A function v (K…, …, p) -> (K…, …, p), in the objective's dtype.

    Raises:
        InputError: The loss takes whole batches, or is no mean over samples.

    Example:
        >>> data = torch.ones(2, 1), torch.zeros(2, 1)
        >>> objective = Objective(torch.nn.Linear(1, 1, bias=False), torch.nn.MSELoss(), data)
        >>> fisher_products(objective, torch.tensor([3.0]))(torch.tensor([1.0]))
        tensor([36.])
    """
    return _products(objective, theta, parameters, retain, "fisher")


@declared
def ggn_operator(objective: Objective, theta: Tensor, parameters: str | Sequence[str] = "*") -> Operator:
    """Returns the Gauss–Newton matrix of L at one θ (P,) as an operator; see `ggn_products`."""
    return _operator(objective, theta, parameters, "ggn", "Gauss–Newton matrix")


@declared
def fisher_operator(objective: Objective, theta: Tensor, parameters: str | Sequence[str] = "*") -> Operator:
    """Returns the empirical Fisher matrix at one θ (P,) as an operator; see `fisher_products`."""
    return _operator(objective, theta, parameters, "fisher", "empirical Fisher matrix")


def dense_factor_matrix(
    objective: Objective, theta: Tensor, layout: ParameterLayout, kind: Factored
) -> tuple[Tensor, Tensor, Tensor]:
    """Multiplies the identity: data loss (B,), gradient (B, p) and matrix (B, p, p) at θ (B, P), l2 in none of them."""
    value, gradient = objective.value_and_gradient(theta)
    index = objective.layout.select(layout.names).to(theta.device)
    value = value - 0.5 * objective.l2 * theta.square().sum(-1)
    gradient = (gradient - objective.l2 * theta)[:, index]
    factors = _Factors(objective, theta, layout, kind, retain=True)
    matrix = theta.new_empty(len(theta), layout.size, layout.size)
    unit = theta.new_zeros(1, len(theta), layout.size)
    for row in each(f"{kind} matrix, rows", range(layout.size)):
        unit[..., row] = 1.0
        matrix[:, row] = factors(unit)[0]
        unit[..., row] = 0.0
    return value, gradient, matrix


def _operator(
    objective: Objective, theta: Tensor, parameters: str | Sequence[str], kind: Factored, label: str
) -> Operator:
    theta = as_vector(objective, theta)
    product = _products(objective, theta.detach(), parameters, True, kind)
    size = objective.layout.only(parameters).size
    name = label if size == objective.size else f"{label} of {parameters}"
    source = objective, lambda part: _operator(part, theta, parameters, kind, label)
    dtype, product = carried(objective, product)
    return Operator(size, dtype, objective.device, product, name, objective.epsilon(), source)


def _products(
    objective: Objective, theta: Tensor, parameters: str | Sequence[str], retain: bool, kind: Factored
) -> Callable[[Tensor], Tensor]:
    theta = as_theta(objective, theta)
    layout = objective.layout.only(parameters)
    lead = theta.shape[:-1]
    flat = theta.detach().to(objective.device, objective.dtype).reshape(-1, objective.size)
    with objective.second_derivatives():
        factors = _Factors(objective, flat, layout, kind, retain=retain)
    penalty = objective.l2 if kind == "ggn" else 0.0

    def product(v: Tensor) -> Tensor:
        layout.check(v, "v")
        if v.dim() < len(lead) + 1 or v.shape[v.dim() - 1 - len(lead) : -1] != lead:
            raise InputError(f"v must end in the shape {(*lead, layout.size)}, found {tuple(v.shape)}")
        with objective.second_derivatives():
            return factors(v.reshape(-1, len(flat), layout.size)).reshape(v.shape) + penalty * v

    return product


@dataclass(frozen=True)
class _Graph:
    """The differentiated graph of one piece of the data: inner function, Jᵀ w with its dummies w, and Λ."""

    part: slice
    leaves: list[Tensor]
    inner: list[Tensor]
    dummies: list[Tensor]
    pulled: list[Tensor]
    curve: Callable[[Sequence[Tensor]], Sequence[Tensor]]


class _Factors:
    """v (K, B, p) -> Jᵀ Λ J v (K, B, p).

    Args:
        objective: The loss.
        theta: (B, P).
        layout: The p parameters.
        kind: "ggn" or "fisher".
        retain: Keep the graphs between calls where they fit the objective's budget.
    """

    def __init__(
        self, objective: Objective, theta: Tensor, layout: ParameterLayout, kind: Factored, *, retain: bool
    ) -> None:
        if objective.loss_on == "batch":
            raise InputError(
                "objective must have a loss that takes (output, target) for a Gauss–Newton or Fisher "
                "matrix, found loss_on='batch'"
            )
        self.objective, self.theta, self.layout, self.kind = objective, theta, layout, kind
        evaluation = objective.evaluation
        needed = PRODUCT * evaluation.pair_bytes * objective.batches.held_samples * len(theta)
        self.graphs = list(self._pieces()) if retain and needed <= objective.budget() else None

    def __call__(self, vectors: Tensor) -> Tensor:
        out = torch.zeros_like(vectors)
        for graph in self.graphs if self.graphs is not None else self._pieces():
            for k in range(len(vectors)):
                out[k, graph.part] += self._product(graph, vectors[k, graph.part])
        return self.objective.batches.reduced(out)[0]

    def _product(self, graph: _Graph, v: Tensor) -> Tensor:
        parts = self.layout.parameters(v).values()
        along = [part.reshape(one.shape) for part, one in zip(parts, graph.pulled, strict=True)]
        with self.objective.program.again():
            forward = _pull(graph.pulled, graph.dummies, along)
            second = _pull(graph.inner, graph.leaves, graph.curve(forward))
        return torch.cat([g.reshape(len(v), -1) for g in second], dim=1)

    def _pieces(self) -> Iterator[_Graph]:
        objective, layout = self.objective, self.layout
        evaluation, program = objective.evaluation, objective.program
        cut = evaluation.plan(len(self.theta), PRODUCT)
        for start in range(0, len(self.theta), cut.replicas):
            part = slice(start, min(start + cut.replicas, len(self.theta)))
            leaves, params = evaluation.leaves(self.theta[part], layout)
            params |= evaluation.extra(self.theta[part])
            for batch, count in objective.batches.summands(cut.samples):
                weight = count / objective.samples
                with torch.enable_grad(), program.surroundings(twice=True):
                    output = program.outputs(params, batch)
                    if self.kind == "ggn":
                        inner = [leaf for leaf in containers.leaves(output) if leaf.requires_grad]
                        curve = _loss_curve(objective, output, batch[1], weight)
                    else:
                        inner = [_sample_losses(objective, output, batch[1])]
                        _check_mean(objective, inner[0], output, batch[1])
                        factor = weight / inner[0].shape[1]
                        curve = lambda u, factor=factor: [factor * u[0]]  # noqa: E731 - beside its counterpart above
                    dummies = [torch.zeros_like(leaf).requires_grad_() for leaf in inner]
                    pulled = torch.autograd.grad(
                        inner, leaves, dummies, create_graph=True, allow_unused=True, materialize_grads=True
                    )
                yield _Graph(part, leaves, inner, dummies, list(pulled), curve)


def _pull(outputs: Sequence[Tensor], inputs: Sequence[Tensor], vectors: Sequence[Tensor]) -> Sequence[Tensor]:
    """Σ vectors · d outputs / d inputs, keeping the graph; zero where there is none."""
    linked = [(o, v) for o, v in zip(outputs, vectors, strict=True) if o.requires_grad]
    if not linked:
        return [torch.zeros_like(x) for x in inputs]
    chosen, weights = zip(*linked, strict=True)
    return torch.autograd.grad(chosen, inputs, weights, retain_graph=True, allow_unused=True, materialize_grads=True)


def _loss_curve(
    objective: Objective, output: Any, target: Any, weight: float
) -> Callable[[Sequence[Tensor]], Sequence[Tensor]]:
    """Returns u ↦ weight · ∇²_f loss · u in the leaves of the output that depend on θ."""
    found = containers.leaves(output)
    free = [leaf.detach().requires_grad_() if leaf.requires_grad else leaf for leaf in found]
    chosen = [new for new, old in zip(free, found, strict=True) if old.requires_grad]
    losses = _losses(objective, containers.rebuilt(output, free), target)
    first = torch.autograd.grad(losses.sum(), chosen, create_graph=True, allow_unused=True, materialize_grads=True)
    return lambda u: [weight * part for part in _pull(first, chosen, u)]


def _sample_losses(objective: Objective, output: Any, target: Any) -> Tensor:
    """Losses of the single samples, (B, n)."""
    if objective.loss_kind == "mse":
        return (output - target).square().flatten(2).mean(2)
    if objective.loss_kind == "cross_entropy" and output.dim() == 3 and not target.is_floating_point():
        each = F.cross_entropy(output.flatten(0, 1), target.expand(output.shape[:2]).flatten(), reduction="none")
        return each.reshape(output.shape[:2])

    rows = []
    for row in pytree_rows(output):
        pair = row, target
        count = common_length(pair)
        if count is None:
            raise InputError(
                "objective must have outputs and targets with one row for each sample for an empirical Fisher matrix, "
                "found others"
            )
        rows.append(torch.stack([objective.program.loss(*cut(pair, slice(n, n + 1))) for n in range(count)]))
    return torch.stack(rows)


def _losses(objective: Objective, output: Any, target: Any) -> Tensor:
    """Mean losses (B,) of outputs in any structure."""
    if isinstance(output, Tensor):
        return objective.program.losses_of(output, target)
    return torch.stack([objective.program.loss(row, target) for row in pytree_rows(output)])


def _check_mean(objective: Objective, losses: Tensor, output: Any, target: Any) -> None:
    mean, whole = losses.detach().mean(1), _losses(objective, output, target).detach()
    good = torch.isfinite(whole)
    tolerance = 1e3 * objective.epsilon(mean.dtype) * whole.abs().clamp(min=1e-30)
    if bool(((mean - whole).abs() > tolerance)[good].any()):
        raise InputError(
            "objective must have a loss that is the mean over samples for an empirical Fisher matrix, "
            f"found {float(whole[good][0]):.6g} for a batch, {float(mean[good][0]):.6g} over its samples"
        )

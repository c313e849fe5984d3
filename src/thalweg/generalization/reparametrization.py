"""Same function, any sharpness: the rescaling of Dinh et al. 2017 (theorem 4).

Between two layers with only positively homogeneous operations in between (ReLU, pooling, flattening), the first layer
may be multiplied by α > 0 and the weights of the second divided by α: every output stays what it is. The Hessian does
not. With the diagonal matrix M of these factors it becomes M⁻¹HM⁻¹, so that λmax grows like α⁻² for small α and like α²
for large ones.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from operator import attrgetter

import torch
from torch import Tensor, fx, nn

from thalweg._short import short
from thalweg.curvature.operator import Operator, as_operator
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.objective.arguments import as_objective, floating
from thalweg.objective.structure import trace

__all__ = ["Pair", "multipliers", "rescalable_pairs", "rescaled_hessian"]

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_MODULES = (
    nn.Identity,
    nn.ReLU,
    nn.LeakyReLU,
    nn.Flatten,
    nn.ZeroPad2d,
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
)
_FUNCTIONS = ("relu", "leaky_relu", "flatten", "max_pool2d", "boolean_dispatch", "avg_pool2d", "adaptive_avg_pool2d")


@short
@dataclass(frozen=True)
class Pair:
    """Two layers with nothing but positively homogeneous operations between them.

    Args:
        multiplied: Names of the first layer's parameters: weight, and bias if it has one.
        divided: Name of the second layer's weight.
    """

    multiplied: tuple[str, ...]
    divided: str


@declared
def rescalable_pairs(objective: Objective) -> tuple[Pair, ...]:
    """All pairs of consecutive layers that can be rescaled, from input to output; none for a tanh network.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1))
        >>> objective = Objective(model, nn.MSELoss(), (torch.ones(1, 2), torch.ones(1, 1)))
        >>> rescalable_pairs(objective)
        (Pair(multiplied=('0.weight', '0.bias'), divided='2.weight'),)
    """
    traced = trace(as_objective(objective).program.model)
    if traced is None:
        return ()
    modules, pairs = dict(traced.named_modules()), []
    open_layer: str | None = None  # the layer whose scale still reaches the current value
    previous: fx.Node | None = None
    for node in traced.graph.nodes:
        module = modules.get(str(node.target)) if node.op == "call_module" else None
        follows = bool(node.args) and node.args[0] is previous and previous is not None and len(previous.users) == 1
        if isinstance(module, _LAYERS):
            if follows and open_layer is not None:
                pairs.append(_pair(open_layer, str(node.target), modules))
            open_layer = str(node.target)
        elif not (follows and _homogeneous(node, module)):
            open_layer = None
        previous = node
    known, uses = objective.layout.slices, _uses(traced, modules)
    return tuple(
        pair
        for pair in pairs
        if all(name in known and uses[id(attrgetter(name)(traced))] == 1 for name in (*pair.multiplied, pair.divided))
    )


def _uses(traced: fx.GraphModule, modules: dict[str, nn.Module]) -> Counter[int]:
    """How often each tensor of the model enters its output: one that does so twice cannot be rescaled for one place."""
    uses: Counter[int] = Counter()
    for node in traced.graph.nodes:
        if node.op == "call_module":
            uses.update(id(getattr(modules[str(node.target)], name, None)) for name in ("weight", "bias"))
        elif node.op == "get_attr":
            uses[id(attrgetter(str(node.target))(traced))] += 1
    return uses


def _pair(first: str, second: str, modules: dict[str, nn.Module]) -> Pair:
    bias = (f"{first}.bias",) if modules[first].bias is not None else ()
    return Pair((f"{first}.weight", *bias), f"{second}.weight")


def _homogeneous(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether the operation commutes with a factor α > 0."""
    if module is not None:
        off = isinstance(module, nn.Dropout) and (not module.training or module.p == 0)
        return off or isinstance(module, _MODULES)
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return node.op in ("call_function", "call_method") and name in _FUNCTIONS


@declared
def multipliers(objective: Objective, alpha: Tensor | float, pair: int = 0) -> Tensor:
    """The factors m for which θ·m is the same function as θ: α of shape (…) -> (…, P).

    Args:
        objective: Its model must have a pair of layers that can be rescaled.
        alpha: α > 0, any number of them.
        pair: Which of `rescalable_pairs`, default the first.

    Raises:
        InputError: There is no such pair, or an α that is not positive.

    Example:
        >>> model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU(), nn.Linear(2, 1))
        >>> objective = Objective(model, nn.MSELoss(), (torch.ones(1, 1), torch.ones(1, 1)))
        >>> multipliers(objective, 4.0)
        tensor([4.0000, 4.0000, 0.2500, 0.2500, 1.0000])
    """
    as_objective(objective)
    alpha = torch.as_tensor(alpha, dtype=objective.dtype, device=objective.device)
    if not bool(((alpha > 0) & alpha.isfinite()).all()):
        raise InputError(f"alpha must be positive and finite, found {alpha.tolist()}")
    pairs = rescalable_pairs(objective)
    if not 0 <= pair < len(pairs):
        raise InputError(
            f"pair must be one of the {len(pairs)} pairs of layers joined by homogeneous operations, found {pair}"
        )
    out = torch.ones(*alpha.shape, objective.size, dtype=objective.dtype, device=objective.device)
    for name in pairs[pair].multiplied:
        out[..., objective.layout.slices[name]] = alpha.unsqueeze(-1)
    out[..., objective.layout.slices[pairs[pair].divided]] = 1 / alpha.unsqueeze(-1)
    return out


@declared
def rescaled_hessian(operator: Operator, factors: Tensor) -> Operator:
    """The Hessian at θ·m, M⁻¹HM⁻¹, from that at θ: what theory predicts without evaluating anything at θ·m.

    Args:
        operator: The Hessian at θ; an objective stands for its Hessian at `objective.theta`.
        factors: m, (P,).

    Example:
        >>> operator = rescaled_hessian(Operator.dense(torch.ones(2, 2)), torch.tensor([0.5, 2.0]))
        >>> operator.to_dense()
        tensor([[4.0000, 1.0000],
                [1.0000, 0.2500]])
    """
    operator, factors = as_operator(operator), floating(factors, "factors")
    if factors.shape != (operator.size,):
        raise InputError(f"factors must have shape ({operator.size},), found {tuple(factors.shape)}")
    inverse = 1 / factors.to(operator.device, operator.dtype)
    return Operator(
        operator.size,
        operator.dtype,
        operator.device,
        lambda rows: inverse * operator(inverse * rows),
        f"rescaled {operator.label}",
    )

"""Which hidden units of a network may change places without a change of its function.

The units of a layer (channels of a convolution) can be put into any order if the rows that make them, everything that
is done to them one by one, and the columns of the next layer that read them follow. Found here for plain chains of
layers; a network with branches has permutations that are tied to each other and is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.dropout import _DropoutNd

from thalweg._short import short
from thalweg.errors import InputError
from thalweg.objective import ParameterLayout
from thalweg.objective.activations import of_function, of_module
from thalweg.objective.structure import trace
from thalweg.results import Stored

__all__ = ["Group", "Member", "indices", "permute_buffers", "permute_parameter", "unit_groups"]

_CHANNELWISE = ("Pool1d", "Pool2d", "Pool3d", "Pad1d", "Pad2d", "Pad3d")  # ends of the names of torch.nn's modules
_POOLS = ("avg_pool1d", "avg_pool2d", "adaptive_avg_pool2d", "max_pool1d", "max_pool2d", "boolean_dispatch")
_ELEMENTWISE = (nn.ReLU6, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.GELU, nn.Softplus, nn.SELU, nn.CELU, nn.Mish)


@dataclass(frozen=True, eq=False)
class Member(Stored):
    """One axis of one parameter or buffer along which the units of a group lie, `block` entries to each unit."""

    name: str
    axis: int
    block: int = 1


@short
@dataclass(frozen=True, eq=False)
class Group(Stored):
    """Units that can be permuted.

    Args:
        layer: The layer that makes them.
        size: How many.
        members: What moves with them; the last one is the weight of the next layer.
        node: The node of the traced graph that is their layer.
        axis: Where they lie in its output: 1 for channels, −1 for units of a dense layer.
    """

    layer: str
    size: int
    members: tuple[Member, ...]
    node: str
    axis: int


@dataclass
class _Open:
    """A group that no next layer has closed yet."""

    layer: str
    size: int
    axis: int
    node: str
    flat: bool  # whether the units lie along the last axis of (N, D), `block` entries each, unit by unit
    members: list[Member] = field(default_factory=list)


def unit_groups(model: nn.Module) -> tuple[Group, ...]:
    """Returns the groups of exchangeable units of a chain of layers, from the input to the output.

    Known are linear and (ungrouped) convolutional layers, batch normalisation, activations, pooling, padding, dropout
    and flattening; the outputs of the network stay where they are.

    Raises:
        InputError: The network is something else, has tied layers, or no hidden unit.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 9, 2))
        >>> unit_groups(model)[0].members
        (Member(name='0.weight', axis=0, block=1), Member(name='0.bias', axis=0, block=1),
         Member(name='3.weight', axis=1, block=9))
    """
    traced = trace(model)
    if traced is None:
        raise InputError("alignment needs a network that can be traced symbolically, found one that cannot")
    modules, names = dict(traced.named_modules()), {name for name, _ in model.named_parameters()}
    groups: list[Group] = []
    units: _Open | None = None
    used: set[str] = set()
    previous: fx.Node | None = None
    for node in traced.graph.nodes:
        if node.op == "output":
            break
        others = [arg for arg in node.all_input_nodes if arg is not previous]
        if others or len(node.users) != 1 or (node.op == "placeholder") != (previous is None) or node.op == "get_attr":
            raise _refusal(f"'{_place(node)}', where paths part or join")
        module = modules.get(str(node.target)) if node.op == "call_module" else None
        target = str(node.target)
        if module is not None and any(True for _ in module.parameters()):
            if target in used:
                raise _refusal(f"layer '{target}', which is used twice")
            used.add(target)
        if isinstance(module, nn.Linear | _ConvNd):
            if units is not None:
                groups.append(_close(units, target, module))
            units = _begin(target, module, node.name, names)
        elif units is not None:
            _pass(units, node, module)
        previous = node
    if not groups:
        raise InputError("alignment needs a network with hidden units, found none")
    return tuple(groups)


def _refusal(found: str) -> InputError:
    return InputError(
        "alignment understands plain chains of linear or convolutional layers with batch normalisation, activations, "
        f"pooling and flattening between them, found {found}"
    )


def _place(node: fx.Node) -> str:
    return str(node.target) if node.op == "call_module" else node.name


def _begin(target: str, module: nn.Linear | _ConvNd, node: str, names: set[str]) -> _Open:
    if isinstance(module, nn.Linear):
        opened = _Open(target, module.out_features, -1, node, True)
    elif module.transposed or module.groups != 1:
        raise _refusal(f"'{target}', a transposed or grouped convolution")
    else:
        opened = _Open(target, module.out_channels, 1, node, False)
    for name in ("weight", "bias")[: 1 + (module.bias is not None)]:
        if f"{target}.{name}" not in names:  # a tied parameter has another name
            raise _refusal(f"layer '{target}', which shares its {name}")
        opened.members.append(Member(f"{target}.{name}", 0))
    return opened


def _close(units: _Open, target: str, module: nn.Linear | _ConvNd) -> Group:
    """The next layer reads the units: its columns move with them."""
    width = module.in_features if isinstance(module, nn.Linear) else module.in_channels
    if isinstance(module, nn.Linear) != units.flat or width % units.size:
        raise _refusal(f"layer '{target}', whose inputs are not the units of '{units.layer}' in their order")
    members = (*units.members, Member(f"{target}.weight", 1, width // units.size))
    return Group(units.layer, units.size, members, units.node, units.axis)


def _pass(units: _Open, node: fx.Node, module: nn.Module | None) -> None:
    """One step between two layers: what moves with the units is noted, what mixes them is refused."""
    target = str(node.target)
    if isinstance(module, _BatchNorm):
        if module.num_features != units.size:
            raise _refusal(f"'{target}', which normalises {module.num_features} features of {units.size} units")
        kept = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        units.members += [Member(f"{target}.{name}", 0) for name, value in kept.items() if value.dim()]
    elif _flattens(node, module):
        if units.flat:
            raise _refusal(f"'{_place(node)}', which flattens what a linear layer made")
        units.flat = True
    elif not _unitwise(node, module, units.flat):
        raise _refusal(f"'{_place(node)}' ({type(module).__name__ if module is not None else 'a function'})")


def _flattens(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether a step turns (N, C, …) into (N, C·…), channel by channel."""
    if isinstance(module, nn.Flatten):
        return (module.start_dim, module.end_dim) == (1, -1)
    rest = (*node.args[1:], *node.kwargs.values())
    if _function(node) == "flatten":
        return rest in ((1,), (1, -1))
    if _function(node) == "mean":  # a global average
        return len(rest) == 1 and tuple(rest[0] if isinstance(rest[0], Sequence) else rest) in ((2, 3), (-2, -1))
    return False


def _unitwise(node: fx.Node, module: nn.Module | None, flat: bool) -> bool:
    """Whether a step treats every unit alike and by itself."""
    if module is not None:
        if of_module(module) is not None or isinstance(module, (*_ELEMENTWISE, _DropoutNd)):
            return True
        ours = type(module).__module__.startswith("torch.nn")
        return ours and not flat and type(module).__name__.endswith(_CHANNELWISE)
    name = _function(node)
    return of_function(name) is not None or name in ("leaky_relu", "elu", "dropout") or (not flat and name in _POOLS)


def _function(node: fx.Node) -> str:
    if node.op == "call_module":
        return ""
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")


def permute_parameter(
    value: Tensor, name: str, groups: Sequence[Group], permutations: Sequence[Tensor], skip: int | None = None
) -> Tensor:
    """Puts the units that lie along the axes of one parameter or buffer into their new order.

    Args:
        value: The parameter.
        name: Its name.
        groups: All groups.
        permutations: (n,) of each group: unit i is the old unit permutations[i].
        skip: A group that stays as it is.
    """
    for g, (group, order) in enumerate(zip(groups, permutations, strict=True)):
        for member in group.members:
            if member.name == name and g != skip:
                block = torch.arange(member.block, device=order.device)
                value = value.index_select(member.axis, (order[:, None] * member.block + block).flatten())
    return value


def indices(layout: ParameterLayout, groups: Sequence[Group], permutations: Sequence[Tensor]) -> Tensor:
    """Permutations (n,) of every group as one index (P,): θ with its units in the new order is θ[index]."""
    places = layout.unravel(torch.arange(layout.size))
    return layout.ravel({name: permute_parameter(part, name, groups, permutations) for name, part in places.items()})


def permute_buffers(
    buffers: Mapping[str, Tensor], groups: Sequence[Group], permutations: Sequence[Tensor]
) -> dict[str, Tensor]:
    """Running statistics with their units in the new order: name -> shape, for one network."""
    return {name: permute_parameter(value, name, groups, permutations) for name, value in buffers.items()}

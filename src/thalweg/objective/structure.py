"""Recognises stacks of `Linear` + elementwise activation, for which batched and exact formulas exist.

A hundred small networks are one batched matrix product a layer, and their Hessian has closed layer-by-layer formulas.
Recognition traces the model symbolically, so a user's own class counts as well as `nn.Sequential`; whatever does not
fit is evaluated by the general path, with the same result.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from thalweg.objective import activations
from thalweg.objective.activations import SMOOTH, Activation

_TRACING = threading.RLock()  # two tracers that end in another order than they began leave one of them behind


@dataclass(frozen=True)
class LinearStack:
    """f(x) = W_L phi(… phi(W_1 x + b_1) …) + b_L.

    Args:
        weights: Names of W_1 … W_L in the model; W_l has shape (outputs, inputs).
        biases: Names of b_1 … b_L, None where a layer has none.
        activations: phi_1 … phi_L; the last is the identity unless the model ends in an activation.
        flatten: Whether x (N, …) is flattened to (N, D) first.
    """

    weights: tuple[str, ...]
    biases: tuple[str | None, ...]
    activations: tuple[Activation, ...]
    flatten: bool

    def accepts(self, inputs: object, lead: int) -> bool:
        """Whether inputs with `lead` leading axes (N, or R and N) are vectors to this stack."""
        return isinstance(inputs, Tensor) and (inputs.dim() > lead if self.flatten else inputs.dim() == lead + 1)

    def __call__(self, parameters: Mapping[str, Tensor], inputs: Tensor, lead: int = 1) -> Tensor:
        """Evaluates the stack.

        Args:
            parameters: name -> (R, *shape), or name -> shape for a parameter that all replicas share.
            inputs: (N, …) shared by all replicas (`lead` 1), or (R, N, …) (`lead` 2).
            lead: Number of leading axes of `inputs`.

        Returns:
            Outputs (R, N, C).
        """
        # Samples are the last axis inside: a batch of products (O, I) @ (I, N) with few units and many samples runs
        # several times faster that way on a CPU than (N, I) @ (I, O), and no slower where units are many.
        h = (inputs.flatten(lead) if self.flatten else inputs).mT  # (I, N) or (R, I, N)
        if h.dim() == 3 and h.shape[0] == 1:  # one replica: plain matrices and plain kernels, at the plain price
            h = h.squeeze(0)
        for weight, bias, phi in zip(self.weights, self.biases, self.activations, strict=True):
            h = phi.value(_linear(h, parameters[weight], None if bias is None else parameters[bias]))
        return h.mT if h.dim() == 3 else h.mT.unsqueeze(0)


def _linear(h: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(I, N) or (R, I, N) through (R, O, I) or (O, I) -> (R, O, N), or (O, N) for one replica or while none differ."""
    if weight.dim() == 3 and weight.shape[0] == 1 and h.dim() == 2:
        flat = weight.squeeze(0)
        if bias is None:
            return torch.mm(flat, h)
        return torch.addmm(bias.mT if bias.dim() == 2 else bias[:, None], flat, h)
    if weight.dim() == 3 and h.dim() == 2:  # an input that all share: one large product
        flat = weight.reshape(-1, weight.shape[2])
        if bias is None:
            return torch.mm(flat, h).reshape(*weight.shape[:2], -1)
        column = bias.expand(weight.shape[:2]).reshape(-1, 1)
        return torch.addmm(column, flat, h).reshape(*weight.shape[:2], -1)
    if bias is None:
        return torch.matmul(weight, h)
    if weight.dim() == 3 and bias.dim() == 2:
        return torch.baddbmm(bias[:, :, None], weight, h)
    return torch.matmul(weight, h) + bias[..., None]


def linear_stack(model: nn.Module) -> LinearStack | None:
    """Returns the stack that the model computes, or None if it computes anything else.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
        >>> linear_stack(model).weights
        ('0.weight', '2.weight')
        >>> linear_stack(nn.Conv1d(1, 1, 3)) is None
        True
    """
    if any(_altered(module) for module in model.modules()):
        return None
    if type(model) is nn.Linear:  # a layer by itself is traced to a function call
        return LinearStack(("weight",), ("bias" if model.bias is not None else None,), (SMOOTH["identity"],), False)
    traced = trace(model)
    if traced is None:
        return None
    modules = dict(traced.named_modules())
    previous: fx.Node | None = None
    layers: list[tuple[str, str | None]] = []
    phis: list[Activation] = []
    flatten = False
    for node in traced.graph.nodes:
        if node.op == "placeholder":
            if previous is not None:
                return None
        elif node.op == "get_attr" or not node.args or node.args[0] is not previous:
            return None
        elif node.op == "call_module" and type(modules[str(node.target)]) is nn.Linear:
            target, module = str(node.target), modules[str(node.target)]
            layers.append((f"{target}.weight", f"{target}.bias" if module.bias is not None else None))
            phis.append(SMOOTH["identity"])
        elif node.op != "output":
            step = _step(node, modules)
            if step is None or (step == "flatten" and layers):
                return None
            if isinstance(step, str):
                flatten = True
            elif step.name != "identity":
                if not layers or phis[-1].name != "identity":
                    return None
                phis[-1] = step
        if node.op != "output" and len(node.users) != 1:
            return None
        previous = node
    names = dict(model.named_parameters())  # a tied weight stands once: a second name is missing here
    used = [name for pair in layers for name in pair if name is not None]
    if not layers or any(name not in names for name in used) or len(set(used)) != len(used):
        return None
    return LinearStack(tuple(w for w, _ in layers), tuple(b for _, b in layers), tuple(phis), flatten)


def only_linear(model: nn.Module) -> bool:
    """Whether linear layers hold all parameters, as in every stack: known without a copy of the model."""
    return all(type(module) is nn.Linear or not module._parameters for module in model.modules())


def _altered(module: nn.Module) -> bool:
    """Whether calling a module does more than its class says: hooks, and a forward of its own, escape the tracer."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(hooks) or "forward" in vars(module)


def _step(node: fx.Node, modules: Mapping[str, nn.Module]) -> Activation | str | None:
    """One node that is no Linear: an activation, "flatten", or None if it is neither."""
    if node.op == "call_module":
        module = modules[str(node.target)]
        if isinstance(module, nn.Flatten):
            return "flatten" if (module.start_dim, module.end_dim) == (1, -1) else None
        if isinstance(module, nn.Dropout):
            return SMOOTH["identity"] if not module.training or module.p == 0 else None
        return activations.of_module(module)
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    if name == "flatten":
        return "flatten" if (*node.args[1:], *node.kwargs.values()) in ((1,), (1, -1)) else None
    plain = len(node.args) == 1 and all(key == "inplace" for key in node.kwargs)
    return activations.of_function(name) if plain else None


class _Tracer(fx.Tracer):
    """Sees the calls of its own thread only: while it traces, torch sends those of all threads and modules to it."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Records a call of a module."""
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Records that a parameter is read."""
        if threading.get_ident() != self._thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)


def trace(model: nn.Module) -> fx.GraphModule | None:
    """Traces the model symbolically; None where its control flow or inputs do not allow it."""
    before = {name: value.clone() for name, value in model.named_buffers()}
    try:
        with _TRACING, torch.enable_grad():  # without it, a custom function would be traced through its forward pass
            tracer = _Tracer()
            graph = tracer.trace(model)
            return fx.GraphModule(tracer.root, graph, type(model).__name__)
    except Exception:  # noqa: BLE001 - any failure of a stranger's forward under tracing only means "not recognised"
        return None
    finally:  # the forward pass ran, and may have counted itself in a buffer
        for name, value in model.named_buffers():
            if name in before and value.shape == before[name].shape:
                value.copy_(before[name])


def loss_kind(loss: Callable[..., Tensor]) -> str | None:
    """Returns "mse" or "cross_entropy" for the plain mean losses that have closed formulas, else None."""
    if isinstance(loss, nn.Module) and _altered(loss):
        return None
    if loss is F.mse_loss or (type(loss) is nn.MSELoss and loss.reduction == "mean"):
        return "mse"
    if loss is F.cross_entropy:
        return "cross_entropy"
    if type(loss) is nn.CrossEntropyLoss and loss.reduction == "mean" and loss.weight is None:
        return "cross_entropy" if loss.label_smoothing == 0 and loss.ignore_index == -100 else None
    return None

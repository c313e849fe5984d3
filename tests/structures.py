"""One model and its data in many containers: what is computed must not depend on how the same tensors are handed over.

The output of sample n is tanh(A x_n + b) · w_n · s_n, where w_n is an input and s_n may be written in a text.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, UserDict
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from thalweg.objective import Objective

N = 7
TEXTS = [f"scale-{1 + n % 3}" for n in range(N)]


@dataclasses.dataclass
class Record:
    """Two tensors, and texts beside them."""

    x: Tensor
    w: Tensor
    texts: Any = None


@dataclasses.dataclass(frozen=True)
class Frozen:
    """What cannot be assigned to."""

    x: Tensor
    w: Tensor
    texts: Any = None


class Slots:
    """A class of somebody's own."""

    __slots__ = ("texts", "w", "x")

    def __init__(self, x: Tensor, w: Tensor, texts: Any = None) -> None:
        self.x, self.w, self.texts = x, w, texts


class Named(NamedTuple):
    """A tuple with names."""

    x: Tensor
    w: Tensor
    texts: Any = None


def _entries(inputs: tuple[Any, ...], named: Mapping[str, Any]) -> tuple[Tensor, Tensor, Any]:
    if len(inputs) == 1:  # an object
        return inputs[0].x, inputs[0].w, inputs[0].texts
    if inputs:
        return inputs if len(inputs) == 3 else (*inputs, None)
    return named["x"], named["w"], named.get("texts")


INPUTS: dict[str, Callable[..., Any]] = {
    "tuple": lambda x, w, texts=None: (x, w) if texts is None else (x, w, texts),
    "dict": lambda **entries: entries,
    "UserDict": lambda **entries: UserDict(entries),
    "OrderedDict": lambda **entries: OrderedDict(entries),
    "dataclass": Record,
    "frozen dataclass": Frozen,
    "slots": Slots,
    "namespace": lambda x, w, texts=None: SimpleNamespace(x=x, w=w, texts=texts),
    "named tuple": Named,
}
OUTPUTS: dict[str, tuple[Callable[[Tensor], Any], Callable[[Any], Tensor]]] = {  # tensor -> output, and back
    "tensor": (lambda out: out, lambda out: out),
    "dict": (lambda out: {"logits": out}, lambda out: out["logits"]),
    "UserDict": (lambda out: UserDict(logits=out), lambda out: out["logits"]),
    "dataclass": (lambda out: Record(out, out.detach()), lambda out: out.x),
    "with None": (lambda out: (out, None), lambda out: out[0]),
}
TARGETS: dict[str, tuple[Callable[[Tensor], Any], Callable[[Any], Tensor]]] = {  # as outputs
    "tensor": (lambda y: y, lambda y: y),
    "dict": (lambda y: {"y": y}, lambda y: y["y"]),
    "UserDict": (lambda y: UserDict(y=y, texts=TEXTS), lambda y: y["y"]),
    "frozen dataclass": (lambda y: Frozen(y, y, TEXTS), lambda y: y.x),
    "pair with texts": (lambda y: (y, TEXTS), lambda y: y[0]),
}


class Gated(nn.Module):
    """Takes its inputs from any container and puts its output into one."""

    def __init__(self, wrap: Callable[[Tensor], Any] = lambda out: out) -> None:
        super().__init__()
        self.linear, self.wrap = nn.Linear(3, 2), wrap

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Returns (N, 2) in its container."""
        x, w, texts = _entries(inputs, named)
        out = torch.tanh(self.linear(x)) * w
        return self.wrap(out if texts is None else out * scale(texts))


def scale(texts: list[str]) -> Tensor:
    """What the texts say, (N, 1)."""
    return torch.tensor([[float(text.rpartition("-")[2])] for text in texts], dtype=torch.float64)


def tensors() -> tuple[Tensor, Tensor, Tensor]:
    """Inputs x (N, 3) and w (N, 2), and targets (N, 2)."""
    generator = torch.Generator().manual_seed(3)
    x, w, y = (torch.randn(N, k, generator=generator, dtype=torch.float64) for k in (3, 2, 2))
    return x, w, y


def objective(
    inputs: str = "tuple", output: str = "tensor", target: str = "tensor", *, texts: bool = False, **options: Any
) -> Objective:
    """The same problem in the containers of these names; the loss is a mean of fourth powers."""
    x, w, y = tensors()
    beside = {"texts": TEXTS} if texts else {}
    wrap, unwrap = OUTPUTS[output]
    aim, read = TARGETS[target]
    torch.manual_seed(0)
    model = Gated(wrap).double()
    data = INPUTS[inputs](x=x, w=w, **beside), aim(y)
    return Objective(model, lambda out, goal: (unwrap(out) - read(goal)).pow(4).mean(), data, **options)


def outputs(theta: Tensor, *, texts: bool = False) -> Tensor:
    """The outputs (N, 2) in plain PyTorch, differentiable in θ (8,)."""
    x, w, _ = tensors()
    return torch.tanh(x @ theta[:6].view(2, 3).T + theta[6:]) * w * (scale(TEXTS) if texts else 1.0)

"""Normalizations of torch as compositions of elementary operations, whose derivatives are right to every order.

The fused kernels of torch for layer, batch, instance and weight normalization have a wrong second derivative in nested
forward mode and a wrong third one in reverse mode (weight normalization: a wrong second one). No error is raised. A
loss that itself differentiates, a gradient penalty or the residual of a differential equation, reaches that order in
its Hessian or already in its gradient. Under `exact_kernels` these functions are computed here instead.

A composition has the arguments of the torch function, and equals it to rounding. It returns NotImplemented where the
kernel itself is right (running statistics) or must complain (shapes that do not fit).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from thalweg.objective.products import wide

__all__ = ["COMPOSITIONS", "weight_norm"]


def layer_norm(
    input: Tensor,  # noqa: A002 - the names of torch's arguments, which may be given by keyword
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    """Returns `input` (…, *normalized_shape) with mean 0 and variance 1 over the last axes, times weight plus bias."""
    found = native_layer_norm(input, normalized_shape, weight, bias, eps)
    return found if found is NotImplemented else found[0]


def native_layer_norm(
    input: Tensor,  # noqa: A002 - as above
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the normalized input, and mean and 1/√(variance + eps) of shape (…, 1, …)."""
    shape = tuple(normalized_shape) if isinstance(normalized_shape, Sequence) else ()
    if not shape or not _fits(input, shape, weight, bias) or tuple(input.shape[-len(shape) :]) != shape:
        return NotImplemented
    x = wide(input)
    centered, mean, scale = _standardized(x, tuple(range(-len(shape), 0)), eps)
    return _affine(centered * scale, weight, bias, input.dtype).contiguous(), mean, scale


def batch_norm(
    input: Tensor,  # noqa: A002 - as above
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = True,
) -> Tensor:
    """Returns `input` (N, C, …) normalized over all axes but the second, and moves the running statistics."""
    if not training:
        return NotImplemented  # the kernel is right with constants for statistics
    statistics = running_mean, running_var, momentum
    found = _by_channel(torch.batch_norm, input, weight, bias, statistics, eps, (0, *range(2, input.dim())))
    return found if found is NotImplemented else found[0]


def native_batch_norm(
    input: Tensor,  # noqa: A002 - as above
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the normalized input, and mean and 1/√(variance + eps) of shape (C,)."""
    if not training:
        return NotImplemented
    statistics = running_mean, running_var, momentum
    found = _by_channel(torch.batch_norm, input, weight, bias, statistics, eps, (0, *range(2, input.dim())))
    return found if found is NotImplemented else (found[0], found[1].flatten(), found[2].flatten())


def functional_batch_norm(
    input: Tensor,  # noqa: A002 - as above
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`batch_norm` with the arguments of `torch.nn.functional`, which also refuses a single value per channel."""
    if not training or eps <= 0 or input.dim() < 2 or input.numel() == input.shape[1]:
        return NotImplemented
    return batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps)


def instance_norm(
    input: Tensor,  # noqa: A002 - as above
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = True,
) -> Tensor:
    """Returns `input` (N, C, …) normalized over the axes from the third on."""
    if not use_input_stats:
        return NotImplemented
    statistics = running_mean, running_var, momentum
    found = _by_channel(torch.instance_norm, input, weight, bias, statistics, eps, tuple(range(2, input.dim())))
    return found if found is NotImplemented else found[0].contiguous()


def functional_instance_norm(
    input: Tensor,  # noqa: A002 - as above
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`instance_norm` with the arguments of `torch.nn.functional`, which also refuses a single value."""
    if not use_input_stats or math.prod(input.shape[2:]) == 1:
        return NotImplemented
    return instance_norm(input, weight, bias, running_mean, running_var, use_input_stats, momentum, eps)


def linear_cross_entropy(*args: Any, options: object = None, **kwargs: Any) -> Tensor:
    """The loss without the options that cut it into chunks: their gradient has no derivative."""
    return NotImplemented if options is None else F.linear_cross_entropy(*args, **kwargs)


def weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """Returns g v/‖v‖ with the norm over all axes but `dim` (-1: over all)."""
    return weight_norm_interface(v, g, dim)[0]


def weight_norm_interface(v: Tensor, g: Tensor, dim: int = 0) -> tuple[Tensor, Tensor]:
    """Returns g v/‖v‖ and ‖v‖."""
    over = [axis for axis in range(v.dim()) if dim == -1 or axis != dim % v.dim()]
    x = wide(v)
    norm = torch.linalg.vector_norm(x, dim=over, keepdim=True) if over else x.abs()
    return (x * (wide(g) / norm)).to(v.dtype), norm


def _by_channel(
    torchs_own: Callable[..., Any],
    input: Tensor,  # noqa: A002 - as above
    weight: Tensor | None,
    bias: Tensor | None,
    statistics: tuple[Tensor | None, Tensor | None, float],
    eps: float,
    over: tuple[int, ...],
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalizes over some axes, with one weight and bias for each index of the second axis."""
    if input.dim() < 2 or not over or not _fits(input, (input.shape[1],), weight, bias, *statistics[:2]):
        return NotImplemented
    mean, var, momentum = statistics
    if mean is not None or var is not None:
        # torch's own kernel moves the running statistics: to the bit as without us, also inside of transforms, where
        # writing into a tensor from outside is refused to everybody else. Its output and graph are dropped.
        with torch.no_grad():
            torchs_own(input.detach(), None, None, mean, var, True, momentum, eps, torch.backends.cudnn.enabled)
    centered, mean, scale = _standardized(wide(input), over, eps)
    shape = (input.shape[1], *[1] * (input.dim() - 2))
    weight, bias = (one if one is None else one.reshape(shape) for one in (weight, bias))
    return _affine(centered * scale, weight, bias, input.dtype), mean, scale


def _standardized(x: Tensor, over: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Returns x - mean, mean and 1/√(variance + eps); the last two keep the axes with length 1."""
    mean = x.mean(over, keepdim=True)
    centered = x - mean
    return centered, mean, ((centered * centered).mean(over, keepdim=True) + eps).rsqrt()


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
    x = x if weight is None else x * weight
    return (x if bias is None else x + bias).to(dtype)


def _fits(x: Tensor, shape: tuple[int, ...], *others: Tensor | None) -> bool:
    """Whether torch's kernel takes an input with these weights and statistics."""
    if not x.is_floating_point() or x.layout != torch.strided or x.is_nested:
        return False
    given = [one for one in others if one is not None]
    return all(tuple(one.shape) == shape and one.dtype in (x.dtype, wide(x).dtype) for one in given)


def _operators(entry: tuple[str, Callable[..., Any]], name: str) -> dict[Any, tuple[str, Callable[..., Any]]]:
    """The same functions among the operators (`torch.ops.aten`), which exported programs call."""
    packet = getattr(torch.ops.aten, name)
    return dict.fromkeys((packet, packet.default), entry)


# The function as torch reports it -> its name in messages, its composition.
COMPOSITIONS: dict[Any, tuple[str, Callable[..., Any]]] = {
    F.layer_norm: ("layer_norm", layer_norm),
    F.batch_norm: ("batch_norm", functional_batch_norm),
    F.instance_norm: ("instance_norm", functional_instance_norm),
    torch.layer_norm: ("layer_norm", layer_norm),
    torch.native_layer_norm: ("layer_norm", native_layer_norm),
    torch.batch_norm: ("batch_norm", batch_norm),
    torch.native_batch_norm: ("batch_norm", native_batch_norm),
    torch.instance_norm: ("instance_norm", instance_norm),
    torch._weight_norm: ("weight_norm", weight_norm),
    torch._weight_norm_interface: ("weight_norm", weight_norm_interface),
    **_operators(("layer_norm", layer_norm), "layer_norm"),
    **_operators(("layer_norm", native_layer_norm), "native_layer_norm"),
    **_operators(("batch_norm", batch_norm), "batch_norm"),
    **_operators(("batch_norm", native_batch_norm), "native_batch_norm"),
    **_operators(("instance_norm", instance_norm), "instance_norm"),
    **_operators(("weight_norm", weight_norm), "_weight_norm"),
    **_operators(("weight_norm", weight_norm_interface), "_weight_norm_interface"),
}
if hasattr(F, "linear_cross_entropy"):  # since torch 2.13
    COMPOSITIONS[F.linear_cross_entropy] = ("linear_cross_entropy", linear_cross_entropy)

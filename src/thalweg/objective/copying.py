"""The private copy of a user's model: what is inside wrappers, with what autograd needs to be right."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _WeightNorm
from torch.nn.utils.weight_norm import WeightNorm
from torch.utils import _pytree as pytree

__all__ = ["amend", "copied", "placed", "plain"]


def plain(model: nn.Module) -> nn.Module:
    """The module inside `torch.compile` and (Distributed)DataParallel, whose parameter names have no prefix."""
    while True:
        compiled = getattr(model, "_orig_mod", None)
        if isinstance(compiled, nn.Module):
            model = compiled
        elif isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        else:
            return model


def copied(model: nn.Module) -> nn.Module:
    """A deep copy, also of a model that keeps results of its last forward pass (which torch refuses to copy)."""
    kept = pytree.tree_leaves([vars(module) for module in model.modules()])
    results = {id(one): one.detach().clone() for one in kept if isinstance(one, Tensor) and not one.is_leaf}
    return copy.deepcopy(model, results)


def placed(model: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """A copy of a model on a device in a dtype; complex buffers stay complex, where `Module.to` drops a part."""
    complex_dtype = torch.complex128 if dtype == torch.float64 else torch.complex64

    def move(value: Tensor) -> Tensor:
        if value.is_complex():
            return value.to(device, complex_dtype)
        return value.to(device, dtype) if value.is_floating_point() else value.to(device)

    return copied(model)._apply(move)


def amend(model: nn.Module) -> None:
    """Changes a private copy so that autograd's gradients are dense and its second derivatives right."""
    for module in model.modules():
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            module.sparse = False
        elif type(module) is _WeightNorm:
            module.__class__ = _ExactWeightNorm
        for hook in module._forward_pre_hooks.values():
            if type(hook) is WeightNorm:
                hook.__class__ = _ExactWeightNormHook


def _weight_norm(v: Tensor, g: Tensor, dim: int) -> Tensor:
    """Returns g v/‖v‖: torch's own kernel takes ‖v‖ for constant in second derivatives: its Hessian is wrong."""
    over = [axis for axis in range(v.dim()) if dim == -1 or axis != dim % v.dim()]
    return v * (g / torch.linalg.vector_norm(v, dim=over, keepdim=True))


class _ExactWeightNorm(_WeightNorm):
    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return _weight_norm(weight_v, weight_g, self.dim)


class _ExactWeightNormHook(WeightNorm):
    def compute_weight(self, module: nn.Module) -> Tensor:
        return _weight_norm(getattr(module, f"{self.name}_v"), getattr(module, f"{self.name}_g"), self.dim)

"""Images with their channels last in memory, which convolutions on a CPU are up to twice as fast on.

Values are the same to rounding. Code of a user's may rely on the usual order (`view` does), so that only models made of
torch's own modules and of this package's get it, and only where one parameter set is evaluated at a time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["channels_last", "takes_channels_last"]

_KNOWN = ("torch.nn.modules.", "thalweg.models.")


def takes_channels_last(model: nn.Module, loss: Any) -> bool:
    """Whether nothing in a model and its loss can notice how images lie in memory."""
    parts = [*model.modules(), *(loss.modules() if isinstance(loss, nn.Module) else ())]
    known = all(type(part).__module__.startswith(_KNOWN) and not _altered(part) for part in parts)
    return (
        known
        and (isinstance(loss, nn.Module) or getattr(loss, "__module__", "") == "torch.nn.functional")
        and any(isinstance(part, nn.Conv2d) and part.weight.device.type == "cpu" for part in parts)
    )


def _altered(module: nn.Module) -> bool:
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(hooks) or "forward" in vars(module)


def channels_last(batch: Any) -> Any:
    """A batch (images, targets) whose float32 images (N, C, H, W) have their channels last in memory.

    >>> x, _ = channels_last((torch.zeros(2, 1, 3, 4), None))
    >>> x.stride()
    (12, 1, 4, 1)
    """
    images = batch[0]
    if not (type(images) is Tensor and images.dim() == 4 and images.dtype == torch.float32):
        return batch
    n, c, h, w = images.shape
    # Strides are given: with one channel, torch calls both orders contiguous and keeps the slower one.
    new = torch.empty_strided((n, c, h, w), (c * h * w, 1, w * c, c), dtype=images.dtype, device=images.device)
    return (new.copy_(images), *batch[1:])

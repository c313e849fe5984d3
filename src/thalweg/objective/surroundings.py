"""Settings of torch around an evaluation, each restored after: kernels that can be batched and differentiated twice."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

__all__ = ["twice_differentiable", "without_fused_layers"]


@contextmanager
def without_fused_layers() -> Iterator[None]:
    """Switches off what makes other kernels of a model's code: compilation, and the fused transformer layers.

    vmap cannot batch those layers, and compiled code has no second derivative. Both are restored after.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        if "torch._dynamo" in sys.modules and not torch.compiler.is_compiling():
            with torch.compiler.set_stance("force_eager"):
                yield
        else:
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Chooses attention kernels that can be differentiated twice, and restores the choice after."""
    with without_fused_layers(), sdpa_kernel(SDPBackend.MATH):
        yield

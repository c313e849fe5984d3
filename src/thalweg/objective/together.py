"""How many parameter sets one vmap evaluates on a CPU, and memory that stays with the process between steps."""

from __future__ import annotations

from functools import cache

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

__all__ = ["at_once", "convolves", "keep_memory"]

# Bytes that autograd saves for one parameter set, above which sets are evaluated one by one. Measured with one thread
# and 3 or 20 sets. Well below, the fixed cost of an operation counts: vmap is up to 8 times faster. Well above, a loop
# is as fast or faster: vmap makes grouped convolutions, which take up to twice as long, and leaves the cache. At the
# bound for convolutions either may win: few channels favour vmap (1.05 to 2.3 times), many a loop (1.6 to 1.8 times).
# The loop is chosen there as it is never much slower than plain training of one network after another.
CONVOLUTIONAL, OTHER = 2**20, 2**22
GROUP = 2**25  # bytes saved for all parameter sets of one vmap
_RAISED = 2**25 - 2**16  # bytes; glibc keeps requests up to 32 MiB on the heap once it has seen one


def at_once(replicas: int, saved: int, *, convolutional: bool) -> int:
    """How many parameter sets to evaluate at once on a CPU: a fixed rule, so that a run can be repeated.

    Args:
        replicas: Parameter sets.
        saved: Bytes that autograd saves for one of them.
        convolutional: Whether the model has convolutions (`convolves`).

    Example:
        >>> at_once(100, 100_000, convolutional=True), at_once(100, 5_000_000, convolutional=True)
        (100, 1)
    """
    if saved > (CONVOLUTIONAL if convolutional else OTHER):
        return 1
    return max(1, min(replicas, GROUP // max(1, saved)))


def convolves(model: nn.Module) -> bool:
    """Whether a model has convolution layers."""
    return any(isinstance(module, _ConvNd) for module in model.modules())


@cache
def keep_memory() -> None:
    """Lets the C library keep the memory of freed activations, which the next step needs again.

    By default glibc gives the end of its heap back to the system after every backward pass, and the next forward pass
    gets it page by page: up to a quarter of the time of a small convolutional network. Once a large block is freed, it
    raises its limits: of what gets memory of its own, and of what stays at the end of the heap (now up to 64 MiB). This
    block is never written to, so it takes no memory. Other C libraries do not notice.
    """
    torch.empty(_RAISED, dtype=torch.uint8)

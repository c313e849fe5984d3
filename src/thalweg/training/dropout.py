"""Dropout whose masks are a function of (replica, step, layer, element): no generator, so no order of draws.

Replica 7 of 100 drops what replica 7 alone drops, a resumed training what the undisturbed one would have dropped, a
batch cut into chunks what the whole batch would, and `vmap` can batch it. The mask is a hash of a counter, as in the
counter-based generators of Salmon et al. 2011 ("Parallel random numbers: as easy as 1, 2, 3"); the mixing function is
Wellons' `lowbias32`, applied twice under two keys.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["CounterDropout", "replace_dropout", "step_keys"]

_CHANNELWISE = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


class CounterDropout(nn.Module):
    """Inverted dropout with probability p; statistically that of `nn.Dropout`, or by channel of `nn.Dropout2d`.

    Args:
        p: Probability that an element (or channel) is dropped.
        channels: Whether to drop whole channels of (N, C, …).

    Attributes:
        key: Buffer, int64 scalar (one per replica under vmap): decides the whole mask.
        start: Number of the first sample of the input within its batch.
        count: Samples of the input; 0 where the batch is whole.
        calls: How often the module was used since the forward pass began; every use has a mask of its own.
    """

    key: Tensor

    def __init__(self, p: float, *, channels: bool = False) -> None:
        super().__init__()
        self.p = p
        self.channels = channels
        self.register_buffer("key", torch.zeros((), dtype=torch.int64), persistent=False)
        self.start = 0
        self.count = 0
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        """Drops elements of x (N, …) and scales the others by 1 / (1 - p)."""
        if self.p >= 1:
            return x * 0.0
        lead = x.shape[:2] if self.channels and x.dim() > 2 else x.shape
        shape = (*lead, *(1,) * (x.dim() - len(lead)))
        elements = lead.numel()
        first = self.start * (elements // self.count) if self.count else 0
        counter = torch.arange(first, first + elements, device=x.device).to(torch.int32)
        low = (self.key + 0x9E3779B9 * self.calls).to(torch.int32)
        high = (self.key >> 32).to(torch.int32)
        self.calls += 1
        drawn = _mixed(_mixed(counter ^ low) + high).reshape(shape)  # uniform over all 32-bit integers
        kept = drawn >= round(self.p * 2**32) - 2**31
        return x * (kept.to(x.dtype) * (1 / (1 - self.p)))


def _mixed(x: Tensor) -> Tensor:
    """A bijection of 32-bit integers in which every bit of x flips each bit of the result in half of the cases."""
    x = (x ^ ((x >> 16) & 0xFFFF)) * 0x7FEB352D
    x = (x ^ ((x >> 15) & 0x1FFFF)) * (0x846CA68B - 2**32)
    return x ^ ((x >> 16) & 0xFFFF)


def replace_dropout(model: nn.Module) -> None:
    """Replaces the active dropout layers of a model (a private copy); a shared layer stays shared."""
    made: dict[nn.Module, CounterDropout] = {}
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if isinstance(child, (nn.Dropout, *_CHANNELWISE)) and child.p > 0:
                made.setdefault(child, CounterDropout(child.p, channels=isinstance(child, _CHANNELWISE)))
                setattr(parent, name, made[child])


def step_keys(bases: Tensor, step: int, layers: int) -> Tensor:
    """Keys of all layers of all replicas at one step: bases (R,) int64 -> (layers, R) int64.

    The finaliser of SplitMix64 (Steele et al. 2014) on a counter.
    """
    counter = torch.arange(step * layers + 1, (step + 1) * layers + 1, device=bases.device)[:, None]
    z = bases + counter * (0x9E3779B97F4A7C15 - 2**64)
    z = (z ^ ((z >> 30) & (2**34 - 1))) * (0xBF58476D1CE4E5B9 - 2**64)
    z = (z ^ ((z >> 27) & (2**37 - 1))) * (0x94D049BB133111EB - 2**64)
    return z ^ ((z >> 31) & (2**33 - 1))

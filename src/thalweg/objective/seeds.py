"""Stateless seeds: a replica's random numbers depend on its own number alone, never on how many run beside it."""

from __future__ import annotations

import hashlib

import torch


def replica_seed(seed: int, replica: int, purpose: str) -> int:
    """Returns the 63-bit seed of one replica for one purpose ("init", "order:12", "dropout:345", …).

    Derived by SHA-256, so that replica 7 of 100 draws what replica 7 alone draws, two purposes never share a stream,
    and a resumed run needs no saved generator state.

    Args:
        seed: The seed of the whole experiment.
        replica: The replica's own number, 0-based.
        purpose: What the numbers are for.

    Example:
        >>> replica_seed(0, 7, "init") == replica_seed(0, 7, "init")
        True
        >>> replica_seed(0, 7, "init") == replica_seed(0, 7, "order:0")
        False
    """
    digest = hashlib.sha256(f"{seed}/{replica}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, replica: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """Returns a torch generator seeded with `replica_seed` (on the CPU by default: same numbers on every device)."""
    return torch.Generator(device=device).manual_seed(replica_seed(seed, replica, purpose))

"""What fits on this machine: sizes are compared with its memory and disk before anything is allocated.

A size that is a slip of the keyboard (a million replicas, a billion points) is refused in one sentence with the bytes
that it would take. This is no promise that everything below fits: what else the work needs depends on the work.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from thalweg._lazy import torch
from thalweg.errors import InputError
from thalweg.progress import storage

__all__ = ["budget", "check_disk", "check_memory", "free", "memory"]

_CGROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)


def memory() -> int:
    """Bytes of memory of this machine, or of the container that the process runs in."""
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for file, _ in _CGROUPS:
        try:
            there = min(there, int(file.read_text()))
        except (OSError, ValueError):  # no such limit, or "max"
            continue
    return there


def free(device: Any = "cpu") -> int:
    """Bytes that are free: on a GPU, or in the container or machine that the process runs in.

    Args:
        device: A torch device, or its name.
    """
    if getattr(device, "type", str(device).partition(":")[0]) == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        left = 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):  # not Linux
        left = memory() // 2
    for limit, used in _CGROUPS:
        try:
            left = min(left, int(limit.read_text()) - int(used.read_text()))
        except (OSError, ValueError):
            continue
    return max(0, left)


def budget(device: Any = "cpu") -> int:
    """Bytes that one thing may keep for speed alone: half of what is free, as a power of two.

    >>> 0 < budget() <= free() / 2
    True
    """
    return 2 ** max(0, (free(device) // 2).bit_length() - 1)


def check_memory(name: str, found: str, needed: float) -> None:
    """Refuse what cannot fit into memory.

    Args:
        name: The argument that asks for it.
        found: Its value in words, such as "1,000,000 of 571 parameters".
        needed: Bytes.

    Raises:
        InputError: It takes more bytes than there are.

    >>> check_memory("replicas", "8 of 571 parameters", 8 * 571 * 4)
    """
    if needed > (there := memory()):
        raise InputError(f"{name} must fit in the memory of {storage(there)}, found {found}: {storage(needed)}")


def check_disk(name: str, found: str, needed: float, folder: str | os.PathLike[str]) -> None:
    """Refuse what cannot fit onto the disk.

    Args:
        name: The argument that asks for it.
        found: Its value in words.
        needed: Bytes.
        folder: Where they would be written; it need not exist yet.

    Raises:
        InputError: It takes more bytes than are free.
    """
    place = Path(folder).absolute()
    while not place.exists():
        place = place.parent
    if needed > (free := shutil.disk_usage(place).free):
        raise InputError(f"{name} must fit on the disk with {storage(free)} free, found {found}: {storage(needed)}")

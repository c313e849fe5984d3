"""Settings of torch around an evaluation, each restored after: kernels that can be batched and differentiated twice.

Torch keeps these settings, its random generators and the filters of warnings once for the whole process. Threads that
enter and leave at different times must not restore each other's values: settings are changed by the first that enters
and restored by the last that leaves, and whoever puts generators back has them alone.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

__all__ = ["ALONE", "own_numbers", "twice_differentiable", "without_fused_layers"]

ALONE = threading.RLock()  # held while generators or filters of warnings are not those of the user


class _Shared:
    """A setting of the whole process: made by the first that enters, undone by the last that leaves."""

    def __init__(self, make: Callable[[], AbstractContextManager[object]]) -> None:
        self._make, self._lock, self._inside = make, threading.Lock(), 0
        self._made: AbstractContextManager[object] | None = None

    def __enter__(self) -> None:
        with self._lock:
            if self._made is None:
                made = self._make()
                made.__enter__()
                self._made = made
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._made is not None:
                made, self._made = self._made, None
                made.__exit__(None, None, None)


@contextmanager
def _slow_path() -> Iterator[None]:
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


_SLOW = _Shared(_slow_path)
_EAGER = _Shared(lambda: torch.compiler.set_stance("force_eager"))
_MATH = _Shared(lambda: sdpa_kernel(SDPBackend.MATH))


@contextmanager
def without_fused_layers() -> Iterator[None]:
    """Switches off what makes other kernels of a model's code: compilation, and the fused transformer layers.

    vmap cannot batch those layers, and compiled code has no second derivative. Both are restored after.
    """
    if torch.compiler.is_compiling():
        with _slow_path():
            yield
    elif "torch._dynamo" in sys.modules:
        with _SLOW, _EAGER:
            yield
    else:
        with _SLOW:
            yield


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Chooses attention kernels that can be differentiated twice, and restores the choice after."""
    if torch.compiler.is_compiling():
        with without_fused_layers(), sdpa_kernel(SDPBackend.MATH):
            yield
    else:
        with without_fused_layers(), _MATH:
            yield


@contextmanager
def own_numbers(devices: Iterable[torch.device] = ()) -> Iterator[None]:
    """Puts torch's generators (of the CPU and of `devices`) back after the block, for one thread at a time."""
    with ALONE, torch.random.fork_rng(devices=list(devices)):
        yield

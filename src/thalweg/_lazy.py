"""What is loaded when it is first used, so that importing a package stays cheap: its names (PEP 562), polars, torch.

``from thalweg._lazy import polars as pl`` at the top of a file is polars itself, imported by the first ``pl.…``; in the
same way torch, where a module must not wait for it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING

__all__ = ["lazy", "polars", "torch"]


class _Deferred(ModuleType):
    """Stands for a library until one of its names is asked for."""

    def __getattr__(self, name: str) -> object:
        value = getattr(importlib.import_module(self.__name__), name)
        setattr(self, name, value)
        return value


if TYPE_CHECKING:
    import polars
    import torch
else:
    polars, torch = _Deferred("polars"), _Deferred("torch")


def lazy(package: str, home: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """The ``__getattr__`` and ``__dir__`` of a package whose names live in its modules.

    Args:
        package: ``__name__`` of the package.
        home: module within the package -> the names that are found in it, separated by blanks; a name equal to the
            module's is the module.

    Returns:
        Both functions; the first raises AttributeError, as any module does, for names that are not in `home`.

    Example:
        >>> getattribute, names = lazy("thalweg.models", {"config": "ModelConfig", "budget": "resolve parameter_count"})
        >>> getattribute("ModelConfig").__name__, "resolve" in names()
        ('ModelConfig', True)
    """
    modules = {name: module for module, names in home.items() for name in names.split()}

    def __getattr__(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module '{package}' has no attribute {name!r}")
        module = importlib.import_module(f"{package}.{modules[name]}")
        value = module if name == modules[name] else getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    def __dir__() -> list[str]:
        return sorted({*vars(sys.modules[package]), *modules})

    return __getattr__, __dir__

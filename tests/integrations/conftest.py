"""Libraries whose loops are recorded, imported when a test asks for them: each takes seconds."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def without_torchvision() -> Iterator[None]:
    """Hides torchvision: the one for another build of torch would stop the import of torchmetrics and transformers."""
    found = importlib.metadata.distribution

    def distribution(name: str) -> Any:
        if name == "torchvision":
            raise importlib.metadata.PackageNotFoundError(name)
        return found(name)

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what libraries say of each other while they are imported
        patch.setattr(importlib.metadata, "distribution", distribution)
        patch.setitem(sys.modules, "torchvision", None)
        yield


def needed(module: str, extra: str) -> Any:
    with without_torchvision():
        pytest.importorskip(module.split(".")[0], reason=f"pip install 'thalweg[{extra}]'")
        return importlib.import_module(module)


@pytest.fixture(scope="session")
def lightning() -> Any:
    return needed("lightning.pytorch", "lightning")


@pytest.fixture(scope="session")
def transformers() -> Any:
    library = needed("transformers", "transformers")
    needed("accelerate", "transformers")
    with without_torchvision():
        importlib.import_module("transformers.trainer")
    return library


@pytest.fixture(scope="session")
def peft(transformers: Any) -> Any:
    return needed("peft", "transformers")

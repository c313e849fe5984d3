"""Libraries whose loops are recorded, imported when a test asks for them: each takes seconds."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import pytest


def needed(module: str, extra: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what libraries say of each other while they are imported
        pytest.importorskip(module.split(".")[0], reason=f"pip install 'thalweg[{extra}]'")
        return importlib.import_module(module)


@pytest.fixture(scope="session")
def lightning() -> Any:
    return needed("lightning.pytorch", "lightning")


@pytest.fixture(scope="session")
def transformers() -> Any:
    library = needed("transformers", "transformers")
    needed("accelerate", "transformers")
    needed("transformers.trainer", "transformers")
    return library


@pytest.fixture(scope="session")
def peft(transformers: Any) -> Any:
    return needed("peft", "transformers")

"""Settings that every test shares: one thread, seeded, device and dtype from the environment."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: xdist already uses every core
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import torch

import thalweg.experiments

if TYPE_CHECKING:
    from thalweg.experiments import Experiment

EXTRA = Path(__file__).parent / "experiments" / "extra"

collect_ignore = [str(EXTRA)]  # its files must not be imported a second time, under a name of the tests

torch.set_num_threads(1)

# An oracle asks for torchvision, and the one that is installed may be for another build of torch. Libraries that look
# for it (torchmetrics, transformers) would then fail to import, so they find none; nothing else uses it.
sys.modules["torchvision"] = None
_distribution = importlib.metadata.distribution


def _without_torchvision(name: str) -> Any:
    if name == "torchvision":
        raise importlib.metadata.PackageNotFoundError(name)
    return _distribution(name)


importlib.metadata.distribution = _without_torchvision


@pytest.fixture
def device() -> torch.device:
    """The device under test: THALWEG_TEST_DEVICE, default cpu."""
    return torch.device(os.environ.get("THALWEG_TEST_DEVICE", "cpu"))


@pytest.fixture
def dtype() -> torch.dtype:
    """The dtype under test: THALWEG_TEST_DTYPE, default float64."""
    return getattr(torch, os.environ.get("THALWEG_TEST_DTYPE", "float64"))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def extra(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an experiment that only the tests have, put on the search path as a user's own would be."""
    if str(EXTRA) not in thalweg.experiments.__path__:
        monkeypatch.setattr(thalweg.experiments, "__path__", [*thalweg.experiments.__path__, str(EXTRA)])
    return EXTRA


@pytest.fixture
def ladder(extra: Path) -> Experiment:
    """The smallest experiment."""
    return thalweg.experiments.find("ladder")

"""Settings that every test shares: one thread, seeded, device and dtype from the environment."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: xdist already uses every core
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import torch

torch.set_num_threads(1)


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

"""Runs and recordings to test on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from thalweg.runs import MemoryRecording, Recording, Run

ORIGIN = {"seed": 0, "device": "cpu", "data_checksum": None, "command": "thalweg run demo"}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "runs", "demo", {"width": 10}, **ORIGIN)


@pytest.fixture(params=["memory", "folder"])
def recording(request: pytest.FixtureRequest, run: Run) -> Iterator[Recording]:
    """Open for writing; every test that takes it holds for both kinds."""
    if request.param == "memory":
        yield MemoryRecording()
    else:
        with run.writing():
            yield run.recording()


@pytest.fixture
def fill() -> Callable[..., torch.Tensor]:
    """Record `steps` random snapshots, a commit every `every`; returns them, (S, R, P)."""

    def fill_recording(
        target: Recording, steps: int = 7, *, every: int = 3, shape: tuple[int, int] = (2, 5)
    ) -> torch.Tensor:
        theta = torch.randn(steps, *shape)
        for step in range(steps):
            target.append(step, step / 2, theta[step], {"loss": theta[step].mean(1)})
            if (step + 1) % every == 0:
                target.commit({"last": theta[step]}, {"step": step})
        return theta

    return fill_recording


@pytest.fixture
def file_limit() -> Callable[[int], object]:
    """A real failing disk, for everybody: no file of this process may grow beyond so many bytes ("file too large")."""
    resource = pytest.importorskip("resource")

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited

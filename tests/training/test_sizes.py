"""A training whose numbers or sizes cannot be is refused before its first step."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from thalweg import limits
from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.runs import MemoryRecording
from thalweg.training import Recipe, train
from thalweg.training.recipe import Cadence


def small(dtype: torch.dtype = torch.float32, l2: float = 0.0) -> Objective:
    x = torch.linspace(-1, 1, 8, dtype=dtype)[:, None]
    return Objective(nn.Linear(1, 1).to(dtype), nn.MSELoss(), (x, x), l2=l2, dtype=dtype)


@pytest.mark.parametrize(
    ("l2", "changes", "words"),
    [
        (1e308, {}, "l2 must be at most 3.403e+38 in float32, found 1e+308"),
        (0.0, {"lr": 1e39}, "lr must be at most 3.403e+38 in float32, found 1e+39"),
        (0.0, {"weight_decay": 1e300}, "weight_decay must be at most"),
        (0.0, {"clip": 1e100}, "clip must be at most"),
    ],
)
def test_numbers_beyond_the_precision(l2: float, changes: dict[str, float], words: str) -> None:
    recording = MemoryRecording()
    with pytest.raises(InputError) as caught:
        train(small(l2=l2), recipe=Recipe(steps=2, **changes), recording=recording)
    assert words in str(caught.value)
    assert len(recording.steps) == 0


def test_they_are_numbers_of_float64() -> None:
    found = train(small(torch.float64), recipe=Recipe(steps=2, lr=1e300), replicas=2)
    assert {entry["status"] for entry in found.status} <= {"completed", "diverged"}


def test_what_memory_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    objective = small()  # 2 parameters: 8 bytes a replica
    start = objective.initial(10)
    monkeypatch.setattr(limits, "memory", lambda: 1_000)
    train(objective, start, Recipe(steps=10))  # 11 snapshots of 80 bytes
    with pytest.raises(InputError, match=r"record.every .* found 1: 21 snapshots of 20 numbers: 1.68 kB"):
        train(objective, start, Recipe(steps=20))
    train(objective, start, Recipe(steps=20, record=Cadence(every=5)))
    monkeypatch.setattr(limits, "memory", lambda: 400)
    with pytest.raises(InputError, match=r"replicas must fit .* found 10 of 2 parameters in training: 480 B"):
        train(objective, start, Recipe(steps=2))


@pytest.mark.parametrize("unit", ["step", "epoch", "log"])
@pytest.mark.parametrize("every", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("total", [0, 1, 10, 333])
def test_counted_steps_are_at_least_those_recorded(unit: str, every: int, total: int) -> None:
    cadence = Cadence(every=every, unit=unit)
    found = len(cadence.steps(total, 5))
    assert found <= cadence.count(total, 5)
    assert unit == "log" or cadence.count(total, 5) <= found + 1

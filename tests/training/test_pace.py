"""Threads of a training: timed where several pay, recorded, and the same for a training that was resumed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from thalweg import Objective, Recipe, threads, train
from thalweg.runs import MemoryRecording
from thalweg.training import Cadence
from thalweg.training.pace import REST, WINDOW, Pace


@pytest.fixture(autouse=True)
def _two(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "cores", lambda: 2)
    monkeypatch.setattr(threads, "_physical", lambda: 2)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


class Machine:
    """Steps that take a known time with each number of threads."""

    def __init__(self, seconds: dict[int, float]) -> None:
        self.seconds, self.now = seconds, 0.0
        self.numbers: list[int] = []

    def clock(self) -> float:
        """The time now."""
        return self.now

    def step(self, _last: bool) -> int:
        """Takes its time."""
        self.numbers.append(torch.get_num_threads())
        self.now += self.seconds[self.numbers[-1]]
        return len(self.numbers)


def steps(pace: Pace, machine: Machine, count: int) -> list[int]:
    """The numbers of threads of the next steps."""
    before = len(machine.numbers)
    with pace.running():
        for _ in range(count):
            pace.timed(machine.step, False)
    assert torch.get_num_threads() == 2
    return machine.numbers[before:]


def test_small_steps_take_one_thread_and_are_not_timed() -> None:
    machine = Machine({1: 1.0, 2: 0.1})
    assert set(steps(Pace(0.0, machine.clock), machine, 500)) == {1}


@pytest.mark.parametrize(("one", "several", "expected"), [(1.0, 0.3, 2), (1.0, 1.2, 2), (1.0, 1.3, 1), (1.0, 60.0, 1)])
def test_one_thread_is_taken_only_where_it_is_clearly_faster(one: float, several: float, expected: int) -> None:
    machine = Machine({1: one, 2: several})
    taken = steps(Pace(1.0, machine.clock), machine, 60)
    assert set(taken[:12]) == {1, 2}
    assert set(taken[12:]) == {expected}


def test_ruinous_steps_are_not_repeated() -> None:
    machine = Machine({1: 1.0, 2: 60.0})
    assert steps(Pace(1.0, machine.clock), machine, 60).count(2) == 2


def test_steps_that_become_slow_are_timed_again() -> None:
    machine = Machine({1: 1.0, 2: 0.3})
    pace = Pace(1.0, machine.clock)
    assert set(steps(pace, machine, REST + 12)[12:]) == {2}
    machine.seconds = {1: 2.0, 2: 30.0}  # somebody else came
    assert steps(pace, machine, 3 * WINDOW)[-1] == 1
    machine.seconds = {1: 1.0, 2: 0.3}  # and left
    assert steps(pace, machine, 4 * REST)[-1] == 2


def test_a_steady_pace_is_left_alone() -> None:
    machine = Machine({1: 1.0, 2: 0.3})
    assert set(steps(Pace(1.0, machine.clock), machine, 2000)[12:]) == {2}


@pytest.mark.parametrize("cut", [0, 5, 11, 12, 40, 130, 260])
@pytest.mark.parametrize("seconds", [{1: 1.0, 2: 0.3}, {1: 1.0, 2: 2.0}])
def test_a_resumed_training_takes_the_same_numbers(cut: int, seconds: dict[int, float]) -> None:
    machine = Machine(seconds)
    whole = steps(Pace(1.0, machine.clock), machine, 300)
    first = Machine(seconds)
    pace = Pace(1.0, first.clock)
    before = steps(pace, first, cut)
    again, second = Pace(1.0, (machine := Machine(seconds)).clock), machine
    again.restore(json.loads(json.dumps(pace.state())))
    assert before + steps(again, second, 300 - cut) == whole


def test_a_number_set_by_the_user_is_not_changed_by_what_was_recorded() -> None:
    machine = Machine({1: 1.0, 3: 1.0, 2: 2.0})
    pace = Pace(1.0, machine.clock)
    steps(pace, machine, 20)
    torch.set_num_threads(3)
    again = Pace(1.0, machine.clock)
    again.restore(pace.state())
    with again.running():
        again.timed(machine.step, False)
    assert (machine.numbers[-1], torch.get_num_threads()) == (3, 3)
    torch.set_num_threads(2)


@pytest.mark.parametrize("width", [2, 64])
def test_a_resumed_training_equals_an_undisturbed_one(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "ASLEEP", 1e-6)  # so that a small network is large enough
    monkeypatch.setattr(threads, "SPINNING", 1e-6)
    monkeypatch.setattr("thalweg.training.loop.COMMIT_SECONDS", -1.0)  # after every step
    monkeypatch.setattr("thalweg.training.pace.CLEARLY", 1e9)  # several threads, whatever a busy machine says
    x = torch.linspace(-1, 1, 256 * width).reshape(256, width)
    model = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))
    objective = Objective(model, nn.MSELoss(), (x, x[:, :1].square()))
    recipe = Recipe(steps=16, record=Cadence(every=4, unit="step"))
    whole = train(objective, recipe=recipe, replicas=2)
    recording, commit, commits = MemoryRecording(), MemoryRecording.commit, []

    def killing(*arguments: Any, **named: Any) -> None:
        commit(*arguments, **named)
        commits.append(1)
        if len(commits) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(MemoryRecording, "commit", killing)
    with pytest.raises(KeyboardInterrupt):
        train(objective, recipe=recipe, replicas=2, recording=recording)
    resumed = train(objective, recipe=recipe, replicas=2, recording=recording)
    assert torch.equal(resumed.snapshots[:], whole.snapshots[:])
    saved = whole.restore()
    assert saved is not None
    assert saved[1]["threads"]["number"] == (1 if width == 2 else 2)

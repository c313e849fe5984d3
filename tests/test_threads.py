"""The number of threads: small by rule, large where it pays, the user's where there is one, and given back."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from thalweg import Objective, Recipe, curvature, threads, train
from thalweg.objective.work import seconds, work_of


@pytest.fixture(params=["asleep", "spinning"])
def free(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[int]:
    """Torch's own choice of two cores, asleep or spinning while they wait; nothing was set by the user."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY", "KMP_BLOCKTIME", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    if request.param == "asleep":
        monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    monkeypatch.setattr(threads, "cores", lambda: 2)
    monkeypatch.setattr(threads, "_physical", lambda: 2)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield 2
    torch.set_num_threads(before)


class Watched(nn.Module):
    """A model that notes the number of threads it is evaluated with."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The output of (N, width): (N, 1)."""
        _seen.append(torch.get_num_threads())
        return self.second(torch.sin(self.first(x)) * 0.5)


_seen: list[int] = []


def watched(width: int, samples: int) -> Objective:
    x = torch.linspace(-1, 1, samples * width).reshape(samples, width)
    objective = Objective(Watched(width), nn.MSELoss(), (x, x[:, :1].square()), dtype=torch.float32)
    objective.value(objective.theta)  # all that is checked once
    _seen.clear()
    return objective


@pytest.mark.parametrize(("width", "samples", "expected"), [(4, 64, 1), (64, 256, 2)])
def test_the_size_of_operations_chooses_and_the_number_comes_back(
    width: int, samples: int, expected: int, free: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "ASLEEP", 1e-6)  # so that a small network is large enough
    monkeypatch.setattr(threads, "SPINNING", 1e-6)
    objective = watched(width, samples)
    theta = objective.theta
    for function in (objective.value, objective.gradient, objective.metrics, objective.value_gradient_product):
        _seen.clear()
        function(theta)
        assert set(_seen) == {expected}
        assert torch.get_num_threads() == free
    _seen.clear()
    train(objective, recipe=Recipe(steps=5))
    assert set(_seen) == {1, expected}  # large steps are timed with one thread first
    assert torch.get_num_threads() == free
    with pytest.raises(ValueError, match="theta"):
        objective.value(theta[1:])
    assert torch.get_num_threads() == free


def test_instruments_give_the_number_back(free: int) -> None:
    objective = watched(4, 64).double()
    _seen.clear()
    curvature.eigenpairs(curvature.hessian_operator(objective, objective.theta), 2)
    curvature.hessian(objective, objective.theta)
    assert set(_seen) == {1}
    assert torch.get_num_threads() == free


def test_what_the_user_has_set_is_kept(free: int, monkeypatch: pytest.MonkeyPatch) -> None:
    objective = watched(4, 64)
    torch.set_num_threads(3)
    objective.gradient(objective.theta)
    train(objective, recipe=Recipe(steps=2))
    assert set(_seen) == {3}
    torch.set_num_threads(free)
    with threads.fixed(3):
        _seen.clear()
        objective.gradient(objective.theta)
        train(objective, recipe=Recipe(steps=2))
        assert set(_seen) == {3}
    assert torch.get_num_threads() == free
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        with monkeypatch.context() as patch:
            patch.setenv(name, str(free))
            _seen.clear()
            objective.gradient(objective.theta)
            assert set(_seen) == {free}


def test_choices_nest(free: int) -> None:
    with threads.chosen(0.0):
        assert torch.get_num_threads() == 1
        with threads.chosen(1.0):
            assert torch.get_num_threads() == free
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == free
    with pytest.raises(RuntimeError), threads.chosen(0.0):
        raise RuntimeError
    assert torch.get_num_threads() == free


def test_more_work_is_never_fewer_threads(free: int) -> None:
    numbers = [threads.number_for(10.0**power) for power in range(-9, 12)]
    assert numbers == sorted(numbers)
    assert (numbers[0], numbers[-1]) == (1, free)
    assert threads.number_for(2e-5) == 1  # less than two threads need, however they wait


def test_a_worker_stays_within_its_share(free: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_limit", None)
    monkeypatch.setattr(threads, "cores", lambda: 8)
    threads.limit(3)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")  # as a worker tells other libraries
    with threads.chosen(1.0) as number:
        assert number == 3
    with threads.chosen(0.0) as number:
        assert number == 1


def test_waiting_is_set_only_where_nobody_has() -> None:
    environment: dict[str, str] = {}
    assert threads.wait_asleep(environment) == ["OMP_WAIT_POLICY", "KMP_BLOCKTIME"]
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
    for name in ("OMP_WAIT_POLICY", "KMP_BLOCKTIME", "GOMP_SPINCOUNT"):
        environment = {name: "7"}
        assert threads.wait_asleep(environment) == []
        assert environment == {name: "7"}
    before = dict(os.environ)
    with threads.children_asleep():
        assert threads.sleeping()
    assert dict(os.environ) == before


def test_work_is_that_of_the_shapes() -> None:
    """Two products of 2·N·in·out operations, a tanh, and the entries that each writes, at 5e10 and 1e9 per second."""
    model = nn.Sequential(nn.Linear(30, 20), nn.Tanh(), nn.Linear(20, 10))
    objective = Objective(model, nn.MSELoss(), (torch.ones(16, 30), torch.ones(16, 10)))
    first, tanh, second = work_of(objective).operations[:3]
    assert first == pytest.approx(2 * 30 * 20 / 5e10 + 20 / 1e9)
    assert tanh == pytest.approx(20 / 1e9)
    assert second == pytest.approx(2 * 20 * 10 / 5e10 + 10 / 1e9)
    assert seconds(objective, 1) == pytest.approx(work_of(objective).typical(16))
    convolution = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Flatten(), nn.Linear(512, 1))
    objective = Objective(convolution, nn.MSELoss(), (torch.ones(4, 3, 8, 8), torch.ones(4, 1)))
    assert work_of(objective).operations[0] == pytest.approx(64 * (2 * 8 * 27 / 5e10 + 8 / 1e9))

"""A training goes on only from a state that it could have kept; anything else is refused in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from torch import Tensor, nn

from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.runs import MemoryRecording, Recording
from thalweg.training import Recipe, train
from thalweg.training.saved import check, reading

RECIPE = Recipe(lr=0.01, steps=6)
State = dict[str, Tensor]
Meta = dict[str, Any]


def objective() -> Objective:
    x = torch.linspace(-1, 1, 8)[:, None]
    torch.manual_seed(0)
    return Objective(nn.Sequential(nn.Linear(1, 3), nn.Tanh(), nn.Linear(3, 1)), nn.MSELoss(), (x, x.square()))


class Stopped(Exception):
    """Ends a training in the middle."""


def begun() -> Recording:
    """A recording of three replicas, committed in the middle."""
    recording, seen = MemoryRecording(), []

    def observe(theta: Tensor, _: Tensor) -> dict[str, Tensor]:
        seen.append(theta)
        if len(seen) == 4:
            raise Stopped
        return {}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("thalweg.training.loop.COMMIT_SECONDS", -1.0)
        with pytest.raises(Stopped):
            train(objective(), recipe=RECIPE, replicas=3, recording=recording, observe=observe)
    return recording


def altered(state: State, **changes: Tensor | None) -> State:
    changed = {**state, **{name.replace("__", "/"): value for name, value in changes.items()}}
    return {name: value for name, value in changed.items() if value is not None}


DAMAGE: dict[str, Callable[[State, Meta], tuple[State, Meta]]] = {
    "a missing replica": lambda s, m: (altered(s, alive=torch.tensor([0, 2])), m),
    "a replica twice": lambda s, m: (altered(s, alive=torch.tensor([0, 0, 2])), m),
    "a replica that is none": lambda s, m: (altered(s, alive=torch.tensor([0, 1, 7])), m),
    "replicas as booleans": lambda s, m: (altered(s, alive=torch.ones(3, dtype=torch.bool)), m),
    "no replicas": lambda s, m: (altered(s, alive=None), m),
    "no theta": lambda s, m: (altered(s, theta=None), m),
    "theta of another shape": lambda s, m: (altered(s, theta=s["theta"][:, 1:]), m),
    "theta of another type": lambda s, m: (altered(s, theta=s["theta"].double()), m),
    "no moment": lambda s, m: (altered(s, optimizer__exp_avg=None), m),
    "a moment of one replica": lambda s, m: (altered(s, optimizer__exp_avg=s["optimizer/exp_avg"][:1]), m),
    "a count of steps for each": lambda s, m: (altered(s, optimizer__step=torch.ones(3)), m),
    "another optimiser": lambda s, m: (altered(s, optimizer__momentum_buffer=s["theta"]), m),
    "a step beyond the last": lambda s, m: (s, {**m, "step": 7}),
    "a step as text": lambda s, m: (s, {**m, "step": "3"}),
    "no step": lambda s, m: (s, {name: value for name, value in m.items() if name != "step"}),
    "no status": lambda s, m: (s, {**m, "status": None}),
    "a status too few": lambda s, m: (s, {**m, "status": m["status"][1:]}),
    "one that is said to have diverged": lambda s, m: (
        s,
        {**m, "status": [{**m["status"][0], "status": "diverged"}, *m["status"][1:]]},
    ),
}


@pytest.mark.parametrize("way", DAMAGE)
def test_a_state_that_is_none_of_the_training_is_refused(way: str) -> None:
    recording = begun()
    state, meta = recording.restore()  # type: ignore[misc] -- something was committed
    recording.commit(*DAMAGE[way](state, meta))
    with pytest.raises(InputError, match="recording 'training' is corrupt"):
        train(objective(), recipe=RECIPE, replicas=3, recording=recording)


def test_the_state_itself_is_taken_up() -> None:
    whole = train(objective(), recipe=RECIPE, replicas=3)
    resumed = train(objective(), recipe=RECIPE, replicas=3, recording=begun())
    assert torch.equal(whole.snapshots[:], resumed.snapshots[:])


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop", "sgd", "momentum", "nesterov"])
def test_what_every_optimiser_keeps_is_known(optimizer: str) -> None:
    recipe, recording = Recipe(optimizer=optimizer, lr=0.01, steps=3), MemoryRecording()  # type: ignore[arg-type]
    train(objective(), recipe=recipe, replicas=2, recording=recording)
    state, meta = recording.restore()  # type: ignore[misc] -- it is finished
    check(state, meta, {"theta": state["theta"], "alive": torch.arange(2)}, recipe, "here")


def test_errors_of_reading_name_the_place(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{tmp_path}/state is corrupt: .*KeyError"), reading(f"{tmp_path}/state"):
        _ = {}["theta"]


@pytest.mark.parametrize("change", ["null", "missing", "fewer"])
def test_a_first_step_that_is_not_recorded_whole_is_said(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = begun()
    rows = recording.metrics
    changed = {
        "null": rows.with_columns(grad_norm=pl.lit(None, pl.Float32)),
        "missing": rows.drop("grad_norm"),
        "fewer": rows.filter(rows["replica"] < 2),
    }[change]
    monkeypatch.setattr(MemoryRecording, "metrics", changed)
    with pytest.raises(InputError, match="the metrics beside recording 'training' are corrupt"):
        train(objective(), recipe=RECIPE, replicas=3, recording=recording)

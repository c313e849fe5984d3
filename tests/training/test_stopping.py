"""Replicas that stop when they have learnt enough: the same path up to there, frozen, recorded, resumed to the bit."""

from __future__ import annotations

import math
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.runs import MemoryRecording
from thalweg.training import Cadence, Recipe, loop, train

EVERY_STEP = Cadence(every=1, unit="step")
ENDS = Cadence(every=2, unit="log")


def objective(samples: int = 24, **options) -> Objective:
    chooser = torch.Generator().manual_seed(3)
    x = torch.randn(samples, 3, generator=chooser, dtype=torch.float64)
    model = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 3)).double().eval()
    return Objective(model, nn.CrossEntropyLoss(), (x, torch.randint(3, (samples,), generator=chooser)), **options)


def first_step(hits: torch.Tensor, patience: int) -> int:
    """Index at which `patience` entries in a row are true for the first time."""
    return next(s for s in range(patience - 1, len(hits)) if bool(hits[s - patience + 1 : s + 1].all()))


@pytest.mark.parametrize("patience", [1, 3])
@pytest.mark.parametrize("batch_size", [None, 8])
def test_a_replica_stops_where_the_unstopped_one_is_fitted_and_stays_there(
    patience: int, batch_size: int | None
) -> None:
    target = objective()
    recipe = Recipe(lr=0.05, epochs=300, batch_size=batch_size, record=EVERY_STEP)
    free = train(target, recipe=recipe, replicas=3, seed=2)
    stopped = train(
        target,
        recipe=recipe.model_copy(update={"stop": "fitted", "stop_patience": patience}),
        replicas=3,
        seed=2,
        evaluate={"train": target, "test": target.with_data((torch.ones(2, 3).double(), torch.ones(2).long()))},
    )
    every = 1 if batch_size is None else 3
    x, y = objective().batches.first(24)
    right = (target.outputs(free.snapshots[:], x).argmax(-1) == y).all(-1)  # (S, R), by hand and not by a metric
    expected = [every * first_step(right[::every, r], patience) for r in range(3)]
    assert len(set(expected)) > 1, "replicas of this test must stop at different steps"
    assert [entry["step"] for entry in stopped.status] == expected
    assert all(entry["status"] == "completed" and "classified right" in entry["message"] for entry in stopped.status)
    assert int(stopped.steps[-1]) == max(expected)  # training ends with the last of them
    for r, step in enumerate(expected):
        own = stopped.snapshots[:, r]
        torch.testing.assert_close(own[: step + 1], free.snapshots[: step + 1, r], rtol=1e-9, atol=1e-11)
        assert torch.equal(own[step:], own[step].expand_as(own[step:]))
        rows = stopped.metrics.filter((stopped.metrics["replica"] == r) & (stopped.metrics["step"] >= step))
        assert rows["train_accuracy"].to_list() == [1.0] * len(rows)
        assert rows["test_loss"].n_unique() == 1
        assert not any(math.isnan(value) for value in rows["test_loss"])
        assert [math.isnan(value) for value in rows["loss"]] == [False] + [True] * (len(rows) - 1)


def test_the_bound_on_the_loss_is_that_of_the_data_without_the_penalty() -> None:
    target = objective(l2=0.01)
    recipe = Recipe(lr=0.02, steps=2000, stop="loss", stop_loss=0.5, stop_every=10, record=EVERY_STEP)
    found = train(target, recipe=recipe, replicas=2)
    losses = target.with_l2(0.0).value(found.snapshots[:])
    for r, entry in enumerate(found.status):
        below = (losses[::10, r] <= 0.5).nonzero()
        assert entry["step"] == 10 * int(below[0]) < 2000
        assert entry["message"] == "stopped: the training loss is at most 0.5"


def test_looks_are_recorded_between_the_snapshots_and_the_end_is_one() -> None:
    target = objective()
    found = train(
        target,
        recipe=Recipe(lr=0.05, epochs=400, batch_size=8, stop="fitted", stop_every=2, record=ENDS),
        replicas=2,
        evaluate={"train": target},
    )
    assert found.steps.tolist() == [0, 1, max(entry["step"] for entry in found.status)]
    looks = found.metrics.filter(found.metrics["step"] > 1)
    assert set(looks["step"].to_list()) == set(range(6, int(found.steps[-1]) + 1, 6))
    assert looks["train_accuracy"].null_count() == 0


def test_who_does_not_get_there_trains_to_the_end_and_who_diverges_is_said() -> None:
    target = objective()
    theta = target.initial(3)
    theta[1] = 1e308
    recipe = Recipe(optimizer="sgd", lr=1e-6, steps=9, stop="loss", stop_loss=1e-3)
    assert [e["status"] for e in train(target, theta, recipe).status] == ["completed", "diverged", "completed"]
    assert [e["step"] for e in train(target, theta, recipe).status] == [9, 0, 9]
    fitted = train(target, recipe=Recipe(lr=0.05, steps=500, stop="fitted")).snapshots[-1]
    theta[0] = theta[2] = fitted[0]
    ended = train(target, theta, Recipe(steps=50, stop="fitted"))  # all are through at the first step
    assert [(e["status"], e["step"]) for e in ended.status] == [("completed", 0), ("diverged", 0), ("completed", 0)]
    assert torch.equal(ended.snapshots[-1], theta)


def test_one_wrong_sample_of_many_is_not_fitted_and_rounding_is_no_wrong_sample() -> None:
    x = torch.linspace(-1, 1, 60_001)[:, None]
    y = (x[:, 0] > 0).long()
    model = nn.Linear(1, 2).eval()
    theta = torch.tensor([[-9.0, 9.0, 1e-5, 0.0]])
    for labels, stops in ((y, True), (torch.cat([1 - y[:1], y[1:]]), False)):
        target = Objective(model, nn.CrossEntropyLoss(), (x, labels), memory=2**21)  # in chunks of uneven size
        found = train(target, theta, Recipe(optimizer="sgd", lr=1e-9, steps=2, stop="fitted"))
        assert (found.status[0]["step"] == 0) is stops


class Interrupted(Exception):
    pass


class Fragile(MemoryRecording):
    budget = 7

    def append(self, *arguments, **named) -> None:
        if self.budget == 0:
            raise Interrupted
        self.budget -= 1
        super().append(*arguments, **named)


@pytest.mark.parametrize(("optimizer", "lr"), [("momentum", 0.3), ("adam", 0.05)])
def test_resuming_is_bitwise_exact(optimizer: str, lr: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thalweg.training.loop.COMMIT_SECONDS", 0.0)
    target = objective()
    recipe = Recipe(
        optimizer=optimizer, lr=lr, epochs=150, batch_size=8, stop="fitted", stop_patience=2, record=EVERY_STEP
    )
    options = {"replicas": 4, "evaluate": {"train": target}}
    expected = train(target, recipe=recipe, **options)
    fragile = Fragile()
    while not fragile.finished:
        try:
            train(target, recipe=recipe, recording=fragile, **options)
        except Interrupted:
            fragile.budget = 7
    assert len({entry["step"] for entry in expected.status}) > 1
    assert torch.equal(fragile.snapshots[:], expected.snapshots[:])
    assert fragile.metrics.equals(expected.metrics)
    assert fragile.status == expected.status


JOB = """
import sys, torch
from torch import nn
from thalweg.objective import Objective
from thalweg.runs import Run
from thalweg.training import Recipe, loop, train

torch.set_num_threads(1)
x = torch.linspace(-1, 1, 64)[:, None]
model = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1)).eval()
target = Objective(model, nn.MSELoss(), (x, x.square()))
recipe = Recipe(lr=1e-3, batch_size=10, epochs=60, stop="loss", stop_loss=0.08, stop_patience=2)

def job(root, commit_seconds):
    loop.COMMIT_SECONDS = commit_seconds
    run = Run.create(root, "kill", {}, seed=0, device="cpu", data_checksum=None, command="test")
    with run.writing():
        recording = run.recording()
        held = recording.commit
        def commit(*arguments, **named):
            held(*arguments, **named)
            print(sum(one["status"] == "completed" for one in arguments[2]), flush=True)
        recording.commit = commit
        train(target, recipe=recipe, replicas=6, recording=recording, evaluate={"train": target})
        run.complete()
    return run

if __name__ == "__main__":
    job(sys.argv[1], 0.0)
"""


def test_killed_when_some_have_stopped_it_goes_on_with_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "COMMIT_SECONDS", loop.COMMIT_SECONDS)  # put back what the jobs set
    script = tmp_path / "job.py"
    script.write_text(JOB)
    job = subprocess.Popen([sys.executable, script, tmp_path / "killed"], stdout=subprocess.PIPE)
    assert job.stdout is not None
    seen = iter(job.stdout.readline, b"")
    assert next((line for line in seen if line != b"0\n"), None) is not None, "nobody had stopped"
    os.kill(job.pid, signal.SIGKILL)
    job.communicate()
    space = runpy.run_path(str(script), run_name="job")
    killed, whole = (space["job"](tmp_path / name, 5.0).recording() for name in ("killed", "whole"))
    assert torch.equal(whole.snapshots[:], killed.snapshots[:])
    assert whole.metrics.equals(killed.metrics)
    assert whole.status == killed.status
    assert len({entry["step"] for entry in whole.status}) > 1


def test_a_training_without_classes_has_no_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.ones(4, 1)
    target = Objective(nn.Linear(1, 1), nn.MSELoss(), (x, x))
    with pytest.raises(InputError, match=r"stop must be 'loss' or None .* without the metric accuracy, found 'fitted'"):
        train(target, recipe=Recipe(steps=3, stop="fitted"))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"stop": "loss"}, "stop_loss must be a number for stop 'loss', found None"),
        ({"stop": "fitted", "stop_loss": 0.1}, "stop_loss applies to stop loss only, found stop 'fitted'"),
        ({"stop_patience": 2}, "stop_patience applies to stop fitted or loss only, found stop None"),
        ({"stop_every": 2}, "stop_every applies to stop fitted or loss only, found stop None"),
        ({"stop": "fitted", "stop_patience": 0}, "stop_patience"),
        ({"stop": "fitted", "stop_every": 0}, "stop_every"),
        ({"stop": "loss", "stop_loss": -1.0}, "stop_loss"),
        ({"stop": "loss", "stop_loss": math.nan}, "stop_loss"),
        ({"stop": "early"}, "stop"),
    ],
)
def test_contradictions_are_refused(fields: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Recipe(**fields)

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from thalweg.errors import InputError
from thalweg.objective import Objective
from thalweg.runs import Run, find_runs
from thalweg.training import Recorder

X = torch.linspace(-1, 1, 16)[:, None]
Y = X.square()


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(1, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1))


def steps(model: nn.Module, number: int):
    """A plain loop; yields (loss, θ after the step)."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(number):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(X), Y)
        loss.backward()
        optimizer.step()
        yield loss, torch.cat([p.detach().flatten() for p in model.parameters()])


def test_a_plain_loop_gives_a_run_that_is_analysed_like_any_other(tmp_path: Path) -> None:
    model = net()
    start = torch.cat([p.detach().flatten() for p in model.parameters()])
    recorder = Recorder(tmp_path / "mine", model, every=3, config={"lr": 0.1}, per_epoch=2)
    losses, thetas = [], [start]
    for loss, theta in steps(model, 10):
        recorder.step(loss=loss, twice=2 * loss.item())
        losses.append(loss.item())
        thetas.append(theta)
    recorder.close()
    recorder.close()
    (run,) = find_runs(tmp_path)
    assert run.state == "complete"
    recording = run.recording()
    assert recording.steps.tolist() == [0, 3, 6, 9, 10]
    assert recording.epochs.tolist() == [0, 1.5, 3, 4.5, 5]
    assert torch.equal(run.snapshots[:, 0], torch.stack([thetas[step] for step in (0, 3, 6, 9, 10)]))
    assert recording.metrics["loss"].to_list() == pytest.approx(losses)
    assert recording.metrics["twice"].to_list() == pytest.approx([2 * loss for loss in losses])
    objective = Objective(model.eval(), nn.MSELoss(), (X, Y))
    found = objective.metrics(run.snapshots[-1], run.snapshots.buffers(-1))["loss"]
    assert found.item() == pytest.approx(nn.functional.mse_loss(model(X), Y).item(), rel=1e-6)


def test_several_trainings_one_after_another(tmp_path: Path) -> None:
    expected = []
    with Recorder(tmp_path / "mine", replicas=3, every=4) as recorder:
        for r in range(3):
            model = net()
            track = recorder.replica(r, model)
            for loss, _ in steps(model, 8):
                track.step(loss=loss)
            expected.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert recorder.run.snapshots.shape == (3, 3, 21)
    assert torch.equal(recorder.run.snapshots[-1], torch.stack(expected))
    assert recorder.run.metrics["replica"].to_list() == [0, 1, 2] * 8


def test_names_are_those_of_the_plain_model(tmp_path: Path) -> None:
    model = net()
    for number, wrapped in enumerate((nn.DataParallel(model), torch.compile(model, backend="eager"))):
        with Recorder(tmp_path / f"mine{number}", wrapped) as recorder:
            recorder.step()
        assert recorder.run.snapshots.shape == (2, 1, 21)
        assert "1.running_mean" in recorder.run.snapshots.buffers(0)


def test_divergence_is_marked(tmp_path: Path) -> None:
    model = net()
    with Recorder(tmp_path / "mine", model) as recorder:
        recorder.step(loss=1.0)
        recorder.step(loss=math.nan)
        recorder.step(loss=1.0)
    (status,) = recorder.run.recording().status
    assert status == {
        "status": "diverged",
        "step": 2,
        "message": "a metric or a parameter was no longer finite at step 2",
    }


def test_an_error_in_the_loop_marks_the_run_and_the_next_attempt_says_so(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Recorder(tmp_path / "mine", net()) as recorder:
        recorder.step(loss=1 / 0)
    assert recorder.run.state == "failed"
    with Recorder(tmp_path / "mine", net()) as again:  # nothing was recorded, so nothing is lost
        again.step(loss=1.0)
    with pytest.raises(InputError, match="holds a recorded training already: pass overwrite=True"):
        Recorder(tmp_path / "mine", net())
    with Recorder(tmp_path / "mine", net(), overwrite=True) as third:
        third.step(loss=1.0)
        third.step(loss=1.0)
    assert len(Run.open(third.run.path).snapshots) == 3


@pytest.mark.parametrize(("error", "state"), [(ZeroDivisionError, "failed"), (KeyboardInterrupt, "interrupted")])
def test_what_was_recorded_before_an_error_is_kept(tmp_path: Path, error: type[BaseException], state: str) -> None:
    model, thetas = net(), []
    recorder = Recorder(tmp_path / "mine", model, every=2)

    def loop() -> None:
        with recorder:
            for loss, theta in steps(model, 5):
                recorder.step(loss=loss)
                thetas.append(theta)
            raise error

    with pytest.raises(error):
        loop()
    run = Run.open(recorder.run.path)
    assert run.state == state
    assert run.recording().steps.tolist() == [0, 2, 4]
    assert torch.equal(run.snapshots[1:, 0], torch.stack([thetas[1], thetas[3]]))
    assert len(run.metrics) == 5


def test_bad_use(tmp_path: Path) -> None:
    path = tmp_path / "mine"
    for arguments, sentence in (
        ({}, "exactly one of model and replicas must be given"),
        ({"model": net(), "replicas": 2}, "exactly one of model and replicas must be given"),
        ({"model": net(), "every": 0}, "every must be at least 1, found 0"),
        ({"replicas": 0}, "replicas must be at least 1, found 0"),
        ({"model": "net"}, "model must be a torch.nn.Module, found str"),
        ({"model": nn.Tanh()}, "at least one parameter"),
    ):
        with pytest.raises(InputError, match=sentence):
            Recorder(path, **arguments)
    assert find_runs(tmp_path) == []
    with Recorder(path, net()) as recorder:
        with pytest.raises(InputError, match="metric 'loss' must be a number, found 'high'"):
            recorder.step(loss="high")
        with pytest.raises(InputError, match=r"metric 'loss' must be a number, found a tensor of shape \(2,\)"):
            recorder.step(loss=torch.zeros(2))
        with pytest.raises(InputError, match=r"r must be given with replicas=… only, found 0"):
            recorder.replica(0, net())
        with pytest.raises(InputError, match="is being written"):
            Recorder(path, net())


def test_replicas_must_agree(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "mine", replicas=2)
    with pytest.raises(InputError, match="step belongs to one training"):
        recorder.step(loss=1.0)
    recorder.replica(0, net()).step(loss=1.0)
    with pytest.raises(InputError, match="r must not be used twice, found 0 again"):
        recorder.replica(0, net())
    with pytest.raises(InputError, match=r"r must be in 0..1, found 2"):
        recorder.replica(2, net())
    with pytest.raises(InputError, match=r"\[1\] were not"):
        recorder.close()
    recorder.replica(1, net())
    with pytest.raises(InputError, match=r"same model and number of steps, found steps \[0, 1\]"):
        recorder.close()

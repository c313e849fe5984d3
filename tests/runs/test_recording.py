"""What holds for every recording, in a folder and in memory alike."""

from __future__ import annotations

import math

import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

from thalweg.errors import InputError
from thalweg.runs import Recording


def test_nothing_yet(recording: Recording) -> None:
    assert recording.restore() is None
    assert len(recording.snapshots) == 0
    assert recording.steps.tolist() == []
    assert recording.epochs.dtype == torch.float64
    assert recording.metrics.columns == ["step", "epoch", "replica"]
    assert recording.status == []
    assert recording.replicas is None
    assert not recording.finished


def test_what_is_committed_is_read(recording: Recording, fill) -> None:
    theta = fill(recording, 7, every=3)
    assert recording.pending
    assert torch.equal(recording.snapshots[:], theta[:6])  # the seventh is not committed
    assert recording.steps.tolist() == list(range(6))
    assert recording.epochs.tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    assert recording.replicas == 2
    metrics = recording.metrics
    assert metrics["step"].to_list() == [s for s in range(6) for _ in range(2)]
    assert metrics["loss"].to_list() == theta[:6].mean(2).flatten().tolist()
    assert recording.status == [{"status": "running", "step": 5, "message": ""}] * 2


def test_state_of_any_kind_comes_back(recording: Recording) -> None:
    state = {
        "adam/step": torch.tensor(3),
        "count": torch.tensor([2**62], dtype=torch.int64),
        "alive": torch.tensor([True, False]),
        "half": torch.randn(3).bfloat16(),
        "generator": torch.Generator().manual_seed(5).get_state(),
        "nothing": torch.zeros(0, 4),
        "nan": torch.tensor([math.nan, -0.0], dtype=torch.float64),
    }
    assert (recording.last, recording.meta) == (-1, {})
    meta = {"seeds": [2**63 - 1], "rate": 0.1 + 0.2, "best": math.inf, "nested": {"a": None, "b": [True]}, "名": "ü"}
    recording.commit(state, meta)
    state["adam/step"].add_(1)  # what was committed does not change
    meta["seeds"].append(0)
    found, found_meta = recording.restore()
    assert found.keys() == state.keys()
    assert found["adam/step"].item() == 3
    assert found["adam/step"].shape == ()
    for name in set(state) - {"adam/step"}:
        assert found[name].dtype == state[name].dtype
        assert torch.equal(found[name].nan_to_num(7.0), state[name].nan_to_num(7.0)), name
    assert math.copysign(1, found["nan"][1]) == -1
    assert found_meta == {**meta, "seeds": [2**63 - 1]}
    found["count"].zero_()
    assert recording.restore()[0]["count"].item() == 2**62


def test_restore_drops_what_is_not_committed(recording: Recording, fill) -> None:
    theta = fill(recording, 7, every=3)
    state, meta = recording.restore()
    assert meta == {"step": 5}
    assert (recording.last, recording.meta) == (5, {"step": 5})
    assert torch.equal(state["last"], theta[5])
    assert not recording.pending
    recording.append(6, 3.0, theta[6] + 1)
    recording.commit({}, {})
    assert torch.equal(recording.snapshots[-1], theta[6] + 1)


def test_the_snapshot_is_copied(recording: Recording) -> None:
    theta = torch.zeros(2, 3, requires_grad=True)
    recording.append(0, 0.0, theta)
    with torch.no_grad():
        theta += 1
    recording.commit({}, {})
    assert not recording.snapshots[0].any()


def test_metrics_without_snapshots_and_snapshots_without_metrics(recording: Recording) -> None:
    for step in range(4):
        recording.append(step, 0.0, metrics={"loss": torch.tensor([1.0, math.nan])})
        recording.append(step, 0.0, metrics={"norm": torch.tensor([3.0, 4.0])})  # the same step again, another metric
    recording.commit({}, {})
    recording.append(4, 1.0, torch.ones(2, 3, dtype=torch.float64))
    recording.append(9, 2.0, torch.ones(2, 3, dtype=torch.float64))
    recording.commit({}, {})
    assert recording.steps.tolist() == [4, 9]
    assert recording.snapshots.shape == (2, 2, 3)
    assert recording.snapshots.dtype == torch.float64
    assert len(recording.metrics) == 16
    assert recording.metrics["loss"].null_count() == 8


def test_numbers_for_one_replica(recording: Recording) -> None:
    recording.append(0, 0.0, metrics={"loss": 0.1})
    recording.append(1, 0.5, torch.zeros(1, 4), {"loss": 0.2})
    recording.finish()
    assert recording.metrics["loss"].to_list() == [0.1, 0.2]
    assert recording.replicas == 1


def test_metrics_of_other_types_later(recording: Recording) -> None:
    recording.append(0, 0.0, metrics={"x": torch.tensor([1, 2])})
    recording.commit({}, {})
    recording.append(
        1, 0.0, metrics={"y": torch.tensor([True, False]), "x": torch.tensor([0.5, math.nan], dtype=torch.float64)}
    )
    recording.commit({}, {})
    frame = recording.metrics
    assert frame.columns == ["step", "epoch", "replica", "x", "y"]
    assert frame["x"].to_list()[:3] == [1.0, 2.0, 0.5]
    assert frame["y"].to_list() == [None, None, True, False]


def test_finish(recording: Recording, fill) -> None:
    theta = fill(recording, 7, every=3)
    recording.finish([{"status": "completed"}, {"status": "diverged", "step": 4, "message": "loss is NaN"}])
    assert recording.finished
    assert recording.status == [
        {"status": "completed", "step": 6, "message": ""},
        {"status": "diverged", "step": 4, "message": "loss is NaN"},
    ]
    assert torch.equal(recording.snapshots[:], theta)  # the rest was committed
    state, meta = recording.restore()
    assert torch.equal(state["last"], theta[5])  # the state stays the one of the last commit
    assert meta == {"step": 5}
    with pytest.raises(InputError, match="recording 'training' is finished"):
        recording.append(7, 1.0, theta[0])
    with pytest.raises(InputError, match="is finished"):
        recording.finish()


def test_finish_with_a_last_state(recording: Recording) -> None:
    recording.append(0, 0.0, torch.ones(2, 2))
    recording.finish(state={"x": torch.ones(1)}, meta={"done": True})
    assert recording.status == [{"status": "completed", "step": 0, "message": ""}] * 2
    state, meta = recording.restore()
    assert state["x"].item() == 1
    assert meta == {"done": True}


def test_status_while_running(recording: Recording) -> None:
    recording.append(0, 0.0, torch.ones(2, 2))
    status = [{"status": "diverged", "step": 0, "message": "inf"}, {"status": "running", "step": 0, "message": ""}]
    recording.commit({}, {}, status)
    assert recording.status == status
    recording.append(1, 0.0, torch.ones(2, 2))
    recording.commit({}, {})
    assert recording.status == status  # not mentioned, not changed


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ([{"status": "completed"}], r"one entry per replica \(2\), found 1"),
        (
            [{"status": "complete"}] * 2,
            "must be one of completed, diverged, running, found 'complete', did you mean 'completed'",
        ),
        ([{}] * 2, "found None"),
        ([{"status": "running"}] * 2, "must say completed or diverged for every replica"),
    ],
)
def test_bad_status(recording: Recording, status: list[dict], message: str) -> None:
    recording.append(0, 0.0, torch.ones(2, 2))
    with pytest.raises(InputError, match=message):
        recording.finish(status)
    assert not recording.finished
    assert recording.pending


@pytest.mark.parametrize(
    ("step", "theta", "message"),
    [
        (2, torch.ones(2, 3), "step must not go back: recording 'training' stands at 3, found 2"),
        (3, torch.ones(2, 3), "a snapshot must come after the previous one at step 3, found step 3"),
        (4, torch.ones(3, 3), r"theta must stay \(2, 3\) torch.float32 .* found \(3, 3\) torch.float32"),
        (4, torch.ones(2, 4), r"found \(2, 4\) torch.float32"),
        (4, torch.ones(2, 3, dtype=torch.float64), "found .* torch.float64"),
        (4, torch.ones(2, 3, dtype=torch.int64), "must be a floating-point tensor"),
        (4, torch.ones(6), r"\(R, P\) with R, P at least 1, found \(6,\)"),
        (4, torch.ones(0, 3), r"found \(0, 3\)"),
        (4, [[1.0]], "found list"),
    ],
)
@pytest.mark.parametrize("committed", [True, False])
def test_bad_appends(recording: Recording, step: int, theta: object, message: str, committed: bool) -> None:
    recording.append(3, 0.0, torch.ones(2, 3))
    if committed:
        recording.commit({}, {})
    with pytest.raises(InputError, match=message):
        recording.append(step, 0.0, theta)
    recording.append(4, 0.0, torch.ones(2, 3))  # the refused one left no trace
    recording.commit({}, {})
    assert recording.steps.tolist() == [3, 4]


def test_a_refused_metric_leaves_no_trace(recording: Recording) -> None:
    with pytest.raises(InputError, match="metric 'loss' must have shape"):
        recording.append(0, 0.0, torch.ones(2, 3), {"loss": torch.ones(3)})
    assert not recording.pending
    recording.append(0, 0.0, torch.ones(3, 3), {"loss": torch.ones(3)})
    with pytest.raises(InputError, match=r"step must not go back: .* stands at 0, found -1"):
        recording.append(-1, 0.0, torch.ones(3, 3))


@pytest.mark.parametrize(
    ("state", "meta", "message"),
    [
        ({}, {"when": {1, 2}}, "meta.when must be made of"),
        ({"x": torch.eye(2).to_sparse()}, {}, "tensor 'x' must be dense"),
        ({"x": 3}, {}, "'x' must be a tensor, found int"),
    ],
)
def test_state_that_cannot_be_stored(recording: Recording, state: dict, meta: dict, message: str) -> None:
    recording.append(0, 0.0, torch.ones(2, 3))
    with pytest.raises(InputError, match=message):
        recording.commit(state, meta)
    assert len(recording.snapshots) == 0
    recording.commit({}, {})  # nothing was lost
    assert len(recording.snapshots) == 1


def test_both_kinds_give_the_same(run, fill) -> None:
    from thalweg.runs import MemoryRecording

    frames: list[pl.DataFrame] = []
    with run.writing():
        for target in (MemoryRecording(), run.recording()):
            torch.manual_seed(1)
            fill(target)
            target.finish()
            frames.append(target.metrics)
            assert target.snapshots.shape == (7, 2, 5)
    assert_frame_equal(*frames)

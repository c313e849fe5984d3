"""What a recording draws, tells and tabulates is what was recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from thalweg.errors import InputError
from thalweg.figures import Figure, Line
from thalweg.results import Result
from thalweg.runs import History, MemoryRecording, Recording

LOSSES = torch.tensor([[4.0, 5.0, 6.0], [2.0, 3.0, float("nan")], [1.0, 2.0, float("nan")]])


def _filled(recording: Recording) -> Recording:
    for step, losses in enumerate(LOSSES):
        recording.append(10 * step, step / 2, torch.zeros(3, 2), {"loss": losses})
        if step != 1:  # not every step has every metric
            recording.append(10 * step, step / 2, None, {"test_accuracy": torch.full((3,), step / 4)})
    fates = [{"status": "completed"}, {"status": "completed"}, {"status": "diverged", "step": 10, "message": "NaN"}]
    recording.finish(fates)
    return recording


def test_arrays_are_what_was_appended(recording: Recording) -> None:
    found = _filled(recording).history
    np.testing.assert_array_equal(found.values["loss"], LOSSES.numpy())
    np.testing.assert_array_equal(found.values["test_accuracy"][:, 0], [0.0, np.nan, 0.5])
    assert (found.steps.tolist(), found.epochs.tolist()) == ([0, 10, 20], [0.0, 0.5, 1.0])
    np.testing.assert_array_equal(found.final("loss"), [1.0, 2.0, np.nan])
    assert found.at([0, 20]).values["loss"].shape == (2, 3)
    with pytest.raises(InputError, match=r"metric must be one of loss, test_accuracy, found 'lost'"):
        found.final("lost")


def test_a_recording_presents_itself(recording: Recording) -> None:
    found = _filled(recording)
    assert isinstance(found, Result)
    assert isinstance(found.plot(), Figure)
    middle = [mark.y for panel in found.plot().panels for mark in panel.marks if isinstance(mark, Line)]
    np.testing.assert_array_equal(middle[0], [5.0, 2.5, 1.5])  # medians of those that are finite
    assert found.table()["status"].to_list() == ["completed", "completed", "diverged"]
    words = found.summary()
    assert "1 diverged: replica 2 (the first at step 10)" in words
    assert "50 %" in words
    bundle, _ = found._repr_mimebundle_()
    assert {"application/vnd.plotly.v1+json", "image/png", "text/plain"} == bundle.keys()
    assert words in bundle["text/plain"]


def test_a_history_is_saved(recording: Recording, tmp_path: Path) -> None:
    found = _filled(recording).history
    assert History.load(found.save(tmp_path / "history.safetensors")) == found


def test_an_empty_recording_is_shown_as_text() -> None:
    empty = MemoryRecording()
    with pytest.raises(InputError, match="holds no metric"):
        empty.plot()
    bundle, _ = empty._repr_mimebundle_()
    assert bundle.keys() == {"text/plain"}
    assert "holds no metric" in bundle["text/plain"]


def test_of_one_replica_only_the_curve_is_drawn() -> None:
    recording = MemoryRecording()
    for step in range(2000):
        recording.append(step, step, torch.zeros(1, 2) if step == 0 else None, {"loss": 1.0 / (step + 1)})
    recording.commit({}, {})
    (line,) = recording.plot().panels[0].marks
    assert isinstance(line, Line)
    assert len(line.x) == 1000
    assert (line.y[0], line.y[-1]) == (1.0, 1 / 2000)
    assert "1 still running" in recording.summary()

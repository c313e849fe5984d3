from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from thalweg import report
from thalweg.errors import InputError
from thalweg.report.recorded import found_in
from thalweg.runs import Run
from thalweg.training import Recorder


def recorded(folder: Path, *, fails: bool = False) -> Run:
    model = nn.Linear(3, 1)
    measure = {"norm": (lambda model: (model.weight.norm(), 0.1), 2)}
    recorder = Recorder(folder / "mine", model, every=2, per_epoch=2, config={"lr": 0.1}, measure=measure)
    try:
        with recorder:
            for step in range(1, 7):
                with torch.no_grad():
                    model.weight.add_(torch.tensor([[1.0, 0.5 * step, 0.0]]))
                recorder.step(loss=1 / step, accuracy=0.1 * step, a=1.0, b=2.0, c=3.0)
                if fails and step == 5:
                    raise ZeroDivisionError("a bad batch")
    except ZeroDivisionError:
        pass
    return recorder.run


def test_what_is_shown_is_what_was_recorded(tmp_path: Path) -> None:
    run = recorded(tmp_path)
    found = found_in(run)
    assert [figure.name for figure in found.figures] == ["curves", "curves-2", "measured", "pca", "distances"]
    path = run.snapshots[:, 0].double()
    start, end = found.figures[-1].panels[0].marks
    np.testing.assert_allclose(start.y, (path - path[0]).norm(dim=1), rtol=1e-6)
    np.testing.assert_allclose(end.y, (path - path[-1]).norm(dim=1), rtol=1e-6)
    np.testing.assert_allclose(start.x, [0, 1, 2, 3])
    line, bars = found.figures[2].panels[0].marks
    np.testing.assert_allclose(line.y, path[:, :3].norm(dim=1), rtol=1e-6)
    np.testing.assert_allclose(bars.high - line.y, 0.1)
    assert found.numbers["distance from the start"] == pytest.approx(float((path[-1] - path[0]).norm()))
    assert found.numbers["length of the path"] == pytest.approx(float(path.diff(dim=0).norm(dim=1).sum()))
    assert found.numbers["loss"] == pytest.approx(1 / 6)
    assert "loss" in found.statements[0]
    assert "norm" not in found.statements[0]
    page = report.write(run)
    text = page.read_text()
    assert "Run.open" in text
    assert "How far training went" in text
    assert "execute(" not in text


def test_a_loop_that_failed_is_shown_and_says_so(tmp_path: Path) -> None:
    run = recorded(tmp_path, fails=True)
    found = found_in(run)
    assert found.warnings[0].startswith("The run is failed: ")
    assert report.write(run).exists()


def test_replicas_and_runs_without_a_path(tmp_path: Path) -> None:
    with Recorder(tmp_path / "many", replicas=2) as recorder:
        for r in range(2):
            model = nn.Linear(2, 1)
            track = recorder.replica(r, model)
            for _ in range(3):
                with torch.no_grad():
                    model.weight.add_(1.0)
                track.step(loss=float(r + 1))
    found = found_in(recorder.run)
    assert found.numbers["loss"] == 1.5
    assert [row["loss"] for row in found.tables["Where it ended"]] == [1, 2]
    with Recorder(tmp_path / "still", nn.Linear(2, 1)) as recorder:
        recorder.step(loss=1.0)
    found = found_in(recorder.run)
    assert [figure.name for figure in found.figures] == ["curves"]
    assert found.warnings[0].startswith("No path is drawn: ")


def test_nothing_was_recorded(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Recorder(tmp_path / "mine", nn.Linear(2, 1)) as recorder:
        raise ZeroDivisionError
    with pytest.raises(InputError, match="nothing was recorded"):
        found_in(recorder.run)

"""Documents of several runs: the course's questions, runs side by side, and paper."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from thalweg import report
from thalweg.errors import InputError
from thalweg.experiments import discover
from thalweg.experiments.framework.findings import Findings
from thalweg.figures import Axis, Band, Figure, Line, Panel
from thalweg.report.comparison import curves, labels
from thalweg.report.course import COURSE, experiments
from thalweg.report.settings import settings
from thalweg.runs import Run

NAN = float("nan")


def _run(root: Path, experiment: str, lr: float, losses: list[list[float]], *, said: str = "It falls.") -> Run:
    """A complete run whose loss (steps × replicas) is known."""
    origin = {"seed": 0, "device": "cpu", "data_checksum": None, "command": f"thalweg run {experiment}"}
    run = Run.create(root, experiment, {"seed": 0, "training": {"lr": lr}}, **origin)
    with run.writing():
        recording = run.recording()
        for step, row in enumerate(losses):
            recording.append(step, step / 2, torch.zeros(len(row), 2), {"loss": torch.tensor(row)})
        recording.commit({}, {})
        recording.finish([{"status": "completed", "step": len(losses) - 1}] * len(losses[0]))
        figure = Figure("loss", "The loss", "", (Panel(Axis("step"), Axis("loss"), (Line([0, 1], [1.0, 0.5]),)),))
        found = Findings(figures=[figure], statements=[said], numbers={"last": losses[-1][0]})
        run.save("findings", found.to_json())
        run.complete()
    return run


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    return [
        _run(tmp_path, "gradient-norm", 0.1, [[4.0, 2.0], [2.0, 1.0]], said="Norms fall."),
        _run(tmp_path, "gradient-norm", 0.2, [[8.0, 6.0], [NAN, 3.0], [1.0, NAN]], said="Norms rise."),
        _run(tmp_path, "spectrum", 0.1, [[1.0]], said="A bulk."),
    ]


def test_every_question_is_there_in_its_order_with_its_answers_or_its_command(runs: list[Run], tmp_path: Path) -> None:
    path = report.write(runs, course=True)
    assert path == tmp_path / "course.html"
    page = path.read_text(encoding="utf-8")
    headings = re.findall(r"<h([1-6])[^>]*>(.*?)</h\1>", page)
    wanted = [text for chapter in COURSE for text in (chapter.heading, *(q.title for q in chapter.questions))]
    beyond = headings.index(("2", "Beyond the course"))
    assert [text for level, text in headings[:beyond] if level in "23"] == wanted
    places = [page.index(part) for part in (">Observe the gradient norm during", "Norms fall.", "Norms rise.")]
    assert places == sorted(places)
    assert page.index(">Sharpness (bonus)</h3>") < page.index(">Beyond the course</h2>") < page.index("A bulk.")
    missing = re.findall(r"This command does: <code>(.*?)</code>", page)
    assert missing == [f"thalweg run {name}" for name in experiments() if name != "gradient-norm"]
    assert "1 of 11 questions answered, 3 runs" in page
    assert all(text in page for text in ("<code>training.lr</code>", "lr 0.1", "lr 0.2"))
    levels = [int(level) for level, _ in headings]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels)), "no level is left out"


def test_a_single_run_can_be_a_course(runs: list[Run]) -> None:
    assert "1 of 11 questions answered, 1 run<" in report.write(runs[0], course=True).read_text(encoding="utf-8")


def test_the_questions_name_experiments_that_there_are() -> None:
    assert set(experiments()) <= discover().keys()


def test_all_models_stand_in_the_same_axes(runs: list[Run]) -> None:
    figure = curves(runs[:2], ["slow", "fast"], "gradient-norm")
    assert figure is not None
    (panel,) = figure.panels
    lines = {mark.label: mark for mark in panel.marks if isinstance(mark, Line)}
    bands = {mark.group: mark for mark in panel.marks if isinstance(mark, Band)}
    assert (panel.x.label, panel.y.label, panel.y.scale) == ("epoch", "training loss", "log")
    np.testing.assert_array_equal(lines["slow"].y, [3.0, 1.5])
    np.testing.assert_array_equal(bands["slow"].high, [4.0, 2.0])
    np.testing.assert_array_equal(lines["fast"].x, [0.0, 0.5, 1.0])
    np.testing.assert_array_equal(lines["fast"].y, [7.0, 3.0, 1.0])  # over the replicas that are finite there


def test_long_recordings_keep_their_range(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(1, 2, size=(1500, 1))
    run = _run(tmp_path, "gradient-norm", 0.1, noise.tolist())
    figure = curves([run], ["one"], "gradient-norm")
    assert figure is not None
    band, line = figure.panels[0].marks
    assert isinstance(band, Band)
    assert isinstance(line, Line)
    assert len(line.x) == 500
    kept = torch.tensor(noise).float().double().numpy().reshape(500, 3)
    np.testing.assert_allclose(band.low, kept.min(axis=1), rtol=1e-6)
    np.testing.assert_allclose(line.y, np.median(kept, axis=1), rtol=1e-6)
    np.testing.assert_allclose(band.high, kept.max(axis=1), rtol=1e-6)


def test_runs_are_named_by_what_differs() -> None:
    nets = [{"model": {"kind": "mlp"}, "seed": 0}, {"model": {"kind": "cnn"}, "seed": 0}]
    assert labels(nets, ["a", "b"]) == ["kind mlp", "kind cnn"]
    alike = [{"a": {"lr": 1}, "b": {"lr": 1}}, {"a": {"lr": 2}, "b": {"lr": 3}}]
    assert labels(alike, ["a", "b"]) == ["a.lr 1, b.lr 1", "a.lr 2, b.lr 3"]
    many = [dict.fromkeys("abcd", value) for value in (1, 2)]
    assert labels(many, ["run-a", "run-b"]) == ["run-a", "run-b"]


def test_a_run_stands_in_a_document_once(runs: list[Run]) -> None:
    with pytest.raises(InputError, match=f"different runs, found {runs[0].name} twice"):
        report.write([runs[0], Run.open(runs[0].path)])


def test_figures_are_drawn_once_for_many_documents(runs: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    report.write(runs)
    drawn: list[str] = []
    monkeypatch.setattr(
        "thalweg.figures.matplotlib.render", lambda figure: (drawn.append(figure.name), (b"", b"<svg/>"))[1]
    )
    report.write(runs)
    assert drawn == []
    (runs[0].files.figures / "loss.json").write_text("{}")
    report.write(runs)
    assert drawn == ["loss"]
    report.write(runs[2])
    assert drawn == ["loss", "loss"], "the report of one run draws anew"


def test_settings_are_told_apart_from_defaults() -> None:
    config = discover()["trajectory"].preset("quick").model_dump(mode="json")
    rows = {row.name: row for row in settings("trajectory", config)}
    chosen = {name for name, row in rows.items() if row.chosen}
    assert {"training.epochs", "training.lr", "model.hidden"} <= chosen
    assert not chosen & {"seed", "data.name", "training.optimizer", "perplexity"}
    assert rows["perplexity"].meaning.startswith("Neighbours that t-SNE weighs")
    assert all(row.chosen for row in settings("nothing-known", {"a": 1}))

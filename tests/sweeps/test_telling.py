"""What is said of a sweep."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest

from thalweg import report
from thalweg.experiments import Experiment, execute, find, override
from thalweg.experiments.framework.execution import load_findings
from thalweg.sweeps import plan, sweep


def test_statements_figures_and_failures(weather: Experiment, tmp_path: Path) -> None:
    made = plan("weather", weather.preset("tiny"), {"wind.speed": "1,3", "fault": "none,raise"}, ["force", "forse"])
    with ThreadPoolExecutor(1) as executor:
        done = sweep(made, tmp_path, executor)
    found = done.findings
    assert found.statements == (
        "2 of 4 tasks of weather are complete; swept: wind.speed (1, 3), fault (none, raise).",
        "Over wind.speed, the median of force is lowest at 1, 1.13, and highest at 3, 9.13.",
    )
    assert found.warnings == (
        "wind.speed=1.0, fault=raise is failed: RuntimeError: hail has broken the glass.",
        "wind.speed=3.0, fault=raise is failed: RuntimeError: hail has broken the glass.",
        "No task has found a number 'forse', did you mean 'force'?",
    )
    assert [figure.name for figure in found.figures] == ["sweep-wind-speed", "sweep-fault"]
    assert [row["force"] is None for row in found.tables["Tasks"]] == [False, True, False, True]
    page = report.write(done.run, findings=found).read_text()
    assert "Weather that may go wrong" in page
    assert "hail has broken the glass" in page
    assert "replan(&#39;weather&#39;, settings)" in page


def test_numbers_that_move_are_chosen(weather: Experiment, tmp_path: Path) -> None:
    made = plan("weather", weather.preset("tiny"), {"seed": "0..2"})
    with ThreadPoolExecutor(1) as executor:
        found = sweep(made, tmp_path, executor).findings
    (figure,) = found.figures
    assert (figure.name, len(figure.panels)) == ("sweep-seed", 1)  # not "place", which is no number, and not the seed


def test_nothing_is_complete(weather: Experiment, tmp_path: Path) -> None:
    made = plan("weather", weather.preset("tiny").model_copy(update={"fault": "raise"}), {"seed": "0..1"})
    with ThreadPoolExecutor(1) as executor:
        done = sweep(made, tmp_path, executor)
    assert done.findings.statements == ("0 of 2 tasks of weather are complete; swept: seed (0, 1).",)
    assert done.findings.figures == ()
    assert report.write(done.run, findings=done.findings).is_file()


@pytest.fixture(scope="module")
def one_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five sizes in one run, as the experiment does by itself."""
    root = tmp_path_factory.mktemp("one")
    return execute("capacity", find("capacity").preset("tiny"), root).path


def test_tasks_are_told_as_one_run_would_be(one_run: Path, tmp_path: Path) -> None:
    """Figures, sentences and numbers of a sweep over sizes are those of one run that compares these sizes."""
    from thalweg.runs import Run

    config = find("capacity").preset("tiny")
    made = plan("capacity", config, {"model.width": [int(value) for value in config.values]})  # type: ignore[attr-defined]
    with ThreadPoolExecutor(1) as executor:
        done = sweep(made, tmp_path, executor)
    alone = load_findings(Run.open(one_run))
    assert [figure.to_json() for figure in done.findings.figures] == [figure.to_json() for figure in alone.figures]
    assert done.findings.statements[1:] == alone.statements
    assert alone.numbers.items() <= done.findings.numbers.items()
    medians = Run.open(one_run).load("table").group_by("parameters").agg(pl.col("test_loss").median())
    assert set(done.table.select("result.parameters", "result.test_loss").rows()) == set(
        medians.select("parameters", "test_loss").rows()
    )


def test_seeds_are_further_replicas(tmp_path: Path) -> None:
    config = override(find("capacity").preset("tiny"), {"training.epochs": 2})
    made = plan("capacity", config, {"model.width": "1,3", "seed": "0..1", "data.label_noise": "0,0.5"})
    with ThreadPoolExecutor(1) as executor:
        found = sweep(made, tmp_path, executor).findings
    assert [figure.name for figure in found.figures] == ["capacity-1", "capacity-2"]
    assert found.figures[1].title.endswith(": data.label_noise 0.5")
    first = [statement for statement in found.statements if statement.startswith("data.label_noise 0.5: 2 sizes")]
    assert [statement.endswith("4 runs each.") for statement in first] == [True]

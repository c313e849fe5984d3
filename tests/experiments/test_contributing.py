"""The experiment that CONTRIBUTING.md shows runs, and what it merges is what it measured."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import thalweg.experiments
from thalweg.experiments import execute, find, override
from thalweg.experiments.framework.execution import load_findings

PAGE = Path(__file__).parents[2] / "CONTRIBUTING.md"


def test_the_example_is_an_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len([line for line in source.splitlines() if line.strip()]) <= 26
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "where_it_ends.py").write_text(source)
    monkeypatch.setattr(thalweg.experiments, "__path__", [*thalweg.experiments.__path__, str(tmp_path / "mine")])
    experiment = find("where-it-ends")
    assert experiment.summary == "Where training ends: the last training loss of a network."
    config = override(experiment.preset("tiny"), {"data.samples": 40})
    run = execute("where-it-ends", config, tmp_path / "runs")
    found = load_findings(run)
    losses = run.recording().history.final("loss")
    assert found.numbers["loss"] == pytest.approx(losses.mean())
    assert [figure.name for figure in found.figures] == ["curves"]
    assert experiment.merge is not None
    both = pl.concat([run.load("table"), run.load("table").with_columns(pl.col("loss") + 1)])
    assert experiment.merge(config, both).numbers["loss"] == pytest.approx(float(np.mean(losses)) + 0.5)

"""Fits equal what the weights say; straight lines are called so; expressions of the user reach the figure whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from thalweg.cli import main
from thalweg.errors import InputError
from thalweg.experiments import execute
from thalweg.experiments.framework.execution import load_findings
from thalweg.experiments.framework.options import override
from thalweg.experiments.function_fit.config import PRESETS, Config
from thalweg.models import build
from thalweg.models.config import ModelConfig
from thalweg.tasks.config import TaskConfig
from thalweg.training.recipe import Cadence, Recipe

SMALL = {
    "replicas": 2,
    "data": TaskConfig(name="function", points=20, test_points=30),
    "networks": ("6", "3-2"),
    "tolerance": None,
    "functions": ("x**2 + 1",),
    "training": Recipe(lr=0.02, epochs=40, record=Cadence(every=20)),
}


def panel_titles(found, name):
    return [panel.title for figure in found.figures if figure.name == name for panel in figure.panels]


def test_predictions_are_the_trained_networks_and_the_line_is_least_squares(tmp_path):
    run = execute("function-fit", Config(**SMALL), tmp_path)
    fit = run.load("fit-01-x-2-1-6-19")
    x = np.linspace(0, 1, 30)
    assert fit["x"] == pytest.approx(x, abs=1e-7)
    assert fit["truth"] == pytest.approx(x**2 + 1, rel=1e-6)
    model = build(ModelConfig(hidden=(6,)), (1,), 1)
    for replica, theta in enumerate(run.recording("01-x-2-1-6-19").snapshots[-1]):
        torch.nn.utils.vector_to_parameters(theta, model.parameters())
        expected = model(torch.linspace(0, 1, 30)[:, None])[:, 0].detach().numpy()
        assert fit["predictions"][replica] == pytest.approx(expected, abs=1e-5)
    points = np.linspace(0, 1, 20)
    residual = np.polyfit(points, points**2 + 1, 1, full=True)[1][0] / 20
    assert fit["line"][0] == pytest.approx(residual, rel=1e-4)
    found = load_findings(run)
    assert found.numbers["train_loss: x**2 + 1: 6 (19)"] > 0
    assert "19" in str(found.tables["Fits"][0]["parameters"])


def test_networks_without_biases_are_lines_through_the_origin_and_this_is_said(tmp_path):
    config = Config(**SMALL | {"model": ModelConfig(bias=False)})
    run = execute("function-fit", config, tmp_path)
    fit = run.load("fit-01-x-2-1-6-12")
    slopes = fit["predictions"][:, -1:]
    assert fit["predictions"] == pytest.approx(slopes * fit["x"], abs=1e-5)
    found = load_findings(run)
    assert any("can only be f(x) = c·x" in warning for warning in found.warnings)
    assert any("no better than a straight line: 6 (12), 3-2 (11)" in text for text in found.statements)
    both_sides = override(config, {"data.interval": "-1,1"})
    assert not any(
        "c·x" in warning for warning in load_findings(execute("function-fit", both_sides, tmp_path)).warnings
    )


def test_a_linear_target_is_fitted_and_the_dead_are_told(tmp_path):
    config = Config(
        **SMALL
        | {
            "networks": ("linear", "1-1-1-1-1"),
            "functions": ("2*x - 1",),
            "training": Recipe(lr=0.1, epochs=600, record=Cadence(every=200)),
        }
    )
    found = load_findings(execute("function-fit", config, tmp_path))
    assert found.numbers["train_loss: 2*x - 1: linear (2)"] < 1e-8
    assert found.statements[0].startswith("On 2*x - 1, linear (2) ends with the lowest training loss")
    assert "every run below every run" in found.statements[0]
    assert "dead networks, which are constant: 2 runs of 1-1-1-1-1 (12)" in found.statements[0]


def test_biases_start_at_zero_on_request(tmp_path):
    drawn, zero = (execute("function-fit", Config(**SMALL, biases=kind), tmp_path) for kind in ("drawn", "zero"))
    first, other = (run.recording("01-x-2-1-6-19").snapshots[0] for run in (drawn, zero))
    biases = [slice(6, 12), slice(18, 19)]  # 1-6-1: six weights, six biases, six weights, one bias
    for place in biases:
        assert (other[:, place] == 0).all()
        assert (first[:, place] != 0).all()
    assert torch.equal(first[:, :6], other[:, :6])


def test_expressions_with_commas_come_whole_from_the_command_line(tmp_path, capsys):
    command = ["run", "function-fit", "--preset", "tiny", "--root", str(tmp_path)]
    assert main([*command, "--functions", "max(x, 0.5)", "--replicas", "1"]) == 0
    run = next(tmp_path.glob("function-fit-*"))
    assert panel_titles(load_findings(_open(run)), "fits") == ["max(x, 0.5)"]
    assert main([*command, "--functions", "__import__('os')"]) == 2
    assert "__import__" in capsys.readouterr().err


def _open(path):
    from thalweg.runs import Run

    return Run.open(path)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("sin(3*pi*x)+sin(4*pi*x)", ("sin(3*pi*x)+sin(4*pi*x)",)),
        ("sinc,max(x,0)", ("sinc", "max(x, 0)")),
        (["where(x > 0.5, 1, 0)", "step"], ("where(x > 0.5, 1, 0)", "step")),
    ],
)
def test_lists_of_functions(given, expected):
    assert override(PRESETS["tiny"], {"functions": given}).functions == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"functions": "sinx"}, "sinx"),
        ({"functions": "sinc,sinc"}, "functions must differ"),
        ({"data": TaskConfig()}, "data.name must be function"),
        ({"data.expression": "step"}, "functions names the targets, not data.expression"),
    ],
)
def test_targets_that_cannot_be_drawn_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        override(PRESETS["tiny"], change)


def test_every_preset_of_the_survey_is_finite_on_its_points():
    from thalweg import tasks

    for config in PRESETS.values():
        for text in config.functions:
            assert tasks.load(config.data.model_copy(update={"expression": text})).train[1].isfinite().all()

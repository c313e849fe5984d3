"""The experiment `gradient-norm`: norms against plain autograd, the overlay, and the traps of the classic scripts."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from thalweg.errors import InputError
from thalweg.experiments import Findings, execute, find, override
from thalweg.experiments.framework.execution import load_findings
from thalweg.experiments.gradient_norm.config import PRESETS, Config
from thalweg.figures import Figure, Line
from thalweg.models import build
from thalweg.runs import Run
from thalweg.tasks import load

TINY = override(
    PRESETS["tiny"], {"second": None, "first.training.record.every": 1, "first.training.record.unit": "step"}
)


def done(config: Config, root: Path) -> tuple[Run, Findings]:
    run = execute("gradient-norm", config, root)
    return run, load_findings(run)


def figure(found: Findings, name: str) -> Figure:
    return next(one for one in found.figures if one.name == name)


def plain_gradients(config: Config, run: Run) -> list[list[torch.Tensor]]:
    """By torch alone: the gradient of every parameter tensor at every recorded θ of the first training."""
    case = config.first
    x, y = load(case.data).train
    model = build(case.model, (1,), 1)
    found = []
    for theta in run.snapshots[:, 0]:
        torch.nn.utils.vector_to_parameters(theta, model.parameters())
        loss = torch.nn.functional.mse_loss(model(x), y)
        found.append(list(torch.autograd.grad(loss, list(model.parameters()))))
    return found


@pytest.mark.parametrize("p", [2.0, 1.0, 3.0, math.inf])
def test_the_norm_is_over_all_parameters_at_the_weights_before_the_step(p: float, tmp_path: Path) -> None:
    """Neither a root inside the loop over the layers, nor the norm after the step."""
    config = TINY.model_copy(update={"p": p})
    run, _ = done(config, tmp_path)
    rows = run.metrics.filter(run.metrics["replica"] == 0).sort("step")
    gradients = plain_gradients(config, run)
    assert len(gradients) == len(rows) == 61
    expected = [torch.linalg.vector_norm(torch.cat([g.flatten() for g in one]), p).item() for one in gradients]
    np.testing.assert_allclose(rows["gradient_norm"].to_numpy(), expected, rtol=1e-4, atol=1e-7)
    first = [torch.linalg.vector_norm(torch.cat([one[0].flatten(), one[1]]), p).item() for one in gradients]
    layer = next(name for name in rows.columns if name.startswith("gradient_norm:"))
    np.testing.assert_allclose(rows[layer].to_numpy(), first, rtol=1e-4, atol=1e-7)


def test_two_norms_of_the_layers_add_up_in_squares(tmp_path: Path) -> None:
    run, _ = done(TINY, tmp_path)
    layers = [name for name in run.metrics.columns if name.startswith("gradient_norm:")]
    assert len(layers) == 2
    total = np.sqrt(sum(run.metrics[name].to_numpy() ** 2 for name in layers))
    np.testing.assert_allclose(run.metrics["gradient_norm"].to_numpy(), total, rtol=1e-5)


def test_full_gradient_is_that_of_all_data_while_minibatches_make_the_steps(tmp_path: Path) -> None:
    changes = {"of": "full", "first.training.batch_size": 8, "first.training.steps": 12}
    config = override(TINY, changes)
    run, found = done(config, tmp_path)
    rows = run.metrics.filter(run.metrics["replica"] == 0).sort("step")
    expected = [torch.cat([g.flatten() for g in one]).norm().item() for one in plain_gradients(config, run)]
    np.testing.assert_allclose(rows["gradient_norm"].to_numpy(), expected, rtol=1e-4, atol=1e-7)
    assert not np.allclose(rows["gradient_norm"].to_numpy(), rows["grad_norm"].to_numpy(), rtol=0.01)
    assert any("of all training data, recorded at each of 13 iterations" in text for text in found.statements)


def test_one_figure_has_norm_above_loss_on_one_axis_for_every_case(tmp_path: Path) -> None:
    run, found = done(PRESETS["tiny"], tmp_path)
    drawn = figure(found, "gradient-norm")
    assert drawn.share_x
    assert [panel.y.label for panel in drawn.panels] == ["‖∇L‖₂", "loss"]
    for panel in drawn.panels:
        labels = [mark.label for mark in panel.marks if isinstance(mark, Line)]
        assert labels == ["sin(5πx)/(5πx)", "digits (100 of 1,437)"]
    line = next(mark for mark in drawn.panels[1].marks if isinstance(mark, Line))
    rows = run.recording("training").metrics.sort("step", "replica")["loss"].to_numpy().reshape(-1, 2)
    np.testing.assert_allclose(line.y, np.median(rows, axis=1), rtol=1e-6)
    assert len(figure(found, "layers").panels) == 2
    assert any("minibatch" in text for text in found.statements)


def test_losses_of_different_minibatches_are_not_compared(tmp_path: Path) -> None:
    """That the loss of the next minibatch is lower says nothing of what the step did."""
    _, found = done(PRESETS["tiny"], tmp_path)
    told = [text for text in found.statements if "Where an iteration lowers the loss" in text]
    assert [text.partition(":")[0] for text in told] == ["sin(5πx)/(5πx)"]
    assert math.isnan(found.numbers["second_rising_share"])
    assert 0 <= found.numbers["first_rising_share"] <= 1


def test_presets_have_the_stated_sizes() -> None:
    from thalweg.models import parameter_count

    course = PRESETS["course"]
    assert abs(parameter_count(course.first.model, (1,), 1) - 1090) <= 5
    assert parameter_count(course.second.model, (1, 28, 28), 10) == 16_750
    assert course.second.data.name == "mnist"


def test_bad_input_is_named() -> None:
    experiment = find("gradient-norm")
    for change, sentence in [
        ({"p": 0.5}, "p must be greater than or equal to 1, found 0.5"),
        ({"of": "full", "first.model.dropout": 0.5}, "of 'full' needs networks that are the same"),
        ({"of": "batch"}, "of must be"),
        ({"first.training.metrics.every": 5}, "first.training.metrics must be None"),
    ]:
        with pytest.raises(InputError, match=sentence):
            override(experiment.preset("tiny"), change)


def test_a_network_with_dropout_is_trained_as_elsewhere(tmp_path: Path) -> None:
    _, found = done(override(TINY, {"first.model.dropout": 0.2, "first.training.steps": 5}), tmp_path)
    assert any("dropout" in text for text in found.statements)

"""Gradient descent ends at the edge of stability (Cohen et al. 2021); the limits of its variants; bad settings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from thalweg.errors import InputError
from thalweg.experiments import execute
from thalweg.experiments.edge_of_stability.config import PRESETS, Config, limit
from thalweg.experiments.edge_of_stability.report import verdict
from thalweg.experiments.framework.execution import load_findings
from thalweg.models.config import ModelConfig
from thalweg.tasks.config import TaskConfig
from thalweg.training.recipe import Cadence, Recipe


def test_sharpness_settles_just_above_the_limit(tmp_path):
    config = Config(
        replicas=1,
        data=TaskConfig(samples=100, test_samples=20),
        model=ModelConfig(hidden=(16, 16), activation="tanh"),
        loss="mse",
        training=Recipe(optimizer="sgd", steps=1500, record=Cadence(every=75, unit="step")),
        learning_rates=(1.0, 2.0),
    )
    found = load_findings(execute("edge-of-stability", config, tmp_path))
    for lr in (1, 2):
        assert 1.0 <= found.numbers[f"ratio_{lr}"] <= 1.1
        assert found.numbers[f"limit_{lr}"] == 2 / lr


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "nesterov"])
def test_limit_separates_stable_from_unstable_on_a_quadratic(optimizer):
    momentum = None if optimizer == "sgd" else 0.7
    recipe = Recipe(optimizer=optimizer, lr=0.3, momentum=momentum)
    for factor, stable in ((0.99, True), (1.01, False)):
        x = torch.ones(1, dtype=torch.float64, requires_grad=True)
        options = {} if momentum is None else {"momentum": momentum, "nesterov": optimizer == "nesterov"}
        descent = torch.optim.SGD([x], lr=0.3, **options)
        for _ in range(3000):
            descent.zero_grad()
            (0.5 * factor * limit(recipe) * x.square().sum()).backward()
            descent.step()
        assert (abs(float(x.detach())) < 1) is stable


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rates": ()}, "at least one"),
        ({"learning_rates": (0.1, -1.0)}, "must be positive"),
        ({"learning_rates": (0.1, 0.1)}, "must differ"),
        ({"training": Recipe(optimizer="adam")}, "found adam"),
        ({"training": Recipe(optimizer="sgd", batch_size=8)}, "full-batch"),
        ({"training": Recipe(optimizer="sgd", lr=0.5)}, "training.lr must be left alone: .* found 0.5"),
    ],
)
def test_settings_without_a_known_limit_are_refused(change, message):
    with pytest.raises((InputError, ValueError), match=message):
        Config(**{**dict(PRESETS["tiny"]), **change})


def test_one_run_does_not_speak_for_all():
    """A run far above the limit was told as "above by at most 10 %", a run that reached it as one that did not."""
    assert verdict(np.array([1.05, 1.5])) == (
        "well above it, in 1 of 2 runs; at the edge of stability, above the limit by at most 10 % in 1"
    )
    assert verdict(np.array([0.5, 1.05])) == (
        "at the edge of stability, above the limit by at most 10 %, in 1 of 2 runs; not at the edge within these steps "
        "in 1"
    )
    assert verdict(np.array([1.2, 1.3])) == "well above it"


def test_a_learning_rate_beyond_all_measure_is_told_not_stumbled_over(tmp_path):
    run = execute("edge-of-stability", PRESETS["tiny"].model_copy(update={"learning_rates": (1e20,)}), tmp_path)
    assert list(run.recordings) == ["lr-1e20"]
    assert {entry["status"] for entry in run.recording("lr-1e20").status} == {"diverged"}

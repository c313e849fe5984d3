from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from thalweg.errors import InputError
from thalweg.experiments.framework.options import override, read_arguments
from thalweg.tasks import TaskConfig


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "digits", "points": 64}, "points applies to the task 'function' only, found name 'digits'"),
        ({"name": "mnist", "expression": "x"}, "expression applies to the task 'function' only, found name 'mnist'"),
        ({"name": "function", "samples": 10}, "samples applies to images only, found name 'function'"),
        ({"name": "function", "label_noise": 0.1}, "label_noise applies to images only"),
        ({"name": "function", "pixels": "shuffled"}, "pixels applies to images only"),
        ({"name": "function", "standardize": "pixel-range"}, "standardize 'pixel-range' applies to images only"),
        ({"name": "function", "path": "somewhere"}, "path applies to images only"),
        ({"name": "function", "expression": "__import__('os')"}, "'__import__' at character 1 is not allowed"),
        ({"name": "function", "interval": (1, 0)}, "interval must be two finite numbers, the lesser first, found 1 0"),
        ({"name": "digits", "path": "somewhere"}, "path does not apply to digits"),
        ({"label_noise": 0.1, "shuffle_labels": True}, "label_noise and shuffle_labels both change the labels"),
        ({"target": "inputs", "shuffle_labels": True}, "need target 'labels', found target 'inputs'"),
        ({"label_noise": 1.5}, "less than or equal to 1"),
        ({"samples": 0}, "greater than or equal to 1"),
        ({"name": "function", "noise": float("nan")}, "greater than or equal to 0|finite"),
        ({"name": "imagenet"}, "'digits', 'mnist', 'fashion-mnist', 'cifar10' or 'function'"),
        ({"smaples": 3}, "unknown field '"),
    ],
)
def test_contradictions_are_refused(fields, message):
    with pytest.raises(InputError, match=message):
        TaskConfig(**fields)


def test_frozen_and_json_round_trip():
    config = TaskConfig(name="function", expression="x**2", interval=(0, 2), points=8)
    with pytest.raises(ValidationError, match="frozen"):
        config.points = 9
    assert TaskConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("fields", "scaling"),
    [({}, "pixel-range"), ({"name": "function"}, "none"), ({"name": "function", "standardize": "zscore"}, "zscore")],
)
def test_default_scaling(fields, scaling):
    assert TaskConfig(**fields).scaling == scaling


def test_every_field_is_described():
    assert all(field.description for field in TaskConfig.model_fields.values())


def test_fields_are_command_line_options():
    arguments = ["--name", "mnist", "--samples", "1000", "--label-noise", "0.2", "--path", "data"]
    config = override(TaskConfig(), read_arguments(arguments))
    assert config == TaskConfig(name="mnist", samples=1000, label_noise=0.2, path="data")
    arguments = ["--name", "function", "--expression", "sin(x)", "--interval", "0", "20"]
    assert override(TaskConfig(), read_arguments(arguments)).interval == (0.0, 20.0)


def test_configurations_import_no_torch():
    script = (
        "import sys; from thalweg.tasks import TaskConfig; from thalweg.models import ModelConfig;"
        "TaskConfig(name='function', expression='x**2'); ModelConfig();"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0

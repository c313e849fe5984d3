from __future__ import annotations

import pytest
from pydantic import ValidationError

from thalweg.errors import InputError
from thalweg.experiments.framework.options import override, read_arguments
from thalweg.models import COURSE, ModelConfig


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"channels": (8,)}, "channels applies to cnn or resnet only, found kind 'mlp'"),
        ({"code": 3}, "code applies to autoencoder only, found kind 'mlp'"),
        ({"kind": "cnn", "blocks": 2}, "blocks applies to resnet only, found kind 'cnn'"),
        ({"kind": "resnet", "hidden": (3,)}, "hidden applies to mlp or cnn or autoencoder only, found kind 'resnet'"),
        ({"kind": "resnet", "dropout": 0.5}, "dropout applies to mlp or cnn only"),
        ({"batchnorm": True}, "batchnorm applies to cnn or resnet only"),
        ({"hidden": (5,), "budget": 100}, r"hidden and budget both set the sizes: give one, found \(5,\) and 100"),
        ({"hidden": (5,), "width": 3}, "hidden and width both set the sizes"),
        ({"hidden": (5,), "depth": 1}, "hidden and depth both set the sizes"),
        ({"kind": "cnn", "channels": (5,), "depth": 1, "width": 3}, "channels and width both set the sizes"),
        ({"depth": 2, "width": 3, "budget": 10}, "budget and width both set the sizes: give one, found 10 and 3"),
        ({"budget": 100}, "depth goes with either width or budget, found budget 100 alone"),
        ({"width": 100}, "depth goes with either width or budget, found width 100 alone"),
        ({"depth": 2}, "depth goes with either width or budget, found depth 2 alone"),
        ({"tolerance": 0.5}, "tolerance is that of a budget and goes with one, found 0.5 alone"),
        ({"depth": 0, "budget": 10}, "depth must be at least 1"),
        ({"kind": "cnn", "depth": 0, "width": 3}, "depth must be at least 1"),
        ({"kind": "cnn", "head": "conv", "hidden": (3,)}, r"hidden needs head 'dense' or 'average'"),
        ({"kind": "cnn", "head": "conv", "dropout": 0.5}, "dropout needs dense layers, found head 'conv'"),
        ({"kind": "cnn", "pool": "none", "pool_size": (3,)}, "pool_size needs pool 'max' or 'average'"),
        ({"hidden": (0,)}, "greater than or equal to 1"),
        ({"dropout": 1.0}, "less than 1"),
        ({"activation": "swish"}, "'relu', 'leaky_relu'"),
        ({"layers": 3}, "unknown field '"),
    ],
)
def test_contradictions_are_refused(fields, message):
    with pytest.raises(InputError, match=message):
        ModelConfig(**fields)


@pytest.mark.parametrize("name", COURSE)
def test_json_round_trip(name):
    assert ModelConfig.model_validate_json(COURSE[name].model_dump_json()) == COURSE[name]


def test_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        ModelConfig().width = 3


def test_every_field_is_described():
    assert all(field.description for field in ModelConfig.model_fields.values())


def test_fields_are_command_line_options():
    arguments = ["--kind", "cnn", "--channels", "4", "8", "--kernel", "5", "3", "--batchnorm", "true"]
    expected = ModelConfig(kind="cnn", channels=(4, 8), kernel=(5, 3), batchnorm=True)
    assert override(ModelConfig(), read_arguments(arguments)) == expected
    mlp = override(ModelConfig(), read_arguments(["--depth", "3", "--width", "256"]))
    assert mlp == ModelConfig(depth=3, width=256)

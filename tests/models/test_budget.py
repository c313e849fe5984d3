from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thalweg import InputError
from thalweg.models import COURSE, ModelConfig, check_equal, parameter_count, resolve


def dense_count(widths: list[int], bias: bool = True) -> int:
    """By hand: a matrix and a vector between consecutive widths."""
    return sum((inputs + bias) * outputs for inputs, outputs in pairwise(widths))


@given(st.lists(st.integers(1, 40), max_size=6), st.integers(1, 20), st.integers(1, 9), st.booleans())
def test_mlp_count(hidden, inputs, outputs, bias):
    config = ModelConfig(hidden=tuple(hidden), bias=bias)
    assert parameter_count(config, (inputs,), outputs) == dense_count([inputs, *hidden, outputs], bias)


# Published or hand-computed counts of the classic networks.
COUNTS = {
    "deep": ((1,), 1, 571),
    "middle": ((1,), 1, 572),
    "shallow": ((1,), 1, 571),
    "1-3-3-1": ((1,), 1, 22),
    "1-4-4-1": ((1,), 1, 33),
    "1-16-1": ((1,), 1, 49),
    "1-10-10-1": ((1,), 1, 141),
    "mnist": ((1, 28, 28), 10, 16_750),
    "3x256": ((1, 28, 28), 10, 785 * 256 + 2 * 257 * 256 + 257 * 10),
    "1024-625": ((1, 28, 28), 10, 785 * 1024 + 1025 * 625 + 626 * 10),
    "sharpness": ((1, 28, 28), 10, 31_228),
    "conv-2x132": ((3, 32, 32), 10, 9 * (3 * 132 + 132 * 10)),
    "conv-4x27": ((3, 32, 32), 10, 9 * (3 * 27 + 2 * 27 * 27 + 27 * 10)),
    "conv-8x16": ((3, 32, 32), 10, 9 * (3 * 16 + 6 * 16 * 16 + 16 * 10)),
}


@pytest.mark.parametrize("name", COURSE)
def test_course_networks(name):
    input_shape, outputs, count = COUNTS[name]
    assert parameter_count(COURSE[name], input_shape, outputs) == count


def test_batchnorm_replaces_the_bias_of_a_convolution():
    plain = parameter_count(ModelConfig(kind="cnn", channels=(4,)), (1, 8, 8), 10)
    normalised = parameter_count(ModelConfig(kind="cnn", channels=(4,), batchnorm=True), (1, 8, 8), 10)
    assert normalised - plain == 4  # a scale and a shift in place of a bias


def test_resnet_count_by_hand():
    config = ModelConfig(kind="resnet", channels=(4, 8), blocks=2)
    first = 9 * 3 * 4 + 4
    stage1 = 2 * 2 * (9 * 4 * 4 + 4)
    stage2 = (9 * 4 * 8 + 8) + (9 * 8 * 8 + 8) + (4 * 8 + 8) + 2 * (9 * 8 * 8 + 8)  # with a 1×1 shortcut
    assert parameter_count(config, (3, 8, 8), 10) == first + stage1 + stage2 + 8 * 10 + 10


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5, 8])
def test_course_budget_is_met_at_every_depth(depth):
    config = ModelConfig(depth=depth, budget=571)
    solved = resolve(config, (1,), 1)
    assert len(solved.hidden) == depth
    assert max(solved.hidden) - min(solved.hidden) <= 1
    assert abs(parameter_count(config, (1,), 1) - 571) <= 0.02 * 571
    assert (solved.budget, solved.depth, solved.width) == (None, None, None)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 6), st.integers(30, 5000), st.integers(1, 5))
def test_solution_is_the_nearest_of_its_kind(depth, budget, inputs):
    config = ModelConfig(depth=depth, budget=budget, tolerance=1e9)
    found = abs(parameter_count(config, (inputs,), 2) - budget)
    best = math.inf
    for width in range(1, budget + 1):
        options = [(front, back) for front in range(depth) for back in range(depth - front)]
        counts = [
            dense_count([inputs, *[width + 1] * a, *[width] * (depth - a - b), *[width + 1] * b, 2]) for a, b in options
        ]
        best = min([best, *(abs(count - budget) for count in counts)])
        if min(counts) > budget:
            break
    assert found == best


@pytest.mark.parametrize(
    ("config", "budget"),
    [
        (ModelConfig(kind="cnn", depth=3, budget=6720, head="average"), 6720),
        (ModelConfig(kind="cnn", depth=4, budget=16_000, head="conv", pool="none", bias=False), 16_000),
        (ModelConfig(kind="resnet", depth=2, budget=50_000, tolerance=0.1), 50_000),
        (ModelConfig(kind="autoencoder", depth=2, code=4, budget=250_000), 250_000),
        (ModelConfig(depth=3, budget=4_500_000), 4_500_000),
    ],
)
def test_budget_of_every_family(config, budget):
    outputs = 3 * 32 * 32 if config.kind == "autoencoder" else 10
    count = parameter_count(config, (3, 32, 32), outputs)
    assert abs(count - budget) <= config.tolerance * budget


def test_unreachable_budget_is_refused_with_the_nearest_count():
    config = ModelConfig(depth=8, budget=30)
    with pytest.raises(InputError) as caught:
        resolve(config, (1,), 1)
    nearest = dense_count([1, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    assert str(caught.value).startswith("budget must be reached within 0.02 of 30 parameters")
    found = int(str(caught.value).split(" has ")[1].split(":")[0])
    assert nearest <= found < 40
    assert parameter_count(config.model_copy(update={"tolerance": 1.0}), (1,), 1) == found


def test_head_conv_of_depth_one_has_no_free_width():
    with pytest.raises(InputError, match="budget needs a layer whose width is free"):
        resolve(ModelConfig(kind="cnn", depth=1, budget=100, head="conv"), (1, 8, 8), 10)


def test_depth_and_width():
    assert resolve(ModelConfig(depth=3, width=7), (1,), 1).hidden == (7, 7, 7)
    assert resolve(ModelConfig(depth=0, width=7), (1,), 1).hidden == ()
    assert resolve(ModelConfig(kind="resnet", depth=3, width=7), (1, 8, 8), 1).channels == (7, 14, 28)
    assert resolve(ModelConfig(kind="cnn", depth=3, width=7, head="conv"), (1, 8, 8), 1).channels == (7, 7)


def test_defaults():
    assert resolve(ModelConfig(), (1,), 1).hidden == (20, 20, 20)
    assert resolve(ModelConfig(kind="cnn"), (1, 8, 8), 1).channels == (8, 16)
    explicit = ModelConfig(hidden=())
    assert resolve(explicit, (1,), 1) == explicit


def test_equal_sizes():
    check_equal({"a": 100, "b": 102})
    with pytest.raises(InputError, match=r"equal numbers of parameters within 0\.02, found a 1,000, b 1,030"):
        check_equal({"a": 1000, "b": 1030})
    check_equal({"a": 1000, "b": 1030}, tolerance=0.05)
    with pytest.raises(InputError, match="must not be empty"):
        check_equal({})

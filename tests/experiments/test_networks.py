"""A few words name a network; sizes that differ are refused with their counts; every preset fits its data."""

from __future__ import annotations

import pytest

from thalweg.errors import InputError
from thalweg.experiments import find
from thalweg.experiments.framework.options import override
from thalweg.experiments.shared.networks import counted_labels, network
from thalweg.models import describe, parameter_count
from thalweg.models.config import ModelConfig


@pytest.mark.parametrize(
    ("words", "structure"),
    [
        ("10-18-15-4", "MLP 64-10-18-15-4-10, tanh, 1,247 parameters"),
        ("linear", "MLP 64-10, tanh, 650 parameters"),
        ("depth 2", "MLP 64-12-12-10, tanh, 1,066 parameters"),
        ("cnn 4-6+5", "CNN conv 3×3×4 – max 2 – conv 3×3×6 – max 2 – 24-5-10, tanh, 447 parameters"),
        ("resnet 2", "ResNet 2 × 1 blocks, tanh"),
    ],
)
def test_words_name_the_network_that_they_say(words, structure):
    made = network(words, ModelConfig(activation="tanh"), budget=1070)
    assert describe(made, (1, 8, 8), 10).startswith(structure)


def test_names_of_the_course_have_the_sizes_of_the_course():
    template = ModelConfig()
    counts = [parameter_count(network(name, template), (1,), 1) for name in ("deep", "middle", "shallow")]
    assert counts == [571, 572, 571]
    stacks = ("conv-2x132", "conv-4x27", "conv-8x16")
    assert [parameter_count(network(name, template), (3, 32, 32), 10) for name in stacks] == [15_444, 16_281, 15_696]
    assert network("deep", ModelConfig(activation="tanh", bias=False)).activation == "tanh"
    assert not network("deep", ModelConfig(bias=False)).bias
    assert network("1-3-3-1", template).activation == "tanh"  # its own, where nothing else is asked for


@pytest.mark.parametrize("experiment", ["function-fit", "image-fit"])
def test_networks_of_every_preset_fit_its_data(experiment):
    for config in find(experiment).presets.values():
        labels = counted_labels(config, config.data)
        assert len(labels) == len(config.networks)


def test_unequal_networks_are_refused_with_their_counts_unless_asked_for():
    config = override(find("function-fit").preset("quick"), {"networks": ["deep", "10-10"]})
    with pytest.raises(InputError, match=r"equal numbers of parameters within 0.02, found deep 571, 10-10 141"):
        counted_labels(config, config.data)
    free = override(config, {"tolerance": "None"})
    assert list(counted_labels(free, free.data)) == ["deep (571)", "10-10 (141)"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"networks": "dep"}, "networks must be widths .* found 'dep', did you mean 'deep'"),
        ({"networks": "10-"}, "networks must be widths .* found '10-'"),
        ({"networks": "8-16+32"}, "dense layers after \\+ for a cnn only"),
        ({"networks": "depth 4"}, "budget must be given for a network named by its depth"),
        ({"networks": "deep,deep"}, "networks must differ"),
        ({"networks": []}, "networks must"),
        ({"budget": 500}, "budget needs a network given by its depth"),
        ({"model.hidden": "10"}, "model.hidden must be left to `networks`"),
    ],
)
def test_words_that_name_no_network_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        override(find("function-fit").preset("quick"), change)


def test_a_template_of_another_family_gives_what_both_have():
    template = ModelConfig(kind="cnn", pool="average", head="average", dropout=0.1, activation="gelu")
    made = network("mlp 5", template)
    assert (made.kind, made.hidden, made.dropout, made.activation) == ("mlp", (5,), 0.1, "gelu")
    assert network("4", template).pool == "average"


def test_sizes_of_the_capacity_presets_ascend_and_are_at_least_ten():
    for name, config in find("capacity").presets.items():
        assert list(config.values) == sorted(set(config.values))
        assert name == "tiny" or len(config.values) >= 10

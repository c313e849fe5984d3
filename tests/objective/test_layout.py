"""Layouts against torch's own flattening; seeds that do not depend on company."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from thalweg.errors import InputError
from thalweg.objective import ParameterLayout, replica_seed
from thalweg.objective.planning import plan


def model():
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def test_ravel_is_parameters_to_vector_and_unravel_its_inverse():
    net = model()
    layout = ParameterLayout.of(net)
    theta = layout.ravel(dict(net.named_parameters()))
    assert torch.equal(theta, nn.utils.parameters_to_vector(net.parameters()))
    many = torch.randn(2, 5, layout.size)
    assert torch.equal(layout.ravel(layout.unravel(many)), many)
    assert torch.equal(many[..., layout.slices["2.bias"]], layout.unravel(many)["2.bias"])


def test_select_returns_the_indices_of_a_layer():
    layout = ParameterLayout.of(model())
    assert layout.select("2.*").tolist() == list(range(16, 26))
    assert layout.select(["2.bias", "0.bias"]).tolist() == [*range(12, 16), 24, 25]
    with pytest.raises(InputError, match=r"'2.biass' matches none, did you mean '2.bias'"):
        layout.select("2.biass")


def test_wrong_shapes_are_named():
    layout = ParameterLayout.of(nn.Linear(2, 1))
    with pytest.raises(InputError, match="'bias' is missing"):
        layout.ravel({"weight": torch.zeros(1, 2)})
    with pytest.raises(InputError, match=r"parameters\['weight'\] must end in shape \(1, 2\), found \(2, 1\)"):
        layout.ravel({"weight": torch.zeros(2, 1), "bias": torch.zeros(1)})
    with pytest.raises(InputError, match=r"found \(\)"):
        layout.unravel(torch.tensor(1.0))


def test_seeds_are_fixed_and_distinct():
    assert (
        replica_seed(0, 0, "init") == 6840261872783522198
    )  # SHA-256 of '0/0/init', first 63 bits: published numbers stay reproducible
    seeds = {replica_seed(s, r, p) for s in range(5) for r in range(50) for p in ("init", "order:0")}
    assert len(seeds) == 500


def test_plan_stays_within_memory():
    for replicas, samples, pair, each in [(100, 60_000, 500, 1000), (1, 10, 10**6, 0), (7, 5, 10, 10**8)]:
        cut = plan(replicas, samples, pair, each, 10**8)
        assert 1 <= cut.replicas <= replicas
        assert 1 <= cut.samples <= samples
        used = cut.replicas * (each + cut.samples * pair)
        assert used <= 10**8 or (cut.replicas == 1 and cut.samples == 1)

"""Layouts against torch's own flattening; seeds that do not depend on company."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.objective.plainly import CE, agrees, data, made
from thalweg import curvature
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


class Mixer(nn.Module):
    """Mixes frequencies by complex weights, kept as pairs of real numbers, at an odd place in θ."""

    def __init__(self) -> None:
        super().__init__()
        self.shift, self.weight, self.head = (
            nn.Parameter(torch.zeros(1)),
            nn.Parameter(torch.rand(4, 2)),
            nn.Linear(4, 3),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spectrum = torch.fft.fft(x) * torch.view_as_complex(self.weight)
        return self.head(torch.tanh(torch.fft.ifft(spectrum).real + self.shift))


def test_pairs_of_numbers_may_be_read_as_complex_ones() -> None:
    objective = agrees(made(Mixer), CE, data(), second=False)
    theta, v = objective.theta, torch.linspace(-1, 1, objective.size, dtype=torch.float64)
    ahead, behind = (objective.gradient(theta + step * v) for step in (1e-5, -1e-5))
    assert torch.allclose(objective.hvp(theta, v), (ahead - behind) / 2e-5, rtol=0, atol=1e-8)
    two = objective.hvp(torch.stack([theta, theta + v]), torch.stack([v, v]))
    assert torch.allclose(two[0], objective.hvp(theta, v), rtol=0, atol=1e-12)
    upper, lower = objective.outputs(torch.stack([theta + 1e-5 * v, theta - 1e-5 * v])).softmax(-1).sqrt()
    fisher = 4 * ((upper - lower) / 2e-5).square().sum(-1).mean()  # of softmax outputs it is the Gauss–Newton matrix
    assert torch.allclose(curvature.ggn_operator(objective, theta)(v) @ v, fisher, rtol=1e-6)


def test_parameters_share_memory_with_theta_where_they_lie_evenly() -> None:
    layout = ParameterLayout(("a", "b"), ((4,), (3, 2)))
    theta = torch.arange(20.0).reshape(2, 10)
    for name, value in layout.parameters(theta).items():
        assert torch.equal(value, layout.unravel(theta)[name])
        assert value.untyped_storage().data_ptr() == theta.untyped_storage().data_ptr()

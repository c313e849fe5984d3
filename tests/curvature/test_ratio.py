"""The minimal ratio at points whose Hessians are known, and on networks against dense decompositions."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from thalweg import curvature
from thalweg.curvature.ratio import minimal_ratio
from thalweg.errors import InputError
from thalweg.objective import Objective


def network(activation: nn.Module | None = None, samples: int = 64) -> Objective:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 6), activation or nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 1))
    x = torch.linspace(-1, 1, samples, dtype=torch.float64)[:, None]
    return Objective(model.double(), nn.MSELoss(), (x, torch.sin(5 * x)))


class Factor(nn.Module):
    """f = a·b: the loss (ab − 1)² has a saddle of index 1 at the origin and minima along ab = 1."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.b = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.a * self.b * x


def test_a_saddle_a_degenerate_valley_and_a_bad_replica_side_by_side() -> None:
    objective = Objective(Factor(), nn.MSELoss(), (torch.ones(4, 1).double(), torch.ones(4, 1).double()))
    theta = torch.tensor([[0.0, 0.0], [2.0, 0.5], [math.nan, 1.0]], dtype=torch.float64)
    found = minimal_ratio(objective, theta)
    assert found.status == ("counted", "counted", "nonfinite")
    assert found.positive.tolist() == [1, 1, 0]
    assert found.negative.tolist() == [1, 0, 0]
    assert found.undecided.tolist() == [0, 1, 0]  # along the valley ab = 1 the loss is constant
    assert found.ratio.tolist()[:2] == [0.5, 0.5]
    assert found.high.tolist()[:2] == [0.5, 1.0]
    assert math.isnan(float(found.ratio[2]))
    assert found.loss.tolist()[:2] == [1.0, 0.0]
    assert found.gradient_norm.tolist()[:2] == [0.0, 0.0]
    assert bool(found.flatness.isnan().all())  # no gradient, no direction
    assert found.norm.tolist()[:2] == pytest.approx([2.0, 8.5])


@pytest.mark.parametrize("method", ["eigvalsh", "ldl"])
def test_counts_agree_with_the_dense_hessian_and_never_flip_under_permutation(method: str) -> None:
    objective = network()
    theta = objective.initial(replicas=4, seed=3)
    found = minimal_ratio(objective, theta, method=method)
    assert found.method == method
    for seed in range(5):
        values = torch.linalg.eigvalsh(objective.permuted(100 + seed).hessian(theta))
        band = found.band[:, None]
        assert torch.equal((values > band).sum(-1), found.positive)
        assert torch.equal((values < -band).sum(-1), found.negative)
        assert bool(((values > 0).sum(-1) >= found.positive).all())
        assert bool(((values < 0).sum(-1) >= found.negative).all())
    value, gradient = objective.value_and_gradient(theta)
    torch.testing.assert_close(found.loss, value)
    torch.testing.assert_close(found.gradient_norm, gradient.norm(dim=-1))
    image = objective.hvp(theta, gradient).norm(dim=-1)
    exact = image / (gradient.norm(dim=-1) * torch.linalg.matrix_norm(objective.hessian(theta), 2))
    torch.testing.assert_close(found.flatness, exact, rtol=0.1 if method == "ldl" else 1e-9, atol=0)


def test_memory_decides_only_how_many_replicas_are_counted_at_once() -> None:
    objective = network()
    theta = objective.initial(replicas=5, seed=1)
    whole, pieces = minimal_ratio(objective, theta), minimal_ratio(objective, theta, memory=4 * 8 * objective.size**2)
    assert torch.equal(whole.positive, pieces.positive)
    assert whole.method == pieces.method == "eigvalsh"
    grid = minimal_ratio(objective, theta[:4].reshape(2, 2, -1))
    assert torch.equal(grid.positive, whole.positive[:4].reshape(2, 2))
    assert minimal_ratio(objective, theta[0]).ratio.shape == ()


def test_float32_objectives_are_counted_in_float64() -> None:
    objective = network()
    theta = objective.initial(seed=2)
    single = minimal_ratio(objective.to(dtype=torch.float32), theta.float())
    double = minimal_ratio(objective, theta.float().double())
    assert torch.equal(single.positive, double.positive)
    assert float(single.band) < 1e-10 * float(single.norm)


def test_too_large_a_hessian_is_estimated_and_labelled() -> None:
    objective = network()
    theta = objective.initial(replicas=2, seed=3)
    counted = minimal_ratio(objective, theta, minimum_band=1e-3)
    found = minimal_ratio(objective, theta, memory=1000, minimum_band=1e-3, probes=20, steps=40)
    assert found.method == "estimate"
    assert found.status == ("estimated", "estimated")
    assert bool(((found.low <= counted.ratio) & (counted.ratio <= found.high)).all())
    assert bool((found.high > found.low).all())
    torch.testing.assert_close(found.loss, counted.loss)
    torch.testing.assert_close(found.flatness, counted.flatness, rtol=0.1, atol=0)
    torch.testing.assert_close(found.positive + found.negative + found.undecided, torch.full((2,), 61.0).double())
    bad = minimal_ratio(objective, theta * math.nan, method="estimate", probes=2, steps=3)
    assert bad.status == ("nonfinite", "nonfinite")


def test_without_permutation_the_band_is_smaller_and_says_so() -> None:
    objective = network()
    theta = objective.initial(seed=0)
    with_, without = minimal_ratio(objective, theta), minimal_ratio(objective, theta, permute=False)
    assert math.isnan(float(without.permutation))
    assert float(without.band) == pytest.approx(float(without.rounding + without.asymmetry))
    assert float(with_.band) == pytest.approx(float(with_.rounding + with_.asymmetry + with_.permutation))
    assert float(with_.permutation) > 0.0


def test_relu_is_named() -> None:
    assert minimal_ratio(network(nn.ReLU()), network().theta).kinks == network(nn.ReLU()).kinks != ()
    assert minimal_ratio(network(), network().theta).kinks == ()


def test_bad_input() -> None:
    objective = network()
    with pytest.raises(InputError, match="method must be one of auto, eigvalsh, ldl, estimate, found 'qr'"):
        minimal_ratio(objective, objective.theta, method="qr")
    with pytest.raises(InputError, match=r"theta must have shape \(…, 61\)"):
        minimal_ratio(objective, torch.zeros(60))
    with pytest.raises(InputError, match=r"theta must hold at least one vector, found shape \(0, 61\)"):
        minimal_ratio(objective, torch.zeros(0, 61))
    with pytest.raises(InputError, match="memory must hold the dense Hessian"):
        minimal_ratio(objective, objective.theta, method="ldl", memory=1000)


def wide_stack() -> Objective:
    generator = torch.Generator().manual_seed(2)
    model = nn.Sequential(nn.Linear(20, 10), nn.Tanh(), nn.Linear(10, 9, bias=False), nn.Tanh(), nn.Linear(9, 5))
    data = torch.randn(50, 20, generator=generator), torch.randint(5, (50,), generator=generator)
    return Objective(model.double(), nn.CrossEntropyLoss(), (data[0].double(), data[1]))


def test_counting_in_the_memory_of_one_matrix_is_counting_with_all_of_them() -> None:
    target = wide_stack()
    theta = target.initial(3)
    found = curvature.minimal_ratio(target, theta)
    exact = curvature.exact_curvature(target, theta)
    other = curvature.exact_curvature(target.permuted(0), theta).matrix
    epsilon = target.epsilon(torch.float64)
    expected = curvature.count_signs(exact.matrix, permuted=other, epsilon=epsilon)
    assert found.method == expected.method == "ldl"
    for name in ("positive", "negative", "undecided", "norm"):
        assert torch.equal(getattr(found, name), getattr(expected, name))
    torch.testing.assert_close(found.permutation, (exact.matrix - other).flatten(1).norm(dim=1), rtol=1e-12, atol=0.0)
    torch.testing.assert_close(found.band, expected.band, rtol=1e-12, atol=0.0)
    values = torch.linalg.eigvalsh(exact.matrix)
    assert torch.equal(found.positive, (values > found.band[:, None]).sum(1))
    image = (exact.matrix @ exact.gradient[..., None])[..., 0].norm(dim=1)
    torch.testing.assert_close(found.flatness, image / (found.norm * exact.gradient.norm(dim=1)))


PEAK = """
import resource, sys, torch
from torch import nn
from thalweg.curvature import exact_curvature, minimal_ratio
from thalweg.objective import stack_blocks, stack_hessian
from thalweg.objective import Objective

stack_blocks.UNPACKED = stack_hessian.WORKING_SET = 2**20
torch.set_num_threads(1)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(280, 10), nn.Tanh(), nn.Linear(10, 10)).double()
target = Objective(model, nn.CrossEntropyLoss(), (torch.randn(40, 280).double(), torch.randint(10, (40,))))
minimal_ratio(target.subset(torch.arange(5)), target.theta, method="estimate", steps=5)  # what is loaded stays
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
minimal_ratio(target, target.theta, method="ldl")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / (8 * target.size**2))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kB on Linux")
def test_a_count_takes_the_memory_of_one_matrix_and_a_half() -> None:
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed goes back at once
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True, env=environment)
    assert float(done.stdout) < 1.6

"""Estimates on samples that were drawn: their errors cover, and nothing but the samples is read."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from scipy.stats import t as student
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from thalweg import InputError, Objective, curvature, generalization
from thalweg.objective import OnDemand
from thalweg.objective.drawing import Draw, numbers

LEVEL = float(student.ppf(0.975, 7))  # eight subsets


class Counted(Dataset):
    """Random regression data that know which samples were read."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.read: set[int] = set()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        self.read.add(index)
        drawn = torch.randn(4, generator=torch.Generator().manual_seed(index), dtype=torch.float64)
        return drawn[:3], drawn[3:]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1)).double()


@pytest.fixture(scope="module")
def objective() -> Objective:
    torch.manual_seed(1)
    x = torch.randn(1000, 3).double()
    return Objective(network(), nn.MSELoss(), (x, x[:, :1] ** 2 + torch.randn(1000, 1).double()))


SEEDS = range(12)


def covered(hits: list[bool]) -> bool:
    """About 95 % of 12 seeds: fewer than 9 are one run in five hundred."""
    return sum(hits) >= 9


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("uneven", [False, True])
def test_the_error_over_subsets_covers_95_percent(noise: float, uneven: bool) -> None:
    """Of the mean over 1,000 samples, from 400 of them in eight parts, each known but for some noise of its own."""
    source = torch.Generator().manual_seed(0)
    counts = torch.randint(1, 9, (1000,), generator=source).double() if uneven else torch.ones(1000).double()
    values = torch.randn(1000, generator=source, dtype=torch.float64).exp() * counts
    exact = float(values.sum() / counts.sum())
    hits = []
    for seed in range(2000):
        parts = numbers(1000, 400, seed).reshape(8, 50)
        weights = counts[parts].sum(1)
        own = noise * torch.ones(8).double()
        found = values[parts].sum(1) / weights + own * torch.randn(8, generator=source, dtype=torch.float64)
        drawing = Draw(cast(Objective, None), (cast(Objective, None),) * 8, weights / weights.sum(), 0.4)
        mean, probes, sampling = drawing.pooled(found, own)
        hits.append(abs(float(mean) - exact) <= LEVEL * float(torch.hypot(probes, sampling)))
    assert 0.93 <= sum(hits) / len(hits) <= 0.985


@pytest.mark.parametrize("method", ["hutchinson", "xtrace"])
def test_the_errors_of_a_trace_cover_the_exact_one(objective: Objective, method: str) -> None:
    exact = float(torch.trace(objective.hessian(objective.theta)))
    found = [curvature.trace(objective, method=method, products=8, samples=400, seed=seed) for seed in SEEDS]
    assert covered([abs(e.value - exact) <= LEVEL * (e.standard_error**2 + e.sampling_error**2) ** 0.5 for e in found])
    assert {(e.samples, e.products) for e in found} == {(400, 64)}


def test_the_error_by_samples_is_zero_where_all_were_drawn(objective: Objective) -> None:
    found = curvature.trace(objective, products=objective.size, samples=1000)
    assert found.value == pytest.approx(float(torch.trace(objective.hessian(objective.theta))), rel=1e-12)
    assert found.standard_error == found.sampling_error == 0.0


def test_the_two_errors_are_told_apart(objective: Objective) -> None:
    """Exact products leave the error by samples alone; many samples and few products leave the other."""
    exact = curvature.trace(objective, products=objective.size, samples=100)
    rough = curvature.trace(objective, method="hutchinson", products=4, samples=1000)
    assert exact.standard_error == 0.0 < exact.sampling_error
    assert rough.sampling_error == 0.0 < rough.standard_error


def test_the_errors_of_a_diagonal_cover_the_exact_one(objective: Objective) -> None:
    exact = objective.hessian(objective.theta).diagonal()
    hits = []
    for seed in range(5):
        found = curvature.diagonal(objective, products=10, samples=400, seed=seed)
        assert found.sampling_errors is not None
        both = torch.hypot(found.standard_errors, found.sampling_errors)
        hits.append(((found.values - exact).abs() <= LEVEL * both).double().mean())
    assert float(torch.stack(hits).mean()) >= 0.9


def test_the_largest_eigenvalue_of_a_sample_is_too_large_by_its_bias(objective: Objective) -> None:
    exact = float(torch.linalg.eigvalsh(objective.hessian(objective.theta))[-1])
    found = [curvature.eigenpairs(objective, samples=160, seed=seed, check=False) for seed in SEEDS]
    values, errors, biases = (
        torch.tensor([float(getattr(e, name)[0]) for e in found]) for name in ("values", "sampling_errors", "biases")
    )
    assert values.mean() > exact
    assert biases.mean() > 0
    assert abs(float((values - biases).mean()) - exact) < float(values.mean()) - exact
    assert covered(((values - biases - exact).abs() <= LEVEL * errors).tolist())


def test_the_sensitivity_of_a_sample_covers_that_of_all(objective: Objective) -> None:
    exact = float(generalization.sensitivity(objective, objective.theta).mean)
    found = [generalization.sensitivity(objective, objective.theta, samples=300, seed=seed) for seed in SEEDS]
    assert covered([abs(float(e.mean) - exact) <= 1.97 * float(e.standard_error) for e in found])
    whole = generalization.sensitivity(objective, objective.theta, samples=1000)
    assert float(whole.standard_error) == 0.0
    assert float(whole.mean) == pytest.approx(exact)


def test_operators_of_blocks_and_other_matrices_are_drawn_from_too(objective: Objective) -> None:
    theta = objective.theta
    for operator, exact in (
        (curvature.hessian_operator(objective, theta, "0.*"), curvature.hessian(objective, theta, parameters="0.*")),
        (curvature.ggn_operator(objective, theta), curvature.ggn(objective, theta)),
        (curvature.fisher_operator(objective, theta), curvature.fisher(objective, theta)),
    ):
        found = curvature.trace(operator, products=len(exact), samples=1000)
        assert found.value == pytest.approx(float(torch.trace(exact)), rel=1e-10)


def test_padding_weighs_subsets_by_the_targets_that_count() -> None:
    """Else samples with few targets would count as much as others."""
    torch.manual_seed(0)
    target = torch.randint(0, 3, (600, 4))
    target[torch.rand(600, 4) < torch.rand(600, 1)] = -100
    x = torch.randn(600, 2, 4).double() * (1 + (target == -100).sum(1)[:, None, None])
    objective = Objective(nn.Conv1d(2, 3, 1).double(), nn.CrossEntropyLoss(), (x, target))
    exact = float(torch.trace(objective.hessian(objective.theta)))
    all_of_them = curvature.trace(objective, products=objective.size, samples=600)
    assert all_of_them.value == pytest.approx(exact, rel=1e-10)
    found = [curvature.trace(objective, products=objective.size, samples=200, seed=seed) for seed in SEEDS]
    assert covered([abs(e.value - exact) <= LEVEL * e.sampling_error for e in found])


def test_a_loss_that_weighs_classes_is_refused() -> None:
    data = torch.randn(64, 3), torch.randint(0, 2, (64,))
    objective = Objective(nn.Linear(3, 2), nn.CrossEntropyLoss(weight=torch.tensor([1.0, 3.0])), data)
    with pytest.raises(InputError, match="loss that is the mean over samples"):
        curvature.trace(objective, samples=32)


@pytest.mark.parametrize("loader", [False, True])
def test_only_the_samples_that_are_drawn_are_read(loader: bool) -> None:
    data = Counted(10**8)
    given = OnDemand(DataLoader(data, batch_size=32, shuffle=False) if loader else data)
    objective = Objective(network(), nn.MSELoss(), given)
    before = len(data.read)
    assert before < 100
    assert objective.samples == 10**8
    found = curvature.trace(objective, products=6, samples=160)
    assert len(data.read) <= before + 160
    assert found.sampling_error > 0
    curvature.eigenpairs(curvature.hessian_operator(objective, objective.theta), samples=80)
    generalization.sensitivity(objective, objective.theta, samples=40)
    objective.subset([5, 10**7]).value(objective.theta)
    assert len(data.read) <= before + 160 + 80 + 40 + 2


def test_data_on_demand_are_the_data() -> None:
    data = Counted(300)
    lazy, held = Objective(network(), nn.MSELoss(), OnDemand(data)), Objective(network(), nn.MSELoss(), data)
    theta = held.theta
    torch.testing.assert_close(lazy.value_and_gradient(theta), held.value_and_gradient(theta))
    torch.testing.assert_close(lazy.hessian(theta), held.hessian(theta))
    torch.testing.assert_close(lazy.subset([3, 299]).value(theta), held.subset([3, 299]).value(theta))


class Stream(IterableDataset):
    def __iter__(self):
        yield from range(3)


def test_what_cannot_be_drawn_from_is_said(objective: Objective) -> None:
    with pytest.raises(InputError, match=r"samples must be from 1 to the 1,000 of the data, found 1001"):
        curvature.trace(objective, samples=1001)
    with pytest.raises(InputError, match=r"samples must be from 1 .* found 0"):
        curvature.eigenpairs(objective, samples=0)
    with pytest.raises(InputError, match=r"samples must be at least the number of subsets, 8, found 5"):
        curvature.trace(objective, samples=5)
    with pytest.raises(InputError, match=r"subsets must be at least 2"):
        curvature.trace(objective, samples=5, subsets=1)
    with pytest.raises(InputError, match=r"samples needs the operator of an objective"):
        curvature.trace(torch.eye(9), samples=5)
    with pytest.raises(InputError, match=r"data must have a length and give samples by number"):
        OnDemand(Stream())
    batches = [objective.batches.first(8)] * 3
    handed = Objective(network(), nn.MSELoss(), batches)
    with pytest.raises(InputError, match=r"found batches that were handed over"):
        curvature.trace(handed, samples=16)
    with pytest.raises(InputError, match=r"data must be held in memory"):
        Objective(network(), nn.MSELoss(), OnDemand(Counted(99)), batchnorm="frozen").permuted()

"""Linear networks, whose critical points are known: Baldi & Hornik (1989), and what follows for other targets."""

from __future__ import annotations

import pytest
import torch

from tests.critical.cases import linear, product, rotation, subset_index
from thalweg.critical import Status, as_problem, certify, follow, search
from thalweg.objective import Objective

UNITS = 4
REACHED = (Status.MINIMUM, Status.SADDLE, Status.DEGENERATE)


def autoencoder(size: int) -> tuple[Objective, torch.Tensor, torch.Tensor]:
    """A linear autoencoder, the eigenvalues of its data's covariance (exactly these) and their vectors."""
    strengths = torch.linspace(1.0, 0.1, size, dtype=torch.float64)
    vectors = rotation(size, 1)
    x = size**0.5 * rotation(size, 2) @ torch.diag(strengths.sqrt()) @ vectors.mT
    return linear(size, UNITS, size, target=x, inputs=x), strengths, vectors


def check_autoencoder(size: int, index: int, seed: int, replicas: int) -> None:
    objective, strengths, vectors = autoencoder(size)
    starts = 2 * objective.initial(replicas, seed=seed)
    points = search(objective, starts, "follow", index=index)
    computed = vectors.mT @ product(objective, points.theta) @ vectors
    reached = [r for r, status in enumerate(points.status) if status in REACHED]
    assert len(reached) >= 0.95 * replicas
    for r in reached:
        kept = (computed[r].diagonal() > 0.5).nonzero()[:, 0].tolist()
        projection = torch.zeros(size, size, dtype=torch.float64)
        projection[kept, kept] = 1.0
        assert float((computed[r] - projection).abs().max()) < 1e-8
        assert int(points.certificate.negative[r]) == subset_index(kept, strengths, UNITS)
        # A point of rank r uses only r of the k units: its orbit is smaller.
        assert int(points.certificate.symmetric[r]) == UNITS**2 - (UNITS - len(kept)) ** 2


@pytest.mark.parametrize("index", range(5))
def test_autoencoder(index):
    check_autoencoder(8, index, seed=10 + index, replicas=6)


@pytest.mark.slow
@pytest.mark.parametrize("size", [8, 12, 16])
@pytest.mark.parametrize("index", range(5))
def test_autoencoders_on_fresh_seeds(size, index):
    check_autoencoder(size, index, seed=100 + index, replicas=60 if size == 8 else 20)


@pytest.mark.parametrize("kept", [(), (0,), (2, 5), (1, 2, 7), (0, 1, 2), (0, 3, 5, 6)])
def test_every_subset_is_critical_with_its_index(kept):
    """Low rank included: unused units stay at zero."""
    size = 8
    objective, strengths, vectors = autoencoder(size)
    first, second = torch.zeros(UNITS, size).double(), torch.zeros(size, UNITS).double()
    for unit, component in enumerate(kept):
        first[unit], second[:, unit] = vectors[:, component], vectors[:, component]
    theta = objective.layout.ravel({"0.weight": first[None], "1.weight": second[None]})
    found = certify(as_problem(objective), theta)
    certificate = found.certificate
    assert float(certificate.gradient[0]) < 1e-14
    assert int(certificate.negative[0]) == subset_index(list(kept), strengths, UNITS)
    unused, rank = UNITS - len(kept), len(kept)
    assert int(certificate.undecided[0]) == 0 or unused > 0
    # With unused units and rank r, no mode but the orbit's is flat; the certificate says if that is decided.
    assert int(certificate.symmetric[0]) == UNITS**2 - unused**2
    assert int(certificate.positive[0] + certificate.negative[0] + certificate.undecided[0]) == (
        objective.size - UNITS**2 + unused**2
    )
    assert found.status[0] is (Status.SADDLE if kept != (0, 1, 2, 3) else Status.MINIMUM)
    assert found.kind == (("constant predictor",) if not rank else ("low-rank",) if unused else ("generic",))


@pytest.mark.parametrize("index", [0, 1, 2])
def test_matrix_factorisation(index):
    """‖W₂W₁ − M‖²: the product keeps some singular triples of M, at their full size."""
    left, right = rotation(6, 3), rotation(5, 4)
    sizes = torch.tensor([3.0, 2.2, 1.5, 0.8, 0.4]).double()
    target = left[:, :5] @ torch.diag(sizes) @ right.mT
    objective = linear(5, 3, 6, target=target.mT, inputs=torch.eye(5).double())
    points = search(objective, 2 * objective.initial(6, seed=index), "follow", index=index)
    rotated = left.mT @ product(objective, points.theta) @ right
    for r, status in enumerate(points.status):
        assert status in (Status.MINIMUM, Status.SADDLE)
        kept = (rotated[r].diagonal() > 0.5 * sizes).nonzero()[:, 0].tolist()
        expected = torch.zeros(6, 5).double()
        expected[kept, kept] = sizes[kept]
        assert float((rotated[r] - expected).abs().max()) < 1e-8
        assert int(points.certificate.negative[r]) == subset_index(kept, sizes, 3) == index


def test_matrix_factorisation_with_decay():
    """The penalty shrinks every kept singular value by l2·nm/2, and only rotations of the units are left (O(2))."""
    left, right = rotation(4, 3), rotation(4, 4)
    sizes, decay = torch.tensor([3.0, 2.2, 1.5, 0.8]).double(), 0.02
    target = left @ torch.diag(sizes) @ right.mT
    objective = linear(4, 2, 4, target=target.mT, inputs=torch.eye(4).double(), l2=decay)
    points = search(objective, objective.initial(8, seed=2), "minimise")
    shrunk = torch.diag(torch.where(torch.arange(4) < 2, sizes - decay * 16 / 2, 0.0))
    for r, matrix in enumerate(left.mT @ product(objective, points.theta) @ right):
        assert points.status[r] is Status.MINIMUM
        assert float((matrix - shrunk).abs().max()) < 1e-8
        assert int(points.certificate.symmetric[r]) == 1


@pytest.mark.parametrize("index", [0, 1])
def test_deep_linear_network(index):
    left, right = rotation(4, 5), rotation(4, 6)
    sizes = torch.tensor([3.0, 2.2, 1.5, 0.8]).double()
    target = left @ torch.diag(sizes) @ right.mT
    objective = linear(4, 3, 3, 4, target=target.mT, inputs=torch.eye(4).double())
    points = search(objective, 2 * objective.initial(10, seed=index), "follow", index=index)
    rotated = left.mT @ product(objective, points.theta) @ right
    decided = 0
    for r, status in enumerate(points.status):
        if status not in REACHED:
            continue
        kept = (rotated[r].diagonal() > 0.5 * sizes).nonzero()[:, 0].tolist()
        expected = torch.diag(torch.where(torch.tensor([i in kept for i in range(4)]), sizes, 0.0))
        assert float((rotated[r] - expected).abs().max()) < (1e-8 if status is not Status.DEGENERATE else 1e-3)
        if status is not Status.DEGENERATE:
            decided += 1
            assert int(points.certificate.negative[r]) == subset_index(kept, sizes, 3)
    assert decided >= 6  # zero wrong is the promise; the others end near points of lower rank, and say so


def test_deep_linear_network_at_zero_is_degenerate():
    """Three factors: the Hessian vanishes at the origin, which is no minimum though nothing second-order says so."""
    objective = linear(3, 2, 2, 3, target=torch.eye(3).double(), inputs=torch.eye(3).double())
    points = certify(as_problem(objective), torch.zeros(1, objective.size).double())
    assert points.status == (Status.DEGENERATE,)
    assert int(points.certificate.undecided[0]) == objective.size
    assert points.minimal_ratio.tolist() == [0.0]


def test_natural_index_never_rises():
    objective, strengths, _ = autoencoder(8)
    assert bool((strengths.diff() < 0).all())
    problem = as_problem(objective)
    starts = objective.initial(5, seed=3)
    begin = torch.full((5,), 6)
    found = follow(problem, starts, begin, natural=True)
    assert bool((found.index <= begin).all())
    points = certify(problem, found)
    for r, status in enumerate(points.status):
        assert status is not Status.SADDLE or int(points.certificate.negative[r]) <= 6

"""Success rates on fresh seeds; `benchmarks/critical.py` prints the same table."""

from __future__ import annotations

import pytest
import torch

from tests.critical.cases import sinc
from thalweg.critical import (
    CriticalPoints,
    ObjectiveProblem,
    Status,
    certify,
    embed,
    follow_again,
    minimise,
    subnetwork,
)

SEED = 2024


def right(points: CriticalPoints, index: int) -> float:
    """Share of points that are critical and certified with this index."""
    good = [
        status in (Status.MINIMUM, Status.SADDLE) and int(points.certificate.negative[r]) == index
        for r, status in enumerate(points.status)
    ]
    return sum(good) / len(good)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hidden", "l2", "replicas", "least"),
    [
        ((4, 4), 1e-3, 100, 0.98),
        ((4, 4), 1e-4, 100, 0.98),
        ((4, 4), 1e-5, 100, 0.98),
        ((10, 10), 1e-4, 40, 0.95),
        ((10, 10), 1e-5, 40, 0.95),
    ],
)
def test_minima(hidden, l2, replicas, least):
    problem = ObjectiveProblem(sinc(*hidden, l2=l2))
    points = certify(problem, minimise(problem, problem.objective.initial(replicas, seed=SEED)))
    assert right(points, 0) >= least


@pytest.mark.slow
@pytest.mark.parametrize(("l2", "least"), [(1e-3, 0.9), (1e-4, 0.6)])
@pytest.mark.parametrize("index", [1, 2])
def test_prescribed_index(l2, least, index):
    problem = ObjectiveProblem(sinc(4, 4, l2=l2))
    points = certify(problem, follow_again(problem, problem.objective.initial(40, seed=SEED), index))
    assert right(points, index) >= least


@pytest.mark.slow
@pytest.mark.parametrize("l2", [1e-3, 1e-4])
def test_embedded_saddles(l2):
    wide = sinc(4, 4, l2=l2)
    found = []
    for hidden in ((1, 1), (2, 2), (3, 3), (2, 4), (4, 2)):
        narrow = subnetwork(wide, hidden)
        problem = ObjectiveProblem(narrow)
        minima = minimise(problem, narrow.initial(12, seed=SEED))
        found.append(embed(narrow, wide, minima.theta))
    points = certify(ObjectiveProblem(wide), torch.cat(found), kind="embedded")
    assert float((points.certificate.gradient <= 1e-10).double().mean()) >= 0.98
    certified = [status in (Status.SADDLE, Status.MINIMUM) for status in points.status]
    assert sum(certified) >= 0.9 * len(certified)

"""Every long call of curvature and generalisation says how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from thalweg import Objective, critical, curvature, generalization, landscape, progress


@pytest.fixture(scope="module")
def objective() -> Objective:
    torch.manual_seed(0)
    data = torch.randn(40, 3), torch.randint(0, 2, (40,))
    return Objective(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), nn.CrossEntropyLoss(), data).double()


@pytest.fixture(scope="module")
def general(objective: Objective) -> Objective:
    """The same without closed formulas."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.LayerNorm(4), nn.Linear(4, 2))
    return Objective(model, nn.CrossEntropyLoss(), objective.batches.held[0]).double()


CALLS: dict[str, Callable[[Objective, Objective], object]] = {
    "eigenpairs of the Hessian, products": lambda o, _: curvature.eigenpairs(o),
    "spectral density of the Hessian, products": lambda o, _: curvature.spectral_density(o, probes=2, steps=5),
    "trace of the Hessian, products": lambda o, _: curvature.trace(o, products=12),
    "diagonal of the Hessian, products": lambda o, _: curvature.diagonal(o, products=12),
    "Hessian, rows": lambda _, g: g.hessian(g.theta),
    "hessian of a stack, samples": lambda o, _: o.hessian(o.theta),
    "fisher matrix, rows": lambda _, g: curvature.fisher(g, g.theta),
    "largest eigenvalues, points": lambda o, _: curvature.leading_eigenvalues(o, o.initial(3)),
    "signs of the Hessian": lambda o, _: curvature.minimal_ratio(o, o.initial(3), memory=3 * 8 * o.size**2),
    "signs by factors, matrices": lambda o, _: curvature.inertia(o.hessian(o.initial(3)), 1e-9, method="ldl"),
    "neighbours": lambda o, _: curvature.neighbour_ratio(o, o.theta, [0.1], samples=20),
    "subsets": lambda o, _: curvature.over_subsets(o, lambda part: part.value(part.theta), 10, subsets=4),
    "certificates": lambda o, _: critical.certify(critical.ObjectiveProblem(o), o.initial(3)),
    "weight decays": lambda o, _: critical.continue_in_decay(o, o.initial(2), [0.1, 0.2], steps=3),
    "sensitivity, points": lambda o, _: generalization.sensitivity(o, o.initial(3)),
    "sensitivity, samples": lambda o, _: generalization.sensitivity(o, o.theta),
    "sharpness, points": lambda o, _: generalization.hessian_sharpness(o, o.initial(3), trace_products=6),
    "sharpness in a box, iterations": lambda o, _: generalization.keskar_sharpness(o, o.theta),
    "sharpness in a ball, steps": lambda o, _: generalization.sam_sharpness(o, o.theta),
    "average sharpness, pieces": lambda o, _: generalization.average_sharpness(o, o.theta, memory=16 * o.size * 10),
    "aligning units, pairs": lambda o, _: landscape.align(o, o.initial(2, seed=1), o.initial(2, seed=2)),
    "along the path": lambda o, _: landscape.interpolate(o, o.initial(seed=1), o.initial(seed=2)),
}


@pytest.mark.parametrize("label", CALLS)
def test_a_long_call_says_how_far_it_is(
    label: str, objective: Objective, general: Objective, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, list[float]] = {}
    totals: dict[str, float | None] = {}

    @contextmanager
    def watch(work: progress._Work) -> Iterator[progress.Advance]:
        totals[work.label] = work.total
        yield seen.setdefault(work.label, []).append

    monkeypatch.setattr(progress, "_watcher", watch)
    CALLS[label](objective, general)
    counts, total = seen[label], totals[label]
    assert counts == sorted(counts)
    assert total is not None
    assert 0 < counts[-1] <= total
    if "eigenpairs" not in label and "box" not in label:  # whose totals are limits
        assert counts[-1] == total


def test_a_pass_in_pieces_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """In whatever pieces the memory allows."""
    data = [(torch.randn(4, 3), torch.randn(4, 1)) for _ in range(5)]
    objective = Objective(nn.Linear(3, 1), nn.MSELoss(), data)
    counts: list[float] = []

    @contextmanager
    def watch(work: progress._Work) -> Iterator[progress.Advance]:
        assert work.label == "pass over the data, samples"
        assert work.total == 20
        yield counts.append

    monkeypatch.setattr(progress, "_watcher", watch)
    objective.gradient(objective.theta)
    assert counts == [4, 8, 12, 16, 20]

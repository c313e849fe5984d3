"""The probable bounds against spectra that are known."""

from __future__ import annotations

import torch

from thalweg.curvature.bounds import Probe, probable_maximum
from thalweg.curvature.krylov import Subspace
from thalweg.curvature.operator import Operator


def subspace(values: torch.Tensor, steps: int, seed: int) -> Subspace:
    space = Subspace(Operator.dense(torch.diag(values)), len(values), torch.Generator().manual_seed(seed))
    for _ in range(steps):
        if space.size == 0:
            space.expand_randomly()
        else:
            space.expand(space.couplings[:, space.size - 1])
    return space


def test_the_bound_is_wrong_as_often_as_said() -> None:
    # One eigenvalue 1 among zeros: after one step the bound is wrong just when the start vector misses it by bad luck.
    values = torch.nn.functional.one_hot(torch.tensor(7), 60).double()
    wrong, trials, risk = 0, 1500, 0.1
    for seed in range(trials):
        space = subspace(values, 1, seed)
        wrong += probable_maximum(space.projected[:1, 0], space.couplings[:, 0].norm().reshape(1), 60, risk) < 1.0
    deviation = (trials * risk * (1 - risk)) ** 0.5
    assert abs(wrong - trials * risk) < 4 * deviation


def test_it_tightens_to_the_largest_eigenvalue() -> None:
    values = torch.cat([torch.linspace(0, 1, 60, dtype=torch.float64), torch.tensor([2.0], dtype=torch.float64)])
    space = subspace(values, 25, 0)
    betas = torch.stack([space.couplings[:, 24].norm()])
    projected = space.projected[:25, :25]
    bound = probable_maximum(projected.diagonal(), torch.cat([projected.diagonal(1).abs(), betas]), 61)
    assert 2.0 <= bound < 2.0 + 1e-6


def test_a_probe_finds_the_second_copy_and_then_excludes_a_third() -> None:
    values = torch.cat([torch.linspace(0, 1, 60, dtype=torch.float64), torch.tensor([2.0, 2.0], dtype=torch.float64)])
    space = subspace(values, 25, 0)
    space.restart(space.ritz(), torch.tensor([24]))
    probe = Probe(space)
    for _ in range(25):
        probe.step(space)
    assert probe.reach(space, 1.5, 1) >= 2.0
    assert (space.ritz().values > 2 - 1e-9).sum() == 2
    space.restart(space.ritz(), torch.tensor([space.size - 2, space.size - 1]))
    probe = Probe(space)
    for _ in range(25):
        probe.step(space)
    assert 1.0 <= probe.reach(space, 0.5, 1) < 1.1
    assert -0.1 < -probe.reach(space, -0.5, -1) <= 0.0

"""The invariant of the subspace, after steps of every kind."""

from __future__ import annotations

import pytest
import torch

from thalweg.curvature.krylov import Subspace
from thalweg.curvature.operator import Operator


def check_invariant(space: Subspace, matrix: torch.Tensor) -> None:
    m = space.size
    basis, frontier = space.basis[:m], space.frontier
    product = basis @ matrix
    rebuilt = space.projected[:m, :m] @ basis + space.couplings[:, :m].mT @ frontier
    torch.testing.assert_close(product, rebuilt, rtol=0, atol=1e-11)
    both = torch.cat([basis, frontier])
    torch.testing.assert_close(both @ both.mT, torch.eye(len(both), dtype=both.dtype), rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_every_step_keeps_the_invariant(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(40, 40, generator=generator, dtype=torch.float64)
    matrix = a + a.mT
    space = Subspace(Operator.dense(matrix), 30, generator)
    space.start(torch.randn(2, 40, generator=generator, dtype=torch.float64))
    for step in range(60):
        draw = int(torch.randint(10, (1,), generator=generator))
        if space.size >= 25:
            ritz = space.ritz()
            space.restart(ritz, torch.randperm(space.size, generator=generator)[:8])
        elif draw == 0 or len(space.frontier) == 0:
            space.expand_randomly()
        elif draw < 4 and space.size:
            space.expand(space.ritz().couplings[:, -1])
        else:
            space.expand(torch.randn(len(space.frontier), generator=generator, dtype=torch.float64))
        check_invariant(space, matrix)
        assert space.asymmetry < 1e-11, step
    ritz = space.ritz()
    vectors = space.vectors(ritz.coefficients)
    true = torch.linalg.vector_norm(vectors @ matrix - ritz.values[:, None] * vectors, dim=-1)
    torch.testing.assert_close(ritz.residuals, true, rtol=0, atol=1e-11)


def test_an_invariant_subspace_empties_the_frontier_and_the_whole_space_completes() -> None:
    matrix = torch.diag(torch.tensor([1.0, 1.0, 2.0, 2.0, 2.0], dtype=torch.float64))
    space = Subspace(Operator.dense(matrix), 5, torch.Generator().manual_seed(0))
    space.expand_randomly()
    space.expand(space.couplings[:, 0])
    assert len(space.frontier) == 0  # one vector of each of the two eigenspaces
    while not space.complete:
        space.expand_randomly()
        check_invariant(space, matrix)
    assert space.ritz().values.tolist() == pytest.approx([1, 1, 2, 2, 2])
    assert space.ritz().residuals.max() < 1e-14

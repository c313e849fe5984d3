"""Matrix-free Gauss–Newton, Fisher and Hessian products: equal to the dense matrices, linear, within their memory."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from tests import reference
from tests.cases import CASES, MSE, Case, Residual, vectors
from thalweg.curvature.exact import exact_curvature
from thalweg.curvature.gauss_newton import fisher_operator, fisher_products, ggn_operator, ggn_products
from thalweg.errors import InputError
from thalweg.objective import Objective

PRODUCTS = {"ggn": ggn_products, "fisher": fisher_products}
OPERATORS = {"ggn": ggn_operator, "fisher": fisher_operator}


@pytest.fixture(params=[case for case in CASES.values() if case.plain], ids=[n for n, c in CASES.items() if c.plain])
def case(request) -> Case:
    return request.param


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-12) -> bool:
    return float((found - expected).abs().max()) <= tolerance * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("kind", ["ggn", "fisher"])
@pytest.mark.parametrize("retain", [True, False])
def test_products_equal_the_matrix(case, kind, retain):
    objective = case.build()
    theta = objective.theta + 0.3 * torch.randn(2, objective.size, dtype=torch.float64)
    product = PRODUCTS[kind](objective, theta, retain=retain)
    v = torch.randn(3, 2, objective.size, dtype=torch.float64)
    slow = {"ggn": reference.ggn, "fisher": reference.fisher}[kind]
    expected = torch.stack([slow(objective, one) for one in theta])
    assert close(product(v), torch.einsum("rij,krj->kri", expected, v))
    assert close(product(v[0]), torch.einsum("rij,rj->ri", expected, v[0]))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("retain", [True, False])
def test_hessian_products_equal_the_matrix(name, retain):
    objective = CASES[name].build()
    theta = objective.theta + 0.3 * torch.randn(2, objective.size, dtype=torch.float64)
    expected = torch.stack([reference.hessian(objective, one) for one in theta])
    v = torch.randn(3, 2, objective.size, dtype=torch.float64)
    product = objective.products(theta, retain=retain)
    for _ in range(2):  # a kept graph serves again
        assert close(product(v), torch.einsum("rij,krj->kri", expected, v))
    assert close(objective.hvp(theta[0], v[:, 0]), v[:, 0] @ expected[0])


def test_products_of_a_bad_replica_stay_alone():
    objective = CASES["mlp-ce"].build()
    theta = objective.theta + 0.3 * torch.randn(3, objective.size, dtype=torch.float64)
    v = torch.randn(3, objective.size, dtype=torch.float64)
    expected = objective.hvp(theta, v)
    theta[1] = torch.nan
    found = objective.hvp(theta, v)
    assert close(found[[0, 2]], expected[[0, 2]])
    assert bool(found[1].isnan().any())


@pytest.mark.parametrize("kind", ["ggn", "fisher"])
@pytest.mark.parametrize("name", ["mlp-ce", "attention"])
def test_operators_whole_and_by_layer(kind, name):
    objective = CASES[name].build()
    theta = objective.theta
    whole = exact_curvature(objective, theta, kind=kind).matrix
    assert close(OPERATORS[kind](objective, theta).to_dense(), whole)
    glob = objective.layout.names[0]
    index = objective.layout.select(glob)
    operator = OPERATORS[kind](objective, theta, glob)
    assert close(operator.to_dense(), whole[index][:, index])
    vector = torch.randn(len(index), dtype=torch.float64)
    assert close(torch.from_numpy(operator.to_scipy() @ vector.numpy()), whole[index][:, index] @ vector)


@pytest.mark.parametrize("name", ["mlp-ce", "residual", "attention"])
def test_products_do_not_depend_on_the_length_of_the_vector(name):
    objective = CASES[name].build()
    theta = objective.theta
    v = torch.randn(objective.size, dtype=torch.float64)
    for product in (objective.products(theta), ggn_products(objective, theta), fisher_products(objective, theta)):
        one = product(v)
        for scale in (1e-150, 1e-8, 1e8, 1e150):  # finite differences would lose all digits
            assert close(product(scale * v) / scale, one, 1e-14)


def test_gauss_newton_matrix_has_no_negative_direction():
    objective = CASES["residual"].build()
    theta = objective.theta
    dense = ggn_operator(objective, theta).to_dense()
    assert float(torch.linalg.eigvalsh(dense)[0]) > -1e-14
    assert float(torch.linalg.eigvalsh(objective.hessian(theta))[0]) < -1e-3


class Live(TorchDispatchMode):
    """Counts the largest number of bytes that tensors made inside hold at once; views of known tensors hold none."""

    def __init__(self, known: list[Tensor]):
        super().__init__()
        self.known = {tensor.untyped_storage()._cdata for tensor in known}
        self.alive: dict[int, int] = {}
        self.peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for leaf in torch.utils._pytree.tree_leaves(out):
            if isinstance(leaf, Tensor):
                storage = leaf.untyped_storage()
                key = storage._cdata
                if key not in self.alive and key not in self.known:
                    self.alive[key] = storage.nbytes()
                    weakref.finalize(storage, self.alive.pop, key, None)
        self.peak = max(self.peak, sum(self.alive.values()))
        return out


def peak(call: Callable[[], object], known: list[Tensor]) -> int:
    with Live(known) as live:
        call()
    return live.peak


def once(products: Callable, objective: Objective) -> Tensor:
    return products(objective, objective.theta)(torch.ones(objective.size, dtype=torch.float64))


@pytest.mark.parametrize("kind", ["hessian", "ggn", "fisher"])
@pytest.mark.parametrize("model", [Residual, lambda: nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))])
def test_peak_memory_does_not_grow_with_the_data(kind, model):
    torch.manual_seed(0)
    module = model().double()
    peaks = []
    for samples in (2_000, 16_000):
        data = vectors(samples, 3, 2)
        objective = Objective(module, MSE, data, memory=300_000)
        peaks.append(peak(partial(once, PRODUCTS.get(kind, Objective.products), objective), list(data)))
    assert peaks[0] < 600_000
    assert peaks[1] < 1.3 * peaks[0]


def test_vectors_and_globs_are_checked():
    objective = CASES["mlp-mse"].build()
    with pytest.raises(InputError, match="v must"):
        ggn_products(objective, objective.theta)(torch.zeros(3).double())
    with pytest.raises(InputError, match="matches none"):
        fisher_products(objective, objective.theta, parameters="nothing*")
    with pytest.raises(InputError, match="theta must be one vector"):
        ggn_operator(objective, objective.theta[None])


def test_a_loss_on_batches_is_refused():
    objective = CASES["loss-on-batch"].build()
    with pytest.raises(InputError, match="loss_on='batch'"):
        fisher_products(objective, objective.theta)

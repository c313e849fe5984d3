"""Dense curvature matrices against slow references, closed forms and finite differences, on every case."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests import reference
from tests.cases import CASES, MSE, Case, Residual, mlp, vectors
from thalweg.curvature.exact import exact_curvature, fisher, ggn, hessian, layer_blocks
from thalweg.errors import InputError
from thalweg.objective import Objective

REPLICAS = 3


def close(found: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-12) -> bool:
    """Equal relative to the largest entry."""
    return float((found - expected).abs().max()) <= tolerance * max(1.0, float(expected.abs().max()))


def at_random(objective: Objective, replicas: int = REPLICAS) -> torch.Tensor:
    return objective.theta + 0.3 * torch.randn(replicas, objective.size, dtype=torch.float64)


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request) -> Case:
    return request.param


def test_hessian_of_every_case_by_its_own_way(case):
    objective = case.build()
    theta = at_random(objective)
    result = exact_curvature(objective, theta)
    assert result.method == case.method
    assert close(result.matrix, torch.stack([reference.hessian(objective, one) for one in theta]))
    assert close(result.value, objective.value(theta))
    assert close(result.gradient, objective.gradient(theta))
    assert torch.equal(result.matrix, result.matrix.mT)
    assert bool(result.finite.all())


def test_stack_equals_the_general_way(case):
    if case.method != "stack":
        pytest.skip("only stacks have two ways")
    objective = case.build()
    theta = at_random(objective)
    for kind in ("hessian", "ggn", "fisher"):
        fast = exact_curvature(objective, theta, kind=kind)
        general = exact_curvature(objective, theta, kind=kind, method="general")
        assert (fast.method, general.method) == ("stack", "rows" if kind == "hessian" else "products")
        assert close(fast.matrix, general.matrix), kind
        assert close(fast.value, general.value)
        assert close(fast.gradient, general.gradient)
    assert 0 <= float(general.asymmetry.max()) < 1e-12


def test_gauss_newton_and_fisher_of_every_case(case):
    if not case.plain:
        pytest.skip("a loss on batches has no output to differentiate in")
    objective = case.build()
    theta = at_random(objective, 2)
    assert close(ggn(objective, theta), torch.stack([reference.ggn(objective, one) for one in theta]))
    assert close(fisher(objective, theta), torch.stack([reference.fisher(objective, one) for one in theta]))


def test_hessian_by_central_differences_of_the_gradient(case):
    objective = case.build()
    theta = at_random(objective, 1)[0]
    v = torch.randn(objective.size, dtype=torch.float64)
    measured = reference.central_difference(objective.gradient, theta, v)
    assert close(objective.hessian(theta) @ v, measured, 1e-7)


def test_buffers_parameters_and_globals_stay_as_they_are(case):
    objective = case.build()
    before = {name: value.clone() for name, value in objective.program.model.state_dict().items()}
    mode = [module.training for module in objective.program.model.modules()]
    flash = torch.backends.cuda.flash_sdp_enabled()
    theta = at_random(objective, 2)
    kept = theta.clone()
    for kind in ("hessian", "ggn", "fisher") if case.plain else ("hessian",):
        exact_curvature(objective, theta, kind=kind)
    after = objective.program.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert mode == [module.training for module in objective.program.model.modules()]
    assert flash == torch.backends.cuda.flash_sdp_enabled()
    assert torch.equal(theta, kept)


def test_linear_regression_in_closed_form():
    x, y = vectors(9, 3, 2)
    objective = Objective(nn.Sequential(nn.Linear(3, 2, bias=False)).double(), MSE, (x, y))
    expected = torch.kron(torch.eye(2).double(), 2 / (2 * 9) * x.mT @ x)  # the mean is over N and both outputs
    for method in ("stack", "general"):
        assert close(exact_curvature(objective, objective.theta, method=method).matrix, expected, 1e-14)
    assert close(ggn(objective, objective.theta), expected, 1e-14)


def test_logistic_regression_in_closed_form():
    x = torch.randn(11, 4, dtype=torch.float64)
    y = torch.randint(0, 2, (11, 1)).double()
    objective = Objective(nn.Linear(4, 1, bias=False).double(), nn.BCEWithLogitsLoss(), (x, y))
    theta = at_random(objective, 2)
    p = torch.sigmoid(theta @ x.mT)  # (2, N)
    expected = torch.einsum("rn,ni,nj->rij", p * (1 - p), x, x) / 11
    assert close(hessian(objective, theta), expected)


def test_softmax_regression_is_a_kronecker_sum():
    x, y = torch.randn(8, 3, dtype=torch.float64), torch.randint(0, 4, (8,))
    objective = Objective(mlp(3, 4, bias=False)().double(), nn.CrossEntropyLoss(), (x, y))
    theta = at_random(objective, 1)[0]
    p = (x @ theta.reshape(4, 3).mT).softmax(1)
    each = [torch.kron(torch.diag(q) - torch.outer(q, q), torch.outer(a, a)) for q, a in zip(p, x, strict=True)]
    assert close(hessian(objective, theta), torch.stack(each).mean(0), 1e-14)
    assert close(ggn(objective, theta), torch.stack(each).mean(0), 1e-14)  # a linear model: G = H


def test_true_fisher_matrix_is_the_gauss_newton_matrix_of_cross_entropy():
    objective = CASES["mlp-ce"].build()
    theta = at_random(objective, 1)[0]
    x = objective.batches.held[0][0]
    p = objective.outputs(theta).softmax(1)
    total = torch.zeros(objective.size, objective.size, dtype=torch.float64)
    for n in range(len(x)):  # the expectation over targets drawn from the model
        for c in range(3):
            one = objective.with_data((x[n : n + 1], torch.tensor([c])))
            total += p[n, c] * fisher(one, theta) / len(x)
    assert close(total, ggn(objective, theta))


@pytest.mark.parametrize("build", [mlp(3, 4, 5, 2), Residual])
def test_ragged_batches_equal_one_big_batch(build):
    torch.manual_seed(0)
    model = build().double()
    x, y = vectors(7, 3, 2)
    whole = Objective(model, MSE, (x, y))
    parts = Objective(model, MSE, [(x[:3], y[:3]), (x[3:], y[3:])])
    theta = at_random(whole, 2)
    for matrix in (hessian, ggn, fisher):
        assert close(matrix(parts, theta), matrix(whole, theta))


@pytest.mark.parametrize("name", ["mlp-deep", "mlp-wide", "residual", "attention"])
def test_small_pieces_give_the_same(name, monkeypatch):
    objective = CASES[name].build()
    theta = at_random(objective)
    expected = {kind: exact_curvature(objective, theta, kind=kind).matrix for kind in ("hessian", "ggn", "fisher")}
    monkeypatch.setattr("thalweg.objective.stack_hessian.WORKING_SET", 1)
    monkeypatch.setattr("thalweg.objective.stack_hessian.LEAST_SAMPLES", 2)
    monkeypatch.setattr("thalweg.objective.stack_blocks.UNPACKED", 1)
    monkeypatch.setattr("thalweg.objective.rows.ROWS_WORKING_SET", 1)
    monkeypatch.setattr("thalweg.objective.dense.TILE", 5)
    small = CASES[name].build(memory=60_000)
    for kind, matrix in expected.items():
        assert close(exact_curvature(small, theta, kind=kind).matrix, matrix)


def test_ignored_classes_count_nothing():
    x, y = torch.randn(7, 3, dtype=torch.float64), torch.tensor([0, 2, -100, 1, -100, 2, 0])
    model = mlp(3, 4, 3)().double()
    objective = Objective(model, nn.CrossEntropyLoss(), (x, y))
    without = Objective(model, nn.CrossEntropyLoss(), (x[y >= 0], y[y >= 0]))
    theta = at_random(objective, 2)
    result = exact_curvature(objective, theta)
    assert result.method == "stack"
    assert close(result.matrix, hessian(without, theta))
    assert close(result.value, objective.value(theta))


@pytest.mark.parametrize("method", ["stack", "general"])
def test_blocks_are_parts_of_the_whole(method):
    objective = CASES["mlp-mse"].build()
    theta = at_random(objective)
    for kind in ("hessian", "ggn", "fisher"):
        whole = exact_curvature(objective, theta, kind=kind, method=method)
        for globs in ("2.*", ["0.bias", "4.weight"], "0.bias"):
            index = objective.layout.select(globs)
            part = exact_curvature(objective, theta, kind=kind, parameters=globs, method=method)
            assert close(part.matrix, whole.matrix[:, index][:, :, index])
            assert close(part.gradient, whole.gradient[:, index])
        for name, block in layer_blocks(objective, theta, kind=kind).items():
            index = objective.layout.select(f"{name}.*")
            assert close(block, whole.matrix[:, index][:, :, index])


def test_leading_axes_and_replicas_do_not_mix():
    objective = CASES["mlp-ce"].build()
    theta = at_random(objective, 6)
    matrix = hessian(objective, theta.reshape(2, 3, -1))
    assert matrix.shape == (2, 3, objective.size, objective.size)
    assert close(matrix[1, 2], hessian(objective, theta[5]), 1e-14)


@pytest.mark.parametrize("name", ["mlp-ce", "residual", "linear-network"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_bad_replica_stays_alone(name, bad):
    objective = CASES[name].build()
    theta = at_random(objective)
    expected = hessian(objective, theta)
    theta[1, 0] = bad
    for kind in ("hessian", "ggn", "fisher"):
        result = exact_curvature(objective, theta, kind=kind)
        assert result.finite.tolist() == [True, False, True]
        assert bool(result.matrix[1].isnan().all())
        assert bool(result.matrix[[0, 2]].isfinite().all())
    assert close(hessian(objective, theta)[[0, 2]], expected[[0, 2]], 1e-14)


def test_a_float32_objective_is_evaluated_in_float64():
    objective = CASES["mlp-mse"].build()
    single = objective.to(dtype=torch.float32)
    theta = single.theta
    assert hessian(single, theta).dtype == torch.float64
    assert close(hessian(single, theta), hessian(objective.to(dtype=torch.float32).double(), theta.double()), 1e-14)
    assert hessian(single, theta, dtype=torch.float32).dtype == torch.float32


def test_too_large_a_matrix_names_the_call_without_it():
    objective = CASES["mlp-mse"].build()
    with pytest.raises(InputError, match=r"memory must hold .* 224,720,000 bytes .* objective\.products\(theta\)"):
        hessian(objective, torch.zeros(9999, objective.size, dtype=torch.float64), memory=2**20)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"kind": "hesian"}, r"kind must be one of hessian, ggn, fisher, found 'hesian', did you mean 'hessian'"),
        ({"method": "fast"}, "method must be one of"),
        ({"parameters": "9.*"}, r"'9\.\*' matches none"),
        ({"dtype": torch.float16}, "dtype must be float32 or float64"),
    ],
)
def test_arguments_are_checked(kwargs, words):
    objective = CASES["mlp-mse"].build()
    with pytest.raises(InputError, match=words):
        exact_curvature(objective, objective.theta, **kwargs)


def test_theta_is_checked():
    objective = CASES["mlp-mse"].build()
    theta = objective.theta
    with pytest.raises(InputError, match="requires_grad=True"):
        hessian(objective, theta.clone().requires_grad_())
    with pytest.raises(InputError, match="float16"):
        hessian(objective, theta.half())
    with pytest.raises(InputError, match="theta must have shape"):
        hessian(objective, theta[:-1])
    with pytest.raises(InputError, match="device"):
        hessian(objective, theta.to("meta"))


def test_the_formulas_can_be_insisted_on():
    objective = CASES["residual"].build()
    with pytest.raises(InputError, match="method must be 'auto' or 'general'"):
        exact_curvature(objective, objective.theta, method="stack")


def test_a_loss_on_batches_has_no_gauss_newton_matrix():
    objective = CASES["loss-on-batch"].build()
    with pytest.raises(InputError, match=r"\(output, target\) .* loss_on='batch'"):
        ggn(objective, objective.theta)


def test_a_loss_that_is_no_mean_over_samples_has_no_fisher_matrix():
    x, y = vectors(6, 3, 2)
    objective = Objective(Residual().double(), lambda f, t: (f - t).square().mean().sqrt(), (x, y))
    with pytest.raises(InputError, match="mean over samples for an empirical Fisher matrix"):
        fisher(objective, objective.theta)
    assert bool(ggn(objective, objective.theta).isfinite().all())

"""Sensitivity against autograd's Jacobian of every single sample, on every model of the test cases."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from tests.cases import CASES, MSE, Case, classes, mlp
from thalweg.errors import InputError
from thalweg.generalization import batch_mean_norm, input_norms, sensitivity
from thalweg.objective import Objective

FLOATING = {name: case for name, case in CASES.items() if case.plain and name != "attention"}
PAIRS = [(name, of) for name in FLOATING for of in ("outputs", "probabilities", "loss")]


def slow_norms(objective: Objective, theta: Tensor, of: str, p: float) -> Tensor:
    """One sample at a time through a plain module: torch's own Jacobian, every entry of it."""
    model, loss = objective.module(theta), objective.loss
    out = []
    for batch, _ in objective.batches.chunks():
        for n in range(pytree.tree_leaves(batch[0])[0].shape[0]):
            inputs = pytree.tree_map(lambda leaf, n=n: leaf[n : n + 1], batch[0])
            names = tuple(inputs) if isinstance(inputs, dict) else None

            def function(*leaves: Tensor, n: int = n, names=names, batch=batch) -> Tensor:
                found = model(**dict(zip(names, leaves, strict=True))) if names else model(*leaves)
                if of == "loss":
                    return loss(found, batch[1][n : n + 1])
                return found.softmax(1) if of == "probabilities" else found

            leaves = tuple(pytree.tree_leaves(inputs))
            parts = torch.autograd.functional.jacobian(function, leaves)
            out.append(torch.cat([part.flatten() for part in parts]).norm(p))
    return torch.stack(out)


@pytest.mark.parametrize(
    ("name", "of"), [pair for pair in PAIRS if not (pair[1] == "probabilities" and FLOATING[pair[0]].loss is MSE)]
)
def test_equals_autograd_for_every_sample(name: str, of: str) -> None:
    objective = FLOATING[name].build()
    theta = torch.stack([objective.theta, 0.5 * objective.theta - 0.1])
    for p in (2.0, 1.0, torch.inf):
        found = input_norms(objective, theta, of=of, p=p)
        assert found.shape == (2, objective.samples)
        for r in range(2) if p == 2 else [0]:
            expected = slow_norms(objective, theta[r], of, p)
            torch.testing.assert_close(found[r], expected, rtol=1e-12, atol=1e-14)


def test_linear_model_is_the_frobenius_norm() -> None:
    for shape in ((5, 3), (3, 5)):
        model = nn.Linear(*shape).double()
        data = torch.randn(20, shape[0]).double(), torch.randint(0, shape[1], (20,))
        objective = Objective(model, nn.CrossEntropyLoss(), data)
        found = sensitivity(objective, objective.theta)
        expected = torch.linalg.matrix_norm(model.weight.detach())
        torch.testing.assert_close(found.norms, expected.expand(20), rtol=1e-14, atol=0)
        assert found.mean.item() == pytest.approx(expected.item(), rel=1e-14)
        assert found.standard_error.item() < 1e-15


@pytest.mark.parametrize("case", ["mlp-wide", "cnn"])
def test_chunks_leading_axes_and_parts_change_nothing(case: str) -> None:
    big = CASES[case].build()
    small = CASES[case].build(memory=2000)  # one or two samples at a time
    theta = torch.randn(2, 3, big.size).double()
    for of in ("outputs", "loss"):
        whole = sensitivity(big, theta, of=of)
        assert whole.norms.shape == (2, 3, big.samples)
        torch.testing.assert_close(input_norms(small, theta, of=of), whole.norms, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(sensitivity(big, theta[1, 2], of=of).norms, whole.norms[1, 2])
        torch.testing.assert_close(whole.mean, whole.norms.mean(-1))
        error = whole.norms.std(-1) / big.samples**0.5
        torch.testing.assert_close(whole.standard_error, error)


def test_standard_error_covers() -> None:
    """Over 200 subsets of 50 samples the mean of all lies within two standard errors in about 95 %."""
    torch.manual_seed(0)
    objective = Objective(mlp(4, 8, 3)().double(), nn.CrossEntropyLoss(), classes(10_000, 4))
    truth = sensitivity(objective, objective.theta, of="loss").mean
    parts = [
        sensitivity(objective.subset(torch.arange(50 * k, 50 * k + 50)), objective.theta, of="loss") for k in range(200)
    ]
    inside = sum(bool((part.mean - truth).abs() < 2 * part.standard_error) for part in parts)
    assert 180 <= inside <= 199


def test_the_norm_of_the_batch_mean_falls_with_the_evaluation_batch() -> None:
    """The trap of the classic script: one fixed network, evaluated on batches of 16 and of 1024."""
    torch.manual_seed(0)
    x, y = torch.rand(2048, 64), torch.randint(0, 10, (2048,))
    model = mlp(64, 32, 10, phi=nn.ReLU)()
    objective = Objective(model, nn.CrossEntropyLoss(), (x, y))
    norms = input_norms(objective, objective.theta, of="loss")
    classic = {}
    for size in (16, 1024):
        taken = []
        for a, b in zip(x.split(size), y.split(size), strict=True):
            a = a.clone().requires_grad_()
            nn.functional.cross_entropy(model(a), b).backward()
            taken.append(a.grad.norm().item())
        classic[size] = sum(taken) / len(taken)
        assert batch_mean_norm(norms, size).item() == pytest.approx(classic[size], rel=1e-5)
        per_example = torch.cat(
            [input_norms(objective.subset(part), objective.theta, of="loss") for part in torch.arange(2048).split(size)]
        )
        torch.testing.assert_close(per_example, norms, rtol=1e-5, atol=0)
    assert classic[16] / classic[1024] == pytest.approx(8, rel=0.02)


def test_one_logit_has_no_softmax() -> None:
    """That of a binary classifier by one logit is constant: it would look insensitive to everything."""
    data = torch.randn(5, 3), torch.randint(0, 2, (5, 1)).float()
    for model in (nn.Linear(3, 1), nn.Sequential(nn.Linear(3, 1), nn.LayerNorm(1))):
        objective = Objective(model, nn.BCEWithLogitsLoss(), data)
        with pytest.raises(InputError, match="of 'probabilities' needs two logits or more on axis 1"):
            sensitivity(objective, objective.theta, of="probabilities")


def test_running_statistics_of_each_theta() -> None:
    case = CASES["batchnorm-eval"]
    objective = case.build()
    theta = objective.theta
    wide = {"1.running_var": torch.stack([objective.module(theta)[1].running_var * factor for factor in (1, 4)])}
    found = input_norms(objective, theta.expand(2, -1), buffers=wide)
    torch.testing.assert_close(found[0], input_norms(objective, theta))
    assert bool((found[1] < found[0]).all())
    recomputed = objective.with_batchnorm("recomputed")
    assert input_norms(recomputed, theta).shape == (6,)


def test_a_theta_that_is_not_finite_is_nan_and_alone() -> None:
    for name in ("mlp-ce", "cnn"):
        objective = CASES[name].build()
        theta = objective.theta.repeat(3, 1)
        theta[1, 0] = torch.inf
        found = sensitivity(objective, theta)
        assert found.mean.isnan().tolist() == [False, True, False]


def test_a_loss_that_vmap_refuses() -> None:
    def loss(output: Tensor, target: Tensor) -> Tensor:
        return ((output - target) ** 2).mean() if float(output.detach().sum()) < 1e9 else output.mean()

    case = Case(mlp(3, 4, 2), loss, CASES["mlp-mse"].data)
    found, plain = (input_norms(one.build(), one.build().theta, of="loss") for one in (case, CASES["mlp-mse"]))
    assert found.shape == plain.shape
    expected = slow_norms(case.build(), case.build().theta, "loss", 2)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("attention", {}, "inputs must be floating-point tensors to be differentiated, found int64"),
        ("loss-on-batch", {}, "found loss_on='batch'"),
        ("mlp-mse", {"of": "probabilities"}, "found a squared error"),
        ("mlp-mse", {"of": "output"}, "of must be one of outputs, probabilities, loss, found 'output', did you mean"),
        ("mlp-mse", {"p": 0.5}, "p must be at least 1, found 0.5"),
    ],
)
def test_bad_input_is_named(name: str, options: dict, message: str) -> None:
    objective = CASES[name].build()
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        sensitivity(objective, objective.theta, **options)


def test_batch_statistics_have_no_single_samples() -> None:
    objective = CASES["batchnorm-eval"].build().with_batchnorm("batch")
    with pytest.raises(InputError, match="found 'batch'"):
        sensitivity(objective, objective.theta)


def test_batch_of_the_trap_must_fit() -> None:
    with pytest.raises(InputError, match="batch must be from 1 to the 4 samples, found 5"):
        batch_mean_norm(torch.ones(4), 5)

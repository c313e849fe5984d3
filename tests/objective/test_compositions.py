"""Exact compositions equal torch's functions, and their derivatives are right to the fourth order."""

from __future__ import annotations

import threading
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vmap
from torch.utils.checkpoint import checkpoint

from tests.objective.operations import OPERATIONS
from tests.objective.survey import survey
from thalweg.objective import Objective
from thalweg.objective.compositions import weight_norm
from thalweg.objective.kernels import EXACT, exact_kernels, observed, unreached

# torch compiles its forward-mode formulas by TorchScript, whose end it announces
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
DOUBLE = torch.float64


def drawn(*shape, seed=0, dtype=DOUBLE):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE).to(dtype)


def channels_last(x):
    return x.to(memory_format=torch.channels_last)


X, IMAGE, SQUARES = drawn(4, 3, 5), drawn(2, 3, 4, 5), drawn(2, 4, 4)
ROW, CHANNEL = (drawn(5, seed=1), drawn(5, seed=2)), (drawn(3, seed=3), drawn(3, seed=4))
SAME = {
    "layer_norm": lambda: F.layer_norm(X, (5,)),
    "layer_norm affine": lambda: F.layer_norm(X, [5], *ROW, eps=0.1),
    "layer_norm bias only": lambda: F.layer_norm(X, (5,), bias=ROW[1]),
    "layer_norm two axes": lambda: torch.layer_norm(input=X, normalized_shape=(3, 5)),
    "layer_norm of a transposed tensor": lambda: F.layer_norm(X.mT, (3,), *CHANNEL),
    "layer_norm empty": lambda: F.layer_norm(X[:0], (5,), *ROW),
    "layer_norm operator": lambda: torch.ops.aten.layer_norm.default(X, [5], *ROW),
    "native_layer_norm": lambda: torch.cat([one.flatten() for one in torch.native_layer_norm(X, (5,), *ROW, 1e-5)]),
    "batch_norm": lambda: F.batch_norm(X, None, None, training=True),
    "batch_norm affine": lambda: F.batch_norm(X, None, None, *CHANNEL, True, 0.1, 0.2),
    "batch_norm empty": lambda: F.batch_norm(X[:0], None, None, *CHANNEL, True),
    "batch_norm of a table": lambda: F.batch_norm(X[0], None, None, *ROW, True),
    "batch_norm of an image": lambda: F.batch_norm(IMAGE, None, None, *CHANNEL, True),
    "batch_norm channels last": lambda: F.batch_norm(channels_last(IMAGE), None, None, *CHANNEL, True),
    "batch_norm by running statistics": lambda: F.batch_norm(X, CHANNEL[0], CHANNEL[1].abs(), *CHANNEL),
    "native_batch_norm": lambda: torch.cat(
        [one.flatten() for one in torch.native_batch_norm(X, *CHANNEL, None, None, True, 0.1, 1e-5)]
    ),
    "instance_norm": lambda: F.instance_norm(X),
    "instance_norm affine": lambda: F.instance_norm(IMAGE, None, None, *CHANNEL),
    "instance_norm channels last": lambda: F.instance_norm(channels_last(IMAGE)),
    "weight_norm": lambda: torch._weight_norm(X[0], drawn(3, 1)),
    "weight_norm last axis": lambda: torch._weight_norm(X, drawn(1, 1, 5), 2),
    "weight_norm over all": lambda: torch._weight_norm(X, drawn(), -1),
    "det": lambda: torch.linalg.det(SQUARES),
    "det of three rows": lambda: SQUARES[:, 1:, 1:].det(),
    "slogdet": lambda: torch.cat(list(torch.slogdet(SQUARES))),
    "logdet": lambda: torch.logdet(SQUARES @ SQUARES.mT),
    "logdet of a negative determinant": lambda: torch.logdet(-torch.eye(3, dtype=DOUBLE)).nan_to_num(7.0),
    "solve": lambda: torch.linalg.solve(SQUARES, drawn(4, 2)),
    "solve for a vector": lambda: torch.linalg.solve(SQUARES[0], drawn(4)),
    "solve from the right": lambda: torch.linalg.solve(SQUARES, drawn(2, 3, 4), left=False),
    "solve_ex": lambda: torch.linalg.solve_ex(SQUARES, drawn(2, 4, 1)).result,
    "tensorsolve": lambda: torch.linalg.tensorsolve(drawn(2, 3, 6), drawn(2, 3)),
    "tensorsolve moved axes": lambda: torch.linalg.tensorsolve(drawn(2, 6, 3), drawn(2, 3), dims=(1,)),
    "cholesky_inverse": lambda: torch.cholesky_inverse(SQUARES),
    "cholesky_inverse upper": lambda: torch.cholesky_inverse(SQUARES, upper=True),
    "householder_product": lambda: torch.linalg.householder_product(SQUARES[..., :3], drawn(2, 2)),
    "cumprod": lambda: X.cumprod(dim=1),
    "cumprod in place": lambda: X.clone().cumprod_(-1),
    "cumprod of integers": lambda: torch.arange(1, 5).cumprod(0),
    "logcumsumexp": lambda: torch.logcumsumexp(X, 2),
    "prod": lambda: X.prod(),
    "prod along an axis": lambda: torch.prod(X, 1, keepdim=True),
    "prod in the manner of NumPy": lambda: torch.prod(X, axis=1, keepdims=True),
    "prod into a tensor": lambda: torch.prod(X, 1, out=torch.empty(4, 5, dtype=DOUBLE)),
    "prod in another dtype": lambda: X.float().prod(1, dtype=DOUBLE),
    "prod of half precision": lambda: (1 + X / 10).half().prod(),
    "prod of nothing": lambda: X[:0].prod(0),
    "scatter_reduce": lambda: X.scatter_reduce(1, torch.tensor([[[0, 2, 1], [2, 2, 2]]]), drawn(2, 3, 4), "prod"),
    "scatter_reduce without self": lambda: X.scatter_reduce(
        0, torch.tensor([[[0, 2]], [[0, 1]]]), drawn(2, 1, 2), "prod", include_self=False
    ),
    "sinc": lambda: torch.linspace(-2, 2, 101, dtype=DOUBLE).sinc(),
    "i0": lambda: torch.special.i0(torch.linspace(-3, 3, 101, dtype=DOUBLE)),
    "i1": lambda: torch.special.i1(torch.linspace(-3, 3, 101, dtype=DOUBLE)),
}


@pytest.mark.parametrize("name", SAME)
def test_the_value_is_that_of_torch_to_rounding(name):
    right = SAME[name]()
    with exact_kernels():
        found = SAME[name]()
    assert found.dtype == right.dtype
    assert found.shape == right.shape
    torch.testing.assert_close(found, right, rtol=1e-12, atol=1e-13)
    if "norm" in name:  # what is viewed or flattened afterwards must be laid out in the same way
        assert found.stride() == right.stride()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("weights", ["same", "float32"])
def test_half_precision_accumulates_in_float32_and_keeps_its_dtype(dtype, weights):
    x = 3 * drawn(8, 6, dtype=dtype) + 20
    w = drawn(6, seed=1, dtype=dtype if weights == "same" else torch.float32)
    for function in (
        lambda: F.layer_norm(x, (6,), w, w),
        lambda: F.batch_norm(x, None, None, w, w, True),
        lambda: F.instance_norm(x[None].mT.contiguous(), None, None, w, w),
    ):
        right = function()
        with exact_kernels():
            found = function()
        assert found.dtype == right.dtype == dtype
        bound = (8 if dtype == torch.float32 else 2) * torch.finfo(dtype).eps * float(right.abs().max())
        torch.testing.assert_close(found, right, rtol=0, atol=bound)


LAYERS = {
    "batch": (lambda: nn.BatchNorm1d(3, momentum=0.3), X),
    "batch, mean over time": (lambda: nn.BatchNorm1d(3, momentum=None), X),
    "batch, image": (lambda: nn.BatchNorm2d(3, affine=False), IMAGE),
    "instance": (lambda: nn.InstanceNorm1d(3, track_running_stats=True), X),
    "instance, affine": (lambda: nn.InstanceNorm2d(3, affine=True, track_running_stats=True), IMAGE),
}


@pytest.mark.parametrize("name", LAYERS)
def test_running_statistics_move_as_in_torch_to_the_bit(name):
    make, x = LAYERS[name]
    plain, exact = make().double(), make().double()
    for step in range(2):
        inputs = (x + step).requires_grad_()
        plain(inputs)
        with exact_kernels():
            exact(inputs)
    for key, value in plain.state_dict().items():
        assert torch.equal(exact.state_dict()[key], value), key
    assert not exact.running_mean.requires_grad


def test_running_statistics_move_inside_of_transforms():
    right = torch.zeros(3, dtype=DOUBLE), torch.ones(3, dtype=DOUBLE)
    F.batch_norm(X, *right, training=True)
    for transform in (grad, hessian, lambda f: jvp(f, (X[..., 0],), (X[..., 1],))[0]):
        found = torch.zeros(3, dtype=DOUBLE), torch.ones(3, dtype=DOUBLE)

        def value(x, found=found):
            return F.batch_norm(x, *found, training=True).pow(3).sum()

        with exact_kernels():
            made = transform(value)
            if callable(made):
                made(X)
                torch.testing.assert_close(found, right, rtol=0, atol=0)
            else:
                assert found[0].any()


AFFECTED = (
    "layer_norm affine",
    "native_layer_norm",
    "batch_norm affine",
    "native_batch_norm",
    "instance_norm affine",
    "weight_norm",
    "linear_cross_entropy in chunks",
    "logcumsumexp",
    "cumprod at two zeros",
    "prod at two zeros",
    "scatter_reduce prod",
    "det of a singular matrix",
    "slogdet",
    "solve",
    "cholesky_inverse",
    "householder_product",
    "sinc at 0",
    "i0 at 0",
    "special.i1 at 0",
)


@pytest.mark.parametrize("name", AFFECTED)
def test_derivatives_are_right_to_the_fourth_order(name):
    with exact_kernels():
        assert survey(OPERATIONS[name]) == ({}, {})


@pytest.mark.parametrize("name", ["layer_norm affine", "weight_norm"])
def test_the_comparison_would_see_a_wrong_derivative(name):
    wrong, _ = survey(OPERATIONS[name])
    assert wrong["reverse"] == {"layer_norm affine": 3, "weight_norm": 2}[name]


class Critic(nn.Module):
    """One number for each sample, through a normalization in the middle."""

    def __init__(self, norm):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), norm, nn.Tanh(), nn.Linear(4, 1))

    def forward(self, x):
        return self.layers(x)


class ByHand(nn.Module):
    """A layer norm (axis -1) or a batch norm (axis 0) in plain arithmetic."""

    def __init__(self, axis):
        super().__init__()
        self.weight, self.bias, self.axis = nn.Parameter(torch.ones(4)), nn.Parameter(torch.zeros(4)), axis

    def forward(self, x):
        variance, mean = torch.var_mean(x, self.axis, correction=0, keepdim=True)
        return (x - mean) / (variance + 1e-5).sqrt() * self.weight + self.bias


def penalty(model, parameters, x):
    """A gradient penalty, whose Hessian is a third derivative of the model."""
    slope = grad(lambda inputs: functional_call(model, parameters, (inputs,)).sum())(x)
    return (torch.linalg.vector_norm(slope, dim=1) - 1).square().mean()


PAIRS = {"layer": (lambda: nn.LayerNorm(4), -1), "batch": (lambda: nn.BatchNorm1d(4, track_running_stats=False), 0)}


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("transform", [hessian, lambda f: jacfwd(jacfwd(f)), lambda f: jacrev(jacrev(f))])
def test_the_hessian_of_a_gradient_penalty_is_that_of_plain_arithmetic(name, transform):
    make, axis = PAIRS[name]
    torch.manual_seed(0)
    fused = Critic(make()).double()
    hand = Critic(ByHand(axis)).double()
    hand.load_state_dict(fused.state_dict())
    x, weight = drawn(6, 3), "layers.0.weight"

    def of(model):
        rest = {key: value.detach() for key, value in model.named_parameters()}
        return transform(lambda w: penalty(model, {**rest, weight: w}, x))(rest[weight])

    right = of(hand)
    assert (of(fused) - right).norm() > 1e-3 * right.norm()  # torch's own
    with exact_kernels():
        torch.testing.assert_close(of(fused), right, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", PAIRS)
def test_vmap_over_parameters_agrees_with_a_loop(name):
    fused = Critic(PAIRS[name][0]()).double()
    x, weight = drawn(6, 3), "layers.0.weight"
    rest = {key: value.detach() for key, value in fused.named_parameters()}
    many = drawn(3, 4, 3)

    def slope(w):
        return grad(lambda one: penalty(fused, {**rest, weight: one}, x))(w)

    with exact_kernels():
        torch.testing.assert_close(vmap(slope)(many), torch.stack([slope(w) for w in many]), rtol=1e-9, atol=1e-12)
    inside = vmap(lambda w: _under(slope, w))(many)
    torch.testing.assert_close(inside, torch.stack([slope(w) for w in many]), rtol=1, atol=1)
    with exact_kernels(), exact_kernels():
        torch.testing.assert_close(inside, vmap(slope)(many), rtol=1e-12, atol=1e-14)


def _under(function, *args):
    with exact_kernels():
        return function(*args)


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpointed_segment_is_recomputed_by_the_same_operations(reentrant):
    norm = nn.LayerNorm(5).double()
    kept = []

    def loss(wrapped):
        x = X.clone().requires_grad_()
        y = checkpoint(lambda z: norm(z).sin(), x, use_reentrant=reentrant) if wrapped else norm(x).sin()
        y.pow(2).sum().backward()
        return x.grad

    with exact_kernels():
        right = loss(False)
        with saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
            found = loss(True)
    torch.testing.assert_close(found, right, rtol=1e-12, atol=1e-14)


class Late(torch.autograd.Function):
    """x² whose backward pass normalizes, so that its second derivative goes through it."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        Late.seen = unreached(F.layer_norm(x, (5,)))
        return 2 * x * g


@pytest.mark.parametrize(
    "differentiate",
    [
        lambda y, x: torch.autograd.grad(y, x, create_graph=True),
        lambda y, x: torch.autograd.grad([y], [x], [torch.ones_like(y)], create_graph=True),
        lambda y, x: torch.autograd.grad([y], [x], torch.ones_like(y)[None], is_grads_batched=True, create_graph=True),
        lambda y, x: y.backward(create_graph=True),
        lambda y, x: y.backward(torch.ones_like(y), None, True),
        lambda y, x: torch.autograd.backward([y], [torch.ones_like(y)], create_graph=True),
    ],
)
@pytest.mark.filterwarnings("ignore:Using backward:UserWarning")
def test_the_mode_is_on_inside_of_a_backward_pass_and_off_after_it(differentiate):
    x = X.clone().requires_grad_()
    depth = torch.overrides._len_torch_function_stack()
    with exact_kernels():
        differentiate(Late.apply(x).sum(), x)
        assert torch.overrides._len_torch_function_stack() == depth + 1
    assert Late.seen == frozenset()
    assert torch.overrides._len_torch_function_stack() == depth
    x.grad = None


def test_an_error_in_a_backward_pass_leaves_the_mode_as_it_was():
    depth = torch.overrides._len_torch_function_stack()
    x = X.clone().requires_grad_()
    with exact_kernels():
        with pytest.raises(RuntimeError, match="scalar outputs"):
            torch.autograd.grad(x * 2, x)
        with pytest.raises(RuntimeError, match="does not require grad"):
            X.sum().backward()
        assert torch.overrides._len_torch_function_stack() == depth + 1
    assert torch.overrides._len_torch_function_stack() == depth


def test_other_threads_and_what_follows_are_not_touched():
    x = X.clone().requires_grad_()
    names = []

    def work():
        names.append(unreached(F.layer_norm(x, (5,))))

    with exact_kernels():
        other = threading.Thread(target=work)
        other.start()
        other.join()
        assert unreached(F.layer_norm(x, (5,))) == frozenset()
    work()
    assert names == [frozenset({"layer_norm"})] * 2


def test_parameters_subclasses_and_no_grad_are_taken():
    class Named(torch.Tensor):
        pass

    right = F.layer_norm(X, (5,), *ROW)
    with exact_kernels():
        for x in (nn.Parameter(X), X.as_subclass(Named)):
            found = F.layer_norm(x, (5,), *ROW)
            torch.testing.assert_close(found.detach().as_subclass(torch.Tensor), right, rtol=1e-12, atol=1e-14)
        assert type(found) is Named
        with torch.no_grad():
            assert not F.layer_norm(nn.Parameter(X), (5,)).requires_grad


@pytest.mark.parametrize(
    "call",
    [
        lambda: F.layer_norm(X, (4,)),
        lambda: F.layer_norm(X, 5),
        lambda: F.layer_norm(X, (5,), torch.ones(1, dtype=DOUBLE)),
        lambda: F.layer_norm(X, (5,), torch.ones(5)),
        lambda: F.batch_norm(X, None, None, torch.ones(3), training=True),
        lambda: F.batch_norm(X[:1, :, 0], None, None, training=True),
        lambda: F.batch_norm(X, None, None, training=True, eps=-1.0),
        lambda: F.batch_norm(X, CHANNEL[0], None, training=True),
        lambda: F.batch_norm(X, None, None, ROW[0], training=True),
        lambda: F.instance_norm(X[..., :1]),
        lambda: torch.linalg.solve(torch.zeros(2, 2), torch.ones(2)),
        lambda: torch.linalg.solve(torch.eye(2), torch.ones(3)),
        lambda: torch.det(torch.ones(2, 3)),
        lambda: torch.layer_norm(torch.arange(3), (3,)),
    ],
)
def test_bad_arguments_meet_the_error_of_torch(call):
    with pytest.raises((RuntimeError, ValueError, TypeError)) as plain:
        call()
    with exact_kernels(), pytest.raises(type(plain.value)) as exact:
        call()
    assert str(exact.value).splitlines()[0] == str(plain.value).splitlines()[0]


def test_an_exported_program_is_taken_and_compiled_code_is_reported():
    norm = nn.LayerNorm(5).double()
    x = X.clone().requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces the end of TorchScript
        traced = torch.jit.trace(norm, X)
        exported = torch.export.export(norm, (X,)).module()
    with exact_kernels():
        assert unreached(norm(x)) == frozenset()
        assert unreached(exported(x)) == frozenset()
        assert unreached(traced(x).sin()) == {"layer_norm"}
        frozen = nn.BatchNorm1d(3).double().eval()
        assert unreached(frozen(x)) == frozenset()


CALLED = {
    "nothing": (lambda x: x.sum(), set(), (False, False, False)),
    "layer": (lambda x: nn.LayerNorm(5, dtype=DOUBLE)(x), {"layer_norm"}, (False, False, False)),
    "group": (lambda x: nn.GroupNorm(3, 3, dtype=DOUBLE)(x), set(), (False, False, False)),
    "frozen": (lambda x: nn.BatchNorm1d(3, dtype=DOUBLE).eval()(x), set(), (False, False, False)),
    "batch": (lambda x: nn.BatchNorm1d(3, dtype=DOUBLE)(x), {"batch_norm"}, (False, False, False)),
    "instance": (lambda x: nn.InstanceNorm1d(3)(x), {"instance_norm"}, (False, False, False)),
    "parametrized": (
        lambda x: nn.utils.parametrizations.weight_norm(nn.Linear(5, 2, dtype=DOUBLE))(x),
        {"weight_norm"},
        (False, False, False),
    ),
    "autograd.grad": (lambda x: torch.autograd.grad(x.square().sum(), x), set(), (True, False, False)),
    "backward": (lambda x: x.square().sum().backward(), set(), (True, True, False)),
    "autograd.backward": (lambda x: torch.autograd.backward(x.square().sum()), set(), (True, True, False)),
    "grad": (lambda x: grad(lambda z: F.layer_norm(z, (5,)).sum())(x), {"layer_norm"}, (True, False, False)),
    "vmap of grad": (lambda x: vmap(grad(lambda z: z.det()))(x[:, :, :3]), {"det"}, (True, False, False)),
    "jvp": (lambda x: jvp(torch.sin, (x,), (x,)), set(), (True, False, True)),
    "jacrev": (lambda x: jacrev(torch.sin)(x), set(), (True, False, False)),
    "jacfwd": (lambda x: jacfwd(torch.sin)(x[0, 0]), set(), (True, False, True)),
    "linearize": (lambda x: torch.func.linearize(torch.sin, x), set(), (True, False, True)),
    "vjp": (lambda x: torch.func.vjp(torch.sin, x)[1](x), set(), (True, False, False)),
    "functional.hvp": (
        lambda x: torch.autograd.functional.hvp(lambda z: z.pow(3).sum(), x, x),
        set(),
        (True, False, False),
    ),
    "functional.jvp": (lambda x: torch.autograd.functional.jvp(torch.sin, x, x), set(), (True, False, False)),
}


@pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node:UserWarning")  # torch.func.linearize
@pytest.mark.parametrize("name", CALLED)
def test_what_a_computation_calls_is_observed(name):
    function, fused, flags = CALLED[name]
    depth = torch.overrides._len_torch_function_stack()
    _, seen = observed(lambda: function(X.clone().requires_grad_()))
    assert seen.fused == fused
    assert (seen.differentiates, seen.backward, seen.forward) == flags
    assert torch.overrides._len_torch_function_stack() == depth


def test_observation_changes_no_number_and_looks_into_backward_passes():
    x = X.clone().requires_grad_()
    norm = nn.LayerNorm(5).double()

    def slope():
        return torch.autograd.grad(checkpoint(lambda z: norm(z).sin(), x, use_reentrant=False).sum(), x)[0]

    right = slope()
    found, seen = observed(slope)
    assert torch.equal(found, right)
    assert seen.needs_exact
    _, seen = observed(lambda: torch.autograd.grad(Late.apply(x).sum(), x))
    assert seen.fused == {"layer_norm"}


def test_only_some_functions_are_wrong_without_a_loss_that_differentiates():
    v, g = X[0].clone().requires_grad_(), drawn(3, 1)
    assert observed(lambda: torch._weight_norm(v, g))[1].needs_exact
    assert not observed(lambda: F.layer_norm(v, (5,)))[1].needs_exact
    assert not observed(lambda: grad(lambda z: F.gelu(z).sum())(v))[1].needs_exact
    torch.testing.assert_close(weight_norm(v, g), torch._weight_norm(v, g), rtol=1e-14, atol=0)


def test_every_composition_has_the_arguments_of_its_function():
    names = {name for name, _ in EXACT.values()}
    assert {"layer_norm", "batch_norm", "instance_norm", "weight_norm", "det", "solve"} <= names
    assert F.layer_norm in EXACT
    assert torch.ops.aten.native_layer_norm.default in EXACT


def normalized(norm):
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), norm, nn.Tanh(), nn.Linear(4, 1))


def residual(model, batch):
    """A differential equation in forward mode: the second derivative along an axis plus the value."""
    (x,), along = batch, torch.ones_like(batch[0])
    second = jvp(lambda z: jvp(model, (z,), (along,))[1], (x,), (along,))[1]
    return (second + model(x)).square().mean()


def score_matching(model, batch):
    """Trace of the Hessian plus half the squared gradient, of the logarithm of a density (Hyvärinen 2005)."""
    slope = grad(lambda z: model(z).squeeze())
    return vmap(lambda z: jacfwd(slope)(z).trace() + 0.5 * slope(z).square().sum())(batch[0]).mean()


def likelihood(model, batch):
    """Minus the logarithm of a density under an invertible map, by the determinant of its Jacobian."""
    jacobian = vmap(jacrev(model))(batch[0])
    return (0.5 * model(batch[0]).square().sum(1) - jacobian.det().abs().log()).mean()


@pytest.mark.parametrize(
    ("make", "loss"),
    [
        (lambda: normalized(nn.LayerNorm(4)), residual),
        (lambda: normalized(nn.LayerNorm(4)), score_matching),
        (lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)), likelihood),
    ],
)
def test_the_curvature_of_a_loss_that_differentiates_agrees_with_finite_differences(make, loss):
    torch.manual_seed(0)
    objective = Objective(make().double(), loss, [(drawn(6, 3),)], loss_on="batch", parameters=["0.weight"])
    theta = objective.theta
    v = F.normalize(drawn(len(theta), seed=1), dim=0)
    step = 1e-3
    values = [float(objective.value(theta + k * step * v)) for k in (-2, -1, 1, 2)]
    slope = (8 * (values[2] - values[1]) - (values[3] - values[0])) / (12 * step)
    assert float(objective.gradient(theta) @ v) == pytest.approx(slope, rel=1e-7)
    below = [objective.gradient(theta + k * step * v) for k in (-2, -1, 1, 2)]
    curve = (8 * (below[2] - below[1]) - (below[3] - below[0])) / (12 * step)
    torch.testing.assert_close(objective.hvp(theta, v), curve, rtol=1e-6, atol=1e-7)

"""The objective against plain PyTorch on a copy of the model, finite differences, and what it must refuse."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests import reference
from thalweg import curvature
from thalweg.errors import InputError
from thalweg.objective import Objective, targets


class ConvBatchNorm(nn.Module):
    """A small image network with BatchNorm."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)
        self.norm = nn.BatchNorm2d(3)
        self.head = nn.Linear(3, 4)

    def forward(self, x):
        return self.head(torch.tanh(self.norm(self.conv(x))).mean((2, 3)))


class Tied(nn.Module):
    """A token model whose output weights are its embedding, on dict batches; one parameter is never used."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 5)
        self.mix = nn.Linear(5, 5)
        self.unused = nn.Linear(2, 2)
        self.out = nn.Linear(5, 7, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, tokens, scale):
        return self.out(torch.tanh(self.mix(self.embed(tokens))) * scale)


class Transformer(nn.Module):
    """A one-layer transformer classifier."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(9, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, activation="gelu")
        self.head = nn.Linear(8, 3)

    def forward(self, tokens):
        return self.head(self.layer(self.embed(tokens)).mean(1))


def token_loss(model, batch):
    return F.cross_entropy(model(batch["tokens"], batch["scale"]).flatten(0, 1), batch["next"].flatten())


def mlp():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    return model, nn.MSELoss(), [(torch.randn(n, 3), torch.randn(n, 2)) for n in (3, 4)], {}


def conv_batchnorm():
    model = ConvBatchNorm().train()
    for _ in range(5):
        model(torch.randn(16, 1, 6, 6))  # statistics that are not the initial ones
    return model, nn.CrossEntropyLoss(), [(torch.randn(n, 1, 6, 6), torch.randint(4, (n,))) for n in (3, 4)], {}


def tied():
    batches = [
        {"tokens": torch.randint(7, (n, 6)), "next": torch.randint(7, (n, 6)), "scale": torch.rand(n, 1, 1)}
        for n in (3, 4)
    ]
    return Tied(), token_loss, batches, {"loss_on": "batch"}


def transformer():
    return (
        Transformer().eval(),
        nn.CrossEntropyLoss(),
        [(torch.randint(9, (n, 5)), torch.randint(3, (n,))) for n in (3, 4)],
        {},
    )


CASES = {case.__name__: case for case in (mlp, conv_batchnorm, tied, transformer)}


@pytest.fixture(params=CASES)
def case(request):
    torch.manual_seed(1)
    return CASES[request.param]()


def plain(model):
    """The user's model in evaluation mode and float64, as the reference evaluates it."""
    return copy.deepcopy(model).eval().double()


def test_value_gradient_and_product_equal_plain_pytorch(case):
    model, loss, batches, options = case
    objective = Objective(model, loss, batches, l2=0.01, **options).double()
    theta = objective.initial(replicas=3, seed=5)
    values, gradients = objective.value_and_gradient(theta)
    v = torch.randn(3, objective.size, dtype=torch.float64)
    products = objective.hvp(theta, v)
    for r in range(3):
        function = reference.loss_function(plain(model), loss, batches, l2=0.01, **options)
        value, gradient = reference.value_and_gradient(function, theta[r])
        torch.testing.assert_close(values[r], value, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(gradients[r], gradient, rtol=1e-10, atol=1e-13)
        slope = reference.central_difference(
            lambda t, f=function: reference.value_and_gradient(f, t)[1], theta[r], v[r]
        )
        torch.testing.assert_close(products[r], slope, rtol=1e-5, atol=1e-7)


def test_leading_axes_and_retained_products_change_nothing(case):
    model, loss, batches, options = case
    objective = Objective(model, loss, batches, **options).double()
    theta = objective.initial(replicas=6).reshape(2, 3, -1)
    v = torch.randn(4, 2, 3, objective.size, dtype=torch.float64)
    kept = objective.products(theta)
    for k in range(4):
        torch.testing.assert_close(kept(v)[k], objective.hvp(theta, v[k]), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(objective.value(theta)[1, 2], objective.value(theta[1, 2]), rtol=1e-12, atol=1e-14)
    assert kept(1e6 * v).div(1e6).allclose(kept(v), rtol=1e-10, atol=1e-12)  # exact: no step size in it


def test_gradient_of_half_the_squared_gradient_norm(case):
    model, loss, batches, options = case
    objective = Objective(model, loss, batches, l2=0.1, **options).double()
    theta = objective.initial(replicas=2)
    value, gradient, product = objective.value_gradient_product(theta)
    torch.testing.assert_close(value, objective.value(theta))
    torch.testing.assert_close(gradient, objective.gradient(theta))
    torch.testing.assert_close(product, objective.hvp(theta, gradient), rtol=1e-10, atol=1e-12)
    if options.get("loss_on") != "batch":
        one = Objective(model, loss, batches[0], l2=0.1).double()  # in one piece: the shared graph
        value, gradient, product = one.value_gradient_product(theta)
        torch.testing.assert_close(gradient, one.gradient(theta), rtol=1e-10, atol=1e-13)
        torch.testing.assert_close(product, one.hvp(theta, gradient), rtol=1e-10, atol=1e-12)


def test_an_overflowing_norm_without_a_penalty_is_no_nan() -> None:
    objective = Objective(nn.Linear(1, 1), nn.MSELoss(), (torch.ones(3, 1), torch.zeros(3, 1)))
    theta = torch.tensor([[3e30, -3e30], [1e30, 0.0]])  # both ‖θ‖² overflow in float32, one loss does
    assert objective.value(theta).tolist() == [0.0, math.inf]
    assert objective.value_and_gradient(theta)[0].tolist() == [0.0, math.inf]
    assert objective.value(torch.tensor([0.0, math.inf])).isnan()  # no point at all


def test_nothing_of_the_users_model_changes(case):
    model, loss, batches, options = case
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    state = torch.get_rng_state()
    for policy in ("frozen", "batch", "recomputed"):
        objective = Objective(model, loss, batches, batchnorm=policy, **options)
        theta = objective.initial(replicas=2)
        objective.metrics(theta), objective.hvp(theta, theta)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert modes == [module.training for module in model.modules()]
    assert torch.equal(state, torch.get_rng_state())
    assert all(p.grad is None for p in model.parameters())


def test_ragged_batches_count_by_samples():
    model, loss, batches, _ = mlp()
    whole = tuple(torch.cat(parts) for parts in zip(*batches, strict=True))
    theta = Objective(model, loss, whole).double().initial(2)
    expected = Objective(model, loss, whole).double().value_and_gradient(theta)
    forms = {
        "list": batches,
        "dataset": TensorDataset(*whole),
        "loader": DataLoader(TensorDataset(*whole), batch_size=4),
        "shuffled loader": DataLoader(TensorDataset(*whole), batch_size=4, shuffle=True),
    }
    for name, data in forms.items():
        found = Objective(model, loss, data).double().value_and_gradient(theta)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14, msg=name)


def test_a_loader_larger_than_memory_is_read_anew():
    model, loss, batches, _ = mlp()
    whole = tuple(torch.cat(parts) for parts in zip(*batches, strict=True))
    loader = DataLoader(TensorDataset(*whole), batch_size=4)
    small = Objective(model, loss, loader, memory=64)
    assert small.batches.loader is not None
    theta = small.initial(3)
    torch.testing.assert_close(small.value(theta), Objective(model, loss, whole).value(theta))


def test_chunks_under_a_small_budget_equal_one_pass():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 4))
    data = torch.randn(101, 3), torch.randint(4, (101,))
    large = Objective(model, nn.CrossEntropyLoss(), data).double()
    small = Objective(model, nn.CrossEntropyLoss(), data, memory=40_000).double()
    theta = large.initial(5)
    assert small.evaluation.plan(5, 2).samples < 101
    torch.testing.assert_close(small.gradient(theta), large.gradient(theta), rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(small.hvp(theta, theta), large.hvp(theta, theta), rtol=1e-10, atol=1e-13)
    for name, value in large.metrics(theta).items():
        torch.testing.assert_close(small.metrics(theta)[name], value, rtol=1e-12, atol=0)


def test_accuracy_and_outputs():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    x, y = torch.randn(10, 2, 2), torch.randint(3, (10,))
    objective = Objective(model, nn.CrossEntropyLoss(), (x, y))
    theta = objective.initial(2)
    for r in range(2):
        output = objective.module(theta[r])(x)
        torch.testing.assert_close(objective.outputs(theta)[r], output.detach())
        assert objective.metrics(theta)["accuracy"][r] == (output.argmax(1) == y).float().mean()


def test_batchnorm_policies_differ_as_they_say():
    torch.manual_seed(0)
    model, loss, _, _ = conv_batchnorm()
    x, y = torch.randn(12, 1, 6, 6), torch.randint(4, (12,))
    frozen, batch, recomputed = (
        Objective(model, loss, (x, y), batchnorm=policy, dtype=torch.float64)
        for policy in ("frozen", "batch", "recomputed")
    )
    theta = frozen.theta
    with torch.no_grad():
        evaluated = loss(plain(model)(x.double()), y)
        trained = loss(plain(model).train()(x.double()), y)
        # Running statistics of the whole data: what one pass in training mode with momentum 1 leaves behind.
        fresh = plain(model)
        fresh.norm.momentum = 1.0
        fresh.train()(x.double())
        whole = loss(fresh.eval()(x.double()), y)
    torch.testing.assert_close(frozen.value(theta), evaluated)
    torch.testing.assert_close(batch.value(theta), trained)
    torch.testing.assert_close(recomputed.value(theta), whole)
    two = torch.stack([theta, theta + 0.1])
    for objective in (batch, recomputed):
        torch.testing.assert_close(objective.value(two)[1], objective.value(two[1]))


def test_replica_seven_is_the_same_alone():
    objective = Objective(*mlp()[:3])
    many = objective.initial(replicas=10, seed=3)
    assert torch.equal(many[7], objective.initial(seed=3, first=7))
    assert not torch.equal(many[7], objective.initial(replicas=10, seed=4)[7])
    assert len({tuple(row.tolist()) for row in many}) == 10


def test_layers_outside_theta_stay_constant():
    model, loss, batches, _ = mlp()
    objective = Objective(model, loss, batches, parameters="2.*").double()
    full = Objective(model, loss, batches).double()
    index = full.layout.select("2.*")
    theta = full.theta
    torch.testing.assert_close(objective.gradient(theta[index]), full.gradient(theta)[index], rtol=1e-12, atol=1e-15)
    frozen = copy.deepcopy(model)
    frozen[0].requires_grad_(False)
    assert Objective(frozen, loss, batches).layout.names == ("2.weight", "2.bias")


def test_model_that_vmap_refuses_is_looped(caplog):
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 2)

        def forward(self, x):
            return self.linear(x) if self.linear.weight.sum() > 0 else -self.linear(x)

    with caplog.at_level("INFO", logger="thalweg"):
        objective = Objective(Branching(), nn.MSELoss(), mlp()[2])
        theta = objective.initial(4)
        values = objective.value(theta)
    assert "loop" in caplog.text
    torch.testing.assert_close(values, torch.stack([objective.value(one) for one in theta]))


class Calls(nn.Module):
    """Scales its output by the number of forward passes, which it counts in a buffer."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return self.linear(x) * self.calls


def test_buffers_written_by_the_forward_pass_never_accumulate():
    model, data = Calls(), mlp()[2]
    objective = Objective(model, nn.MSELoss(), data)
    theta = objective.initial(2)
    assert torch.equal(objective.value(theta), objective.value(theta))
    assert model.calls == 0


def test_other_buffers_are_those_of_the_metrics():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).double().eval()
    objective = Objective(model, nn.MSELoss(), (torch.randn(9, 3).double(), torch.randn(9, 2).double()))
    before = objective.value(objective.theta)
    buffers = {"1.running_mean": torch.randn(4).double(), "1.running_var": torch.rand(4).double() + 0.5}
    other = objective.with_buffers(buffers)
    assert torch.equal(other.value(other.theta), objective.metrics(objective.theta, buffers)["loss"])
    assert torch.equal(objective.value(objective.theta), before)
    assert other.value(other.theta) != before
    with pytest.raises(InputError, match=r"found '1.running_mean' of shape \(3,\)"):
        objective.with_buffers({"1.running_mean": torch.zeros(3)})
    with pytest.raises(InputError, match="found 'running_mean' of shape"):
        objective.with_buffers({"running_mean": torch.zeros(4)})


def test_one_diverged_replica_leaves_the_others_alone():
    objective = Objective(*mlp()[:3]).double()
    theta = objective.initial(3)
    good = objective.hvp(theta, theta), objective.gradient(theta)
    theta[1] = torch.nan
    product, gradient = objective.hvp(theta, theta), objective.gradient(theta)
    assert product[1].isnan().all()
    torch.testing.assert_close(product[[0, 2]], good[0][[0, 2]])
    torch.testing.assert_close(gradient[[0, 2]], good[1][[0, 2]])


def test_contrastive_loss_is_kept_whole():
    def spread(output, target):
        return (output - output.mean(0)).square().mean()

    x = torch.randn(50, 3)
    model = nn.Linear(3, 2)
    objective = Objective(model, spread, (x, torch.zeros(50, 2)), memory=10_000)
    assert not objective.batches.divisible
    torch.testing.assert_close(objective.value(objective.theta), spread(model(x), None).detach())


def with_dropout():
    return nn.Sequential(nn.Linear(3, 50), nn.Dropout(), nn.Linear(50, 2))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda x, y: Objective(None, nn.MSELoss(), (x, y)), "model must be a torch.nn.Module, found NoneType"),
        (lambda x, y: Objective(nn.Linear(3, 2), nn.MSELoss(reduction="none"), (x, y)), r"scalar.*\(7, 2\)"),
        (lambda x, y: Objective(nn.Linear(3, 2), nn.MSELoss(reduction="sum"), (x, y)), "found a sum"),
        (lambda x, y: Objective(nn.Linear(3, 2), nn.MSELoss(), (x[:0], y[:0])), "at least one sample, found none"),
        (lambda x, y: Objective(nn.Linear(3, 2), nn.MSELoss(), []), "at least one sample, found none"),
        (
            lambda x, y: Objective(nn.Linear(3, 2), nn.MSELoss(), (x.log(), y)),
            r"data must be finite, found nan at index",
        ),
        (lambda x, y: Objective(nn.Linear(3, 2), nn.MSELoss(), (x, y[:3])), r"common first axis.*\[3, 7\]"),
        (lambda x, y: Objective(nn.Linear(3, 1), nn.MSELoss(), (x, y[:, 0])), r"targets \(7,\) and outputs \(7, 1\)"),
        (lambda x, y: Objective(nn.Linear(3, 2), nn.MSELoss(), (x, y), batchnorm="frozzen"), "did you mean 'frozen'"),
        (lambda x, y: Objective(nn.Linear(3, 2), nn.MSELoss(), (x, y), l2=-1), "l2 must be finite and not negative"),
        (lambda x, y: Objective(nn.Linear(3, 2), nn.MSELoss(), (x, y), parameters="wieght"), "did you mean 'weight'"),
        (lambda x, y: Objective(nn.Linear(3, 2).half(), nn.MSELoss(), (x, y)), "float32 or float64, found float16"),
        (lambda x, y: Objective(nn.Linear(3, 2).requires_grad_(False), nn.MSELoss(), (x, y)), "requires_grad=True"),
        (lambda x, y: Objective(with_dropout(), nn.MSELoss(), (x, y)), r"relative difference .*dropout"),
        (
            lambda x, y: Objective(nn.Linear(3, 2), nn.MSELoss(), (x, y)).initial(0),
            "replicas must be at least 1, found 0",
        ),
    ],
)
def test_bad_arguments_are_named(build, message):
    torch.manual_seed(0)
    with pytest.raises(InputError, match=message):
        build(torch.randn(7, 3), torch.randn(7, 2))


@pytest.mark.parametrize(
    ("theta", "message"),
    [
        (torch.zeros(9), r"\(…, 8\).*found \(9,\)"),
        (torch.zeros(8, dtype=torch.float16), "found float16"),
        (torch.zeros(8, dtype=torch.float64), r"more precise.*objective.double\(\)"),
        (torch.zeros(8, requires_grad=True), "requires_grad=True"),
        (torch.zeros(8, device="meta"), "device cpu, found meta"),
        ([0.0] * 8, "torch.Tensor, found list"),
    ],
)
def test_bad_theta_is_named(theta, message):
    objective = Objective(nn.Linear(3, 2), nn.MSELoss(), (torch.randn(7, 3), torch.randn(7, 2)))
    for method in (objective.value, objective.gradient, objective.metrics):
        with pytest.raises(InputError, match=message):
            method(theta)


def test_augmented_data_is_refused():
    class Noisy(TensorDataset):
        def __getitem__(self, index):
            x, y = super().__getitem__(index)
            return x + torch.randn_like(x), y

    loader = DataLoader(Noisy(torch.randn(7, 3), torch.randn(7, 2)), batch_size=4)
    with pytest.raises(InputError, match="change between passes"):
        Objective(nn.Linear(3, 2), nn.MSELoss(), loader, memory=64)


def test_another_batchnorm_policy_is_the_objective_made_with_it():
    model, data = ConvBatchNorm().double(), (torch.randn(9, 1, 5, 5).double(), torch.randint(0, 4, (9,)))
    made = {name: Objective(model, nn.CrossEntropyLoss(), data, batchnorm=name) for name in ("frozen", "batch")}
    made["recomputed"] = Objective(model, nn.CrossEntropyLoss(), data, batchnorm="recomputed")
    theta = made["batch"].initial(replicas=2)
    values = {name: objective.value(theta) for name, objective in made.items()}
    assert not torch.equal(values["frozen"], values["batch"])
    for objective in made.values():
        for policy, value in values.items():
            assert torch.equal(objective.with_batchnorm(policy).value(theta), value)
    with pytest.raises(InputError, match="batchnorm must be one of frozen, batch, recomputed, found 'frozn', did you"):
        made["batch"].with_batchnorm("frozn")


@pytest.mark.parametrize("kind", ["ignored", "weighted"])
def test_a_mean_that_only_later_samples_show_to_be_none_over_samples_is_kept_whole(kind):
    x, y = torch.randn(3000, 6), torch.arange(3000) // 1000  # sorted by class
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0, 0.1], dtype=torch.float64))
    if kind == "ignored":
        y[501], y[1700:2900], loss = -100, -100, nn.CrossEntropyLoss()
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    objective = Objective(model, loss, (x.double(), y), memory=2**16)
    torch.testing.assert_close(objective.value(objective.theta), loss(model(x.double()), y).detach())


def test_recomputed_statistics_of_inputs_far_from_zero():
    x, y = 300 + 0.1 * torch.randn(200, 6, dtype=torch.float64), torch.randint(0, 3, (200,))
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)).double()
    exact = Objective(model, nn.CrossEntropyLoss(), (x, y), batchnorm="recomputed")
    single = exact.to(dtype=torch.float32)
    value = single.value(exact.theta.float())  # NaN where the variance is E[z²] − E[z]² in single precision
    torch.testing.assert_close(value.double(), exact.value(exact.theta), rtol=2e-3, atol=0)


class Counted(nn.Module):
    """Counts the samples that pass through it, in one place for all copies."""

    samples = 0

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        Counted.samples += len(x)
        return self.model(x)


def summed_error(output, target):
    return (output - target).abs().sum(1).mean()


def writing_error(output, target):
    return output.sub_(target).square().mean()  # writes into what it is given


def closed(function):
    return lambda model, batch: function(model(batch[0]), batch[1])


WAYS = {
    "stack": lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)),
    "vmap": lambda: nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)),
    "loop": lambda: nn.Sequential(nn.Linear(3, 4), Branch(), nn.Linear(4, 2)),
}


class Branch(nn.Module):
    """An activation that vmap refuses."""

    def forward(self, x):
        return torch.tanh(x) if float(x.detach().sum()) > 0 else torch.sin(x)


@pytest.mark.parametrize("on", ["output", "batch"])
@pytest.mark.parametrize("way", WAYS)
def test_metrics_equal_plain_pytorch_on_every_way(way, on):
    torch.manual_seed(3)
    model, x, y = WAYS[way]().double(), torch.randn(70, 3).double(), torch.randn(70, 2).double()
    functions = {"a": writing_error, "b": summed_error, "c": writing_error, "d": nn.MSELoss()}
    options = {"metrics": functions}
    if on == "batch":
        options = {"metrics": {k: closed(f) for k, f in functions.items()}, "loss_on": "batch"}
    loss = closed(writing_error) if on == "batch" else writing_error
    objective = Objective(model, loss, [(x[:32], y[:32]), (x[32:], y[32:])], **options)
    theta = objective.initial(5)
    found = objective.metrics(theta)
    assert torch.equal(found["loss"], objective.value(theta))  # the same reduction, to the bit
    assert objective.program.needs.vectorized == (way != "loop")
    for r in range(5):
        own = objective.module(theta[r])
        for name, function in {"loss": writing_error, **functions}.items():
            parts = [
                len(a) / 70 * function(own(a), b).detach()
                for a, b in zip(x.split([32, 38]), y.split([32, 38]), strict=True)
            ]
            torch.testing.assert_close(found[name][r], sum(parts), rtol=1e-13, atol=0)


def test_one_forward_pass_serves_the_loss_and_all_metrics():
    x, y = torch.randn(40, 3), torch.randint(2, (40,))
    metrics = {"accuracy": targets.accuracy, "again": targets.accuracy, "third": nn.CrossEntropyLoss()}
    objective = Objective(Counted(WAYS["vmap"]()), nn.CrossEntropyLoss(), (x, y), metrics=metrics)
    objective.metrics(objective.initial(4))  # the first call measures memory as well
    before = Counted.samples
    objective.metrics(objective.initial(4))
    assert Counted.samples - before == 40  # vmap: one trace for the four


def test_what_a_model_counts_in_passing_does_not_change_its_loss():
    class Annealed(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.step = nn.Linear(3, 2), 0

        def forward(self, x):
            self.step += 1
            return self.net(x) * (1 + max(0, self.step - 40))

    objective = Objective(Annealed(), nn.CrossEntropyLoss(), (torch.randn(10, 3), torch.randint(2, (10,))))
    theta = objective.initial(3)
    first = objective.value(theta), objective.gradient(theta[0])
    for _ in range(60):
        last = objective.value(theta), objective.gradient(theta[0])
    assert torch.equal(first[0], last[0])
    assert torch.equal(first[1], last[1])


def with_statistics(replicas):
    """Trained-like replicas: θ (R, P) and running statistics of each, and the modules themselves."""
    torch.manual_seed(5)
    modules = []
    for _ in range(replicas):
        one = ConvBatchNorm().double().train()
        for _ in range(4):
            one(torch.randn(16, 1, 6, 6).double())
        modules.append(one.eval())
    buffers = {name: torch.stack([dict(m.named_buffers())[name] for m in modules]) for name, _ in one.named_buffers()}
    return modules, buffers


def test_every_function_of_theta_takes_buffers_of_each_replica():
    modules, buffers = with_statistics(3)
    batches = [(torch.randn(n, 1, 6, 6).double(), torch.randint(4, (n,))) for n in (5, 8)]
    loss = nn.CrossEntropyLoss()
    objective = Objective(modules[0], loss, batches, l2=0.02)
    theta = torch.stack([objective.ravel(m) for m in modules])
    v = torch.randn(2, *theta.shape).double()
    value, gradient = objective.value_and_gradient(theta, buffers)
    kept, triple = objective.products(theta, buffers), objective.value_gradient_product(theta, buffers)
    metrics, outputs = objective.metrics(theta, buffers), objective.outputs(theta, batches[0][0], buffers)
    for r, module in enumerate(modules):
        function = reference.loss_function(copy.deepcopy(module), loss, batches, l2=0.02)
        expected, slope = reference.value_and_gradient(function, theta[r])
        torch.testing.assert_close(objective.value(theta, buffers)[r], expected, rtol=1e-12, atol=0)
        torch.testing.assert_close(value[r], expected, rtol=1e-12, atol=0)
        torch.testing.assert_close(gradient[r], slope, rtol=1e-10, atol=1e-14)
        torch.testing.assert_close(metrics["loss"][r], expected - 0.01 * theta[r] @ theta[r], rtol=1e-12, atol=0)
        torch.testing.assert_close(outputs[r], module(batches[0][0]).detach(), rtol=1e-12, atol=1e-14)
        alone = Objective(module, loss, batches, l2=0.02)
        product = torch.stack([alone.hvp(theta[r], one) for one in v[:, r]])
        torch.testing.assert_close(kept(v)[:, r], product, rtol=1e-10, atol=1e-13)
        torch.testing.assert_close(objective.hvp(theta, v, buffers)[:, r], product, rtol=1e-10, atol=1e-13)
        torch.testing.assert_close(triple[2][r], alone.hvp(theta[r], slope), rtol=1e-10, atol=1e-13)
    tight = Objective(modules[0], loss, batches, l2=0.02, memory=20_000)  # the replicas are cut: each keeps its own
    assert tight.evaluation.plan(3, 2).replicas < 3
    torch.testing.assert_close(tight.gradient(theta, buffers), gradient, rtol=1e-10, atol=1e-14)
    single = {name: values.float() if values.is_floating_point() else values for name, values in buffers.items()}
    torch.testing.assert_close(objective.value(theta, single), value, rtol=1e-5, atol=0)  # as recorded in float32


@pytest.mark.parametrize(
    ("buffers", "message"),
    [
        ({"norm.running_men": torch.zeros(3, 3)}, "buffers must be among .*found 'norm.running_men'"),
        ({"norm.running_mean": torch.zeros(3)}, r"\(2, 3\).*found 'norm.running_mean' of shape \(3,\)"),
    ],
)
def test_bad_buffers_are_named(buffers, message):
    modules, _ = with_statistics(1)
    objective = Objective(modules[0], nn.CrossEntropyLoss(), (torch.randn(5, 1, 6, 6), torch.randint(4, (5,))))
    theta = objective.initial(2)
    for method in (objective.value, objective.gradient, objective.metrics, objective.products):
        with pytest.raises(InputError, match=message):
            method(theta, buffers)


def test_more_replicas_than_memory_are_refused_before_they_are_drawn() -> None:
    objective = Objective(nn.Linear(2, 1), nn.MSELoss(), (torch.randn(4, 2), torch.randn(4, 1)))
    with pytest.raises(InputError, match=r"replicas must fit in the memory of .* GB, found 10,000,.* of 3 parameters"):
        objective.initial(10**19)


def test_a_network_that_gives_nan_has_no_accuracy():
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    objective = Objective(model, nn.CrossEntropyLoss(), (torch.randn(20, 6), torch.arange(20) % 3))
    found = objective.metrics(torch.stack([objective.theta, 1e30 * objective.theta]))
    assert found["accuracy"].isnan().tolist() == found["loss"].isnan().tolist() == [False, True]


def test_no_forward_pass_counts_in_a_value_or_in_buffers_that_were_given():
    model, (x, y) = Calls().double(), (torch.randn(9, 3).double(), torch.randn(9, 2).double())
    objective = Objective(model, nn.MSELoss(), [(x[:4], y[:4]), (x[4:], y[4:])])
    theta = objective.initial(2)
    buffers = {"calls": torch.tensor([0.0, 2.0]).double()}
    found = objective.metrics(theta, buffers)["loss"]
    for r, factor in enumerate((1, 3)):
        linear = objective.module(theta[r]).linear
        torch.testing.assert_close(objective.value(theta[r]), nn.MSELoss()(linear(x), y).detach())
        torch.testing.assert_close(found[r], nn.MSELoss()(factor * linear(x), y).detach())
    assert buffers["calls"].tolist() == [0, 2]


def test_other_metrics_replace_those_that_were_asked_for():
    model, x = nn.Linear(2, 3), torch.randn(6, 2)
    objective = Objective(model, nn.CrossEntropyLoss(), (x, torch.tensor([0, 1, 2, 0, 1, 2])))
    theta = objective.theta
    assert set(objective.metrics(theta)) == {"loss", "accuracy"}
    changed = objective.with_metrics({"largest": lambda output, target: output.max()})
    assert set(changed.metrics(theta)) == {"loss", "largest"}
    torch.testing.assert_close(changed.metrics(theta)["largest"], model(x).max().detach())


def test_hessian_is_that_of_curvature_and_of_differences():
    """Both ways: the closed formulas of a stack, and rows of a graph."""
    for model in (nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)), nn.Bilinear(1, 1, 1)):
        data = (torch.randn(7, 2), torch.randn(7, 1))
        if isinstance(model, nn.Bilinear):
            data = ((torch.randn(7, 1), torch.randn(7, 1)), torch.randn(7, 1))
        objective = Objective(model, nn.MSELoss(), data, l2=0.1, dtype=torch.float64)
        theta = objective.initial(replicas=2, seed=3)
        found = objective.hessian(theta)
        assert torch.equal(found, curvature.hessian(objective, theta))
        steps = 1e-5 * torch.eye(objective.size, dtype=torch.float64)[:, None]  # (P, 1, P)
        ends = [objective.gradient(theta + sign * steps) for sign in (1, -1)]
        torch.testing.assert_close(found, ((ends[0] - ends[1]) / 2e-5).movedim(0, 1), rtol=1e-6, atol=1e-8)

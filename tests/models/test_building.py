from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from tests.models.cases import CASES
from thalweg.models import Sine, build, describe, parameter_count

PIECEWISE_LINEAR = {"identity", "relu", "leaky_relu"}


def made(name: str, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, torch.Tensor]:
    config, input_shape, outputs = CASES[name]
    torch.manual_seed(0)
    model = build(config, input_shape, outputs).to(dtype).eval()
    return model, torch.randn(6, *input_shape, dtype=dtype)


@pytest.mark.parametrize("name", CASES)
def test_shape_of_the_output(name):
    model, x = made(name)
    assert model(x).shape == (6, CASES[name][2])


@pytest.mark.parametrize("name", CASES)
def test_samples_do_not_mix(name):
    model, x = made(name)
    torch.testing.assert_close(model(x)[2:3], model(x[2:3]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_counted_as_built_without_drawing_random_numbers(name):
    model, _ = made(name)
    before = torch.get_rng_state()
    assert parameter_count(*CASES[name]) == sum(p.numel() for p in model.parameters())
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", CASES)
def test_every_layer_can_be_drawn_anew(name):
    model, _ = made(name)
    owners = [module for module in model.modules() if next(module.parameters(recurse=False), None) is not None]
    assert owners
    before = [p.clone() for p in model.parameters()]
    torch.manual_seed(0)
    for module in owners:
        module.reset_parameters()
    redrawn = list(model.parameters())
    # the same layers in the same order from the same seed: exactly the model that was built (up to the cast)
    config, input_shape, outputs = CASES[name]
    torch.manual_seed(0)
    for fresh, old, new in zip(build(config, input_shape, outputs).parameters(), before, redrawn, strict=True):
        assert torch.equal(fresh.double(), old)
        assert new.shape == old.shape
    torch.manual_seed(1)
    for module in owners:
        module.reset_parameters()
    weights = [(p, q) for p, q in zip(model.parameters(), before, strict=True) if p.dim() > 1]
    assert all(not torch.equal(p, q) for p, q in weights)


@pytest.mark.parametrize("name", CASES)
def test_replicas_can_be_stacked(name):
    config, input_shape, outputs = CASES[name]
    models = [build(config, input_shape, outputs).double().eval() for _ in range(3)]
    x = torch.randn(4, *input_shape, dtype=torch.float64)
    parameters, buffers = stack_module_state(models)
    together = vmap(lambda p, b: functional_call(models[0], (p, b), (x,)))(parameters, buffers)
    for model, output in zip(models, together, strict=True):
        torch.testing.assert_close(output, model(x), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_second_derivatives_pass_through(name):
    """A Hessian-vector product against central differences of the gradient."""
    model, x = made(name)
    parameters = list(model.parameters())
    target = torch.randn(6, CASES[name][2], dtype=torch.float64)

    def gradient(create_graph: bool = False) -> list[torch.Tensor]:
        loss = ((model(x) - target) ** 2).mean()
        return list(torch.autograd.grad(loss, parameters, create_graph=create_graph))

    v = [torch.randn_like(p) for p in parameters]
    product = torch.autograd.grad(sum((g * d).sum() for g, d in zip(gradient(True), v, strict=True)), parameters)
    step = 1e-6
    with torch.no_grad():
        shifted = []
        for sign in (1, -2):
            for p, d in zip(parameters, v, strict=True):
                p += sign * step * d
            with torch.enable_grad():
                shifted.append(gradient())
    numeric = [(plus - minus) / (2 * step) for plus, minus in zip(*shifted, strict=True)]
    scale = max(n.abs().max() for n in numeric)
    for ours, theirs in zip(product, numeric, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6 * float(scale) + 1e-9)


@pytest.mark.parametrize("name", CASES)
def test_nothing_is_in_place(name):
    model, _ = made(name)
    assert not any(getattr(module, "inplace", False) for module in model.modules())


def test_mlp_is_a_flat_stack():
    model = build(CASES["mlp on images"][0], (2, 8, 8), 3)
    assert [type(module) for module in model] == [nn.Flatten, nn.Linear, nn.ReLU, nn.Linear]
    model = build(CASES["mlp of sines"][0], (1,), 1)
    assert [type(module) for module in model] == [nn.Linear, Sine, nn.Linear, Sine, nn.Linear]
    model = build(CASES["mlp with dropout"][0], (4,), 2)
    kinds = [nn.Linear, nn.ReLU, nn.Dropout, nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
    assert [type(module) for module in model] == kinds


@pytest.mark.parametrize("name", ["mlp", "mlp on images", "mlp of sines", "linear autoencoder", "autoencoder"])
def test_stack_is_recognised(name):
    """The fast formulas for stacks of linear layers must find these networks."""
    from thalweg.objective.structure import linear_stack

    model, x = made(name)
    stack = linear_stack(model)
    assert stack is not None
    parameters = {key: value[None] for key, value in model.named_parameters()}
    torch.testing.assert_close(stack(parameters, x)[0], model(x), rtol=1e-12, atol=1e-12)


def test_homogeneous_networks_are_straight_lines():
    for name, (config, input_shape, _) in CASES.items():
        model, x = made(name)
        if config.dropout:
            continue
        scaled, plain = model(3 * x), 3 * model(x)
        assert torch.allclose(scaled, plain, rtol=1e-9, atol=1e-12) == config.homogeneous, name
        assert math.prod(input_shape) > 0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mlp", "MLP 4-5-3-2, tanh, 51 parameters"),
        ("mlp without bias", "MLP 4-5-2, softplus, no bias, 30 parameters"),
        ("linear model", "MLP 4-2, relu, 10 parameters"),
        ("mlp with dropout", "MLP 4-6-6-2, relu, dropout 0.5, 86 parameters"),
        ("cnn", "CNN conv 3×3×3 – max 2 – conv 3×3×4 – max 2 – 16-3, gelu, 220 parameters"),
        ("cnn with dense layers", "CNN conv 3×3×3 – max 2 – 27-6-3, relu, 246 parameters"),
        ("cnn of average pools", "CNN conv 3×3×3 – average 2 – global average – 3-3, relu, 69 parameters"),
        (
            "cnn with head conv",
            "CNN conv 3×3×3 – conv 3×3×3 – conv 3×3×3 – global average, relu, no bias, 216 parameters",
        ),
        ("linear autoencoder", "autoencoder 5-2-5, linear, no bias, 20 parameters"),
        ("resnet", "ResNet 3-5 × 2 blocks, relu, 1,261 parameters"),
    ],
)
def test_description(name, text):
    assert describe(*CASES[name]) == text

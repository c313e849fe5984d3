from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import expit, ndtr

from thalweg import InputError
from thalweg.models import ModelConfig, build
from thalweg.models.activations import ACTIVATIONS, activation
from thalweg.models.config import ActivationName

# Independent of PyTorch: NumPy and SciPy.
FORMULAS = {
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "tanh": np.tanh,
    "sigmoid": expit,
    "gelu": lambda z: z * ndtr(z),
    "softplus": lambda z: np.log1p(np.exp(z)),
    "sine": np.sin,
    "identity": lambda z: z,
}


def test_names_agree():
    assert set(ACTIVATIONS) == set(ActivationName.__args__) == set(FORMULAS)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("bias", [True, False])
def test_mlp_is_its_formula(name, bias):
    torch.manual_seed(1)
    model = build(ModelConfig(hidden=(5, 4), activation=name, bias=bias), (2, 3), 2).double()
    x = np.random.default_rng(0).normal(size=(7, 2, 3))
    state = {key: value.numpy() for key, value in model.state_dict().items()}
    h = x.reshape(7, 6)
    for number, layer in enumerate(["1", "3", "5"]):
        h = (FORMULAS[name](h) if number else h) @ state[f"{layer}.weight"].T
        h = h + state[f"{layer}.bias"] if bias else h
    np.testing.assert_allclose(model(torch.from_numpy(x)).detach().numpy(), h, rtol=1e-12, atol=1e-12)


def test_unknown_activation_offers_the_nearest():
    with pytest.raises(InputError, match="did you mean 'leaky_relu'"):
        activation("leakyrelu")


def test_dropout_acts_in_training_only():
    model = build(ModelConfig(hidden=(400,), dropout=0.5), (3,), 1)
    x = torch.randn(1, 3)
    model.eval()
    assert torch.equal(model(x), model(x))
    model.train()
    outputs = torch.cat([model(x) for _ in range(2000)])
    model.eval()
    error = 5 * outputs.std() / math.sqrt(2000)
    assert outputs.std() > 0
    assert (outputs.mean() - model(x)).abs() < error  # dropout keeps the mean of the next layer's input


def test_linear_autoencoder_is_a_product_of_two_matrices():
    model = build(ModelConfig(kind="autoencoder", code=2, activation="identity", bias=False), (5,), 5).double()
    state = list(model.state_dict().values())
    x = torch.randn(3, 5, dtype=torch.float64)
    torch.testing.assert_close(model(x), x @ (state[1] @ state[0]).T)
    assert torch.linalg.matrix_rank(state[1] @ state[0]) == 2


def test_autoencoder_needs_as_many_outputs_as_inputs():
    with pytest.raises(InputError, match=r"as many outputs as inputs \(64\), found 10: give the task target 'inputs'"):
        build(ModelConfig(kind="autoencoder"), (1, 8, 8), 10)


def test_decoder_mirrors_the_encoder():
    model = build(ModelConfig(kind="autoencoder", hidden=(7, 5), code=2), (9,), 9)
    widths = [module.in_features for module in model if isinstance(module, torch.nn.Linear)]
    assert [*widths, model[-1].out_features] == [9, 7, 5, 2, 5, 7, 9]

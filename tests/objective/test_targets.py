"""Targets and inputs of a type that torch does not compute with: the same numbers where certain, else a sentence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from thalweg.errors import InputError
from thalweg.objective import Objective

N = 10


def network():
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


def data():
    return torch.randn(N, 4), torch.randint(0, 3, (N,))


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.int8, torch.uint8])
@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), nn.CrossEntropyLoss(torch.ones(3)), F.cross_entropy])
def test_class_numbers_of_another_integer_type_are_the_same_classes(dtype, loss):
    x, y = data()
    model = network()
    right = Objective(model, loss, (x, y))
    loader = DataLoader(TensorDataset(x, y.to(dtype)), batch_size=N)
    streamed = Objective(model, loss, loader, memory=64)
    assert streamed.batches.loader is not None
    for found in (
        Objective(model, loss, (x, y.to(dtype))),
        Objective(model, loss, [(x, y.to(dtype))]),
        Objective(model, loss, TensorDataset(x, y.to(dtype))),
        Objective(model, loss, (x.numpy(), y.to(dtype).numpy())),
        streamed,
    ):
        assert torch.allclose(found.gradient(found.theta), right.gradient(right.theta), atol=1e-7)
        assert torch.allclose(found.hessian(found.theta), right.hessian(right.theta))
        metrics = found.metrics(found.theta)
        assert torch.allclose(metrics["accuracy"], right.metrics(right.theta)["accuracy"])


def test_padding_counts_in_every_integer_type():
    x, y = data()
    y[::3] = -100
    model = network()
    expected = F.cross_entropy(model(x), y).detach()
    for dtype in (torch.int32, torch.int8, torch.int64):
        found = Objective(model, nn.CrossEntropyLoss(), [(x[:5], y[:5].to(dtype)), (x[5:], y[5:].to(dtype))])
        assert torch.allclose(found.value(found.theta), expected)


@pytest.mark.parametrize(
    "loss", [nn.BCEWithLogitsLoss(), F.binary_cross_entropy_with_logits, nn.HuberLoss(), nn.MSELoss(), nn.L1Loss()]
)
@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.int32])
def test_whole_numbers_as_values_are_those_values(loss, dtype):
    x, y = data()
    model, target = network(), F.one_hot(y, 3)
    found, right = (Objective(model, loss, (x, target.to(one))) for one in (dtype, torch.float32))
    assert torch.equal(found.value(found.theta), right.value(right.theta))
    assert torch.equal(found.gradient(found.theta), right.gradient(right.theta))
    assert torch.equal(found.hessian(found.theta), right.hessian(right.theta))


@pytest.mark.parametrize("dtype", ["uint16", "uint32", ">i4", "int8", "uint64"])
def test_arrays_of_every_type_are_converted(dtype):
    x, y = data()
    model = network()
    right = Objective(model, nn.CrossEntropyLoss(), (x, y))
    for inputs in (x.numpy(), x.numpy()[::-1][::-1], x.numpy().astype(">f8"), np.asfortranarray(x.numpy())):
        found = Objective(model, nn.CrossEntropyLoss(), (inputs, y.numpy().astype(dtype)))
        assert torch.equal(found.gradient(found.theta), right.gradient(right.theta))
    frozen = x.numpy().copy()
    frozen.flags.writeable = False
    assert torch.equal(
        Objective(model, nn.CrossEntropyLoss(), (frozen, y)).value(right.theta), right.value(right.theta)
    )


def test_arrays_are_checked_as_tensors_are():
    x, y = data()
    x[3, 1] = torch.nan
    for given in ((x.numpy(), y.numpy()), [(x.numpy(), y.numpy())]):
        with pytest.raises(InputError, match=r"must be finite, found nan at index \[3, 1\]"):
            Objective(network(), nn.CrossEntropyLoss(), given)
    with pytest.raises(InputError, match=r"one common first axis of samples, found lengths \[9, 10\]"):
        Objective(network(), nn.CrossEntropyLoss(), (x.numpy(), y.numpy()[1:]))
    with pytest.raises(InputError, match=r"below 2\*\*63"):
        Objective(network(), nn.CrossEntropyLoss(), (x.numpy(), np.full(N, 2**64 - 1, np.uint64)))


WRONG = {
    "column": (lambda y: y[:, None], r"int64 of shape \(10, 1\): pass targets.reshape\(-1\)$"),
    "row": (lambda y: y[:, None, None].int(), r"int64 of shape \(10, 1, 1\): pass targets.reshape\(-1\)$"),
    "floating": (lambda y: y.float(), r"float32 of shape \(10,\): pass targets.long\(\)$"),
    "both": (lambda y: y[:, None].double(), r"float32 of shape \(10, 1\): pass targets.reshape\(-1\).long\(\)$"),
    "one hot": (lambda y: F.one_hot(y, 3), r"int64 of shape \(10, 3\): pass targets.argmax\(1\)"),
    "other classes": (lambda y: y.new_zeros(N, 5).float(), r"float32 of shape \(10, 5\)$"),
    "from one": (lambda y: y + 1, r"class numbers from 0 to 2 for outputs \(10, 3\), found 3$"),
    "negative": (lambda y: y - 1, r"class numbers from 0 to 2 for outputs \(10, 3\), found -1$"),
}


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("logarithms", [False, True])
def test_targets_that_are_no_classes_are_named(kind, logarithms):
    x, _ = data()
    y = torch.arange(N) % 3
    make, said = WRONG[kind]
    model = nn.Sequential(network(), nn.LogSoftmax(1)) if logarithms else network()
    with pytest.raises(InputError, match=f"data targets must be .*found {said}" if "found" not in said else said):
        Objective(model, nn.NLLLoss() if logarithms else nn.CrossEntropyLoss(), (x, make(y)))


def test_a_wrong_class_is_found_wherever_it_stands():
    x, y = torch.randn(500, 4), torch.zeros(500, dtype=torch.int64)
    y[333] = 7
    with pytest.raises(InputError, match=r"from 0 to 2 .* found 7"):
        Objective(network(), nn.CrossEntropyLoss(), (x, y))
    with pytest.raises(InputError, match=r"from 0 to 2 .* found 7"):
        Objective(network(), nn.CrossEntropyLoss(), [(x[:300], y[:300]), (x[300:], y[300:])])


def test_classes_of_pixels_and_probabilities_are_what_they_are():
    x = torch.randn(4, 2, 3, 3)
    model = nn.Conv2d(2, 5, 1)
    for target in (torch.randint(0, 5, (4, 3, 3), dtype=torch.int16), torch.rand(4, 5, 3, 3)):
        found = Objective(model, nn.CrossEntropyLoss(), (x, target))
        plain = target if target.is_floating_point() else target.long()
        assert torch.allclose(found.value(found.theta), F.cross_entropy(model(x), plain).detach())
    with pytest.raises(InputError, match=r"found int64 of shape \(4, 1, 3, 3\): pass targets.reshape\(-1, 3, 3\)"):
        Objective(model, nn.CrossEntropyLoss(), (x, torch.zeros(4, 1, 3, 3, dtype=torch.int64)))


class Lookup(nn.Module):
    """Indices of a type that torch's tables do not take."""

    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(300, 4), nn.Linear(4, 3)

    def forward(self, tokens):
        return self.head(self.table(tokens).mean(1))


WHOLE = {
    "images": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), (N, 1, 2, 2), torch.uint8, r"float\(\) / 255"),
    "convolution": (lambda: nn.Sequential(nn.Conv2d(1, 3, 2), nn.Flatten()), (N, 1, 2, 2), torch.uint8, r"/ 255"),
    "counts": (network, (N, 4), torch.int64, r"inputs.float\(\); torch"),
    "truths": (network, (N, 4), torch.bool, r"inputs.float\(\); torch"),
    "tokens": (Lookup, (N, 6), torch.uint8, r"inputs.long\(\); torch"),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_inputs_of_a_type_that_the_model_cannot_use_are_named(kind):
    make, shape, dtype, said = WHOLE[kind]
    inputs, y = torch.randint(0, 2, shape).to(dtype), data()[1]
    kind = str(dtype).removeprefix("torch.")
    with pytest.raises(InputError, match=f"data inputs must be of a type .*found {kind}: pass .*{said}"):
        Objective(make(), nn.CrossEntropyLoss(), (inputs, y))


def test_a_model_that_scales_its_images_keeps_them_as_they_are():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(4, 3)

        def forward(self, images):
            assert images.dtype == torch.uint8
            return self.head(images.flatten(1).to(self.head.weight) / 255)

    images, y = torch.randint(0, 256, (N, 1, 2, 2), dtype=torch.uint8), data()[1]
    model = Scaled()
    found = Objective(model, nn.CrossEntropyLoss(), (images, y))
    right = Objective(model.head, nn.CrossEntropyLoss(), (images.flatten(1).float() / 255, y))
    assert torch.allclose(found.gradient(found.theta), right.gradient(right.theta), atol=1e-7)

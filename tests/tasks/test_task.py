from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from thalweg import InputError
from thalweg.tasks import Task, from_arrays, from_dataset


def make(x=None, y=None, *, kind="classification", outputs=3, test=None) -> Task:
    x = torch.zeros(4, 2) if x is None else x
    y = torch.tensor([0, 1, 2, 0]) if y is None else y
    return Task("t", "t", kind, (x, y), test, outputs, "t.")


def test_checksum_is_sha256_over_types_shapes_and_bytes():
    x, y = torch.arange(8.0).reshape(4, 2), torch.tensor([0, 1, 2, 0])
    digest = hashlib.sha256(b"torch.float32 (4, 2);" + x.numpy().tobytes())
    digest.update(b"torch.int64 (4,);" + y.numpy().tobytes())
    assert make(x, y).checksum == digest.hexdigest()


def test_checksum_sees_every_change():
    base = make()
    pair = (torch.zeros(1, 2), torch.tensor([0]))
    one_bit = torch.zeros(4, 2)
    one_bit[3, 1] = -0.0
    others = [
        make(one_bit),
        make(y=torch.tensor([0, 1, 2, 1])),
        make(torch.zeros(4, 2, dtype=torch.float64)),
        make(torch.zeros(4, 1, 2)),
        make(test=pair),
    ]
    sums = {task.checksum for task in [base, *others]}
    assert len(sums) == 6
    assert make().checksum == base.checksum


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_checksum_of_every_floating_point_type(dtype):
    assert len(make(torch.ones(4, 2, dtype=dtype)).checksum) == 64


NAN = torch.tensor([[0.0, 1.0], [0.0, 1.0], [float("nan"), 0.0], [0.0, 0.0]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": torch.zeros(0, 2), "y": torch.zeros(0, dtype=torch.int64)}, "train data must not be empty"),
        ({"x": torch.zeros(3, 2)}, "one target per input, found 3 inputs and 4 targets"),
        ({"x": NAN}, "train inputs must be finite, found NaN or inf in sample 2"),
        ({"x": NAN.nan_to_num(torch.inf)}, "train inputs must be finite, found NaN or inf in sample 2"),
        ({"y": torch.tensor([0, 1, 3, 0])}, "train classes must be 0 to 2, found 3"),
        ({"y": torch.tensor([0, -1, 2, 0])}, "train classes must be 0 to 2, found -1"),
        ({"y": torch.zeros(4)}, r"class numbers \(N,\), found torch.float32"),
        ({"y": torch.zeros(4, 2), "kind": "regression"}, r"must have shape \(N, 3\), found \(4, 2\)"),
        ({"test": (torch.zeros(2, 3), torch.tensor([0, 1]))}, r"shape of the training inputs \(2,\), found \(3,\)"),
        ({"test": (torch.zeros(0, 2), torch.zeros(0).long())}, "test data must not be empty"),
    ],
)
def test_bad_data(arguments, message):
    with pytest.raises(InputError, match=message):
        make(**arguments)


def test_nan_target_of_a_regression():
    with pytest.raises(InputError, match="train targets must be finite, found NaN or inf in sample 1"):
        from_arrays((np.zeros((3, 1)), np.array([0.0, np.nan, 0.0])))


def test_arrays_become_a_classification():
    train = np.zeros((4, 2, 5)), np.array([0, 3, 1, 1], dtype=np.uint8)
    task = from_arrays(train, (np.ones((1, 2, 5)), [2]), name="m")
    assert (task.kind, task.outputs, task.input_shape, task.samples) == ("classification", 4, (2, 5), 4)
    assert task.train[0].dtype == torch.float32
    assert task.train[1].dtype == torch.int64
    assert task.description == "m: 4 training and 1 test samples of shape 2×5, 4 classes."


def test_arrays_become_a_regression():
    task = from_arrays((np.zeros((4, 2)), np.arange(4.0)), dtype=torch.float64)
    assert (task.kind, task.outputs, task.test) == ("regression", 1, None)
    assert task.train[1].shape == (4, 1)
    assert task.train[1].dtype == torch.float64


@pytest.mark.parametrize(
    ("train", "test", "extra", "message"),
    [
        ((np.zeros((2, 1)), [0, 1]), (np.zeros((2, 1)), [0.5, 1]), {}, "both be class numbers or both values"),
        ((np.zeros((2, 1)), [0.5, 1]), None, {"classes": 3}, "classes applies to integer targets only"),
        ((np.zeros((2, 1)), [0, 5]), None, {"classes": 3}, "train classes must be 0 to 2, found 5"),
        ((np.zeros((0, 1)), np.zeros(0)), None, {}, "train data must not be empty"),
        ((np.zeros((1, 1)), 3), None, {}, "must have a sample axis"),
    ],
)
def test_bad_arrays(train, test, extra, message):
    with pytest.raises(InputError, match=message):
        from_arrays(train, test, **extra)


class Squares(Dataset):
    """Map-style, without an IndexError at its end: plain iteration would never stop."""

    def __len__(self):
        return 5

    def __getitem__(self, index):
        return np.full((2, 2), index, dtype=np.float32), index % 3


class Stream(IterableDataset):
    def __iter__(self):
        return iter(zip(np.arange(6.0), np.arange(6.0) ** 2, strict=True))


class Items(Dataset):
    def __init__(self, *items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def test_map_style_dataset():
    task = from_dataset(Squares(), Squares())
    assert (task.kind, task.outputs, task.input_shape) == ("classification", 3, (2, 2))
    np.testing.assert_array_equal(task.train[0][:, 0, 0], np.arange(5))
    np.testing.assert_array_equal(task.train[1], [0, 1, 2, 0, 1])


def test_iterable_dataset_of_numbers():
    task = from_dataset(Stream())
    assert (task.kind, task.input_shape) == ("regression", ())
    np.testing.assert_array_equal(task.train[1][:, 0], np.arange(6.0) ** 2)


def test_tensor_dataset_equals_its_tensors():
    x, y = torch.randn(7, 3), torch.randint(4, (7,))
    task = from_dataset(TensorDataset(x, y), classes=4)
    assert torch.equal(task.train[0], x)
    assert torch.equal(task.train[1], y)
    assert task.checksum == from_arrays((x, y), classes=4).checksum


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "train data must not be empty"),
        ([{"x": 1}], r"\(input, target\) pairs, found dict at sample 0"),
        ([(1, 2, 3)], r"\(input, target\) pairs, found tuple at sample 0"),
        ([([1.0], 0), (["a"], 0)], "tensors, arrays or numbers, found list at sample 1"),
        ([([1.0], 0), ([1.0, 2.0], 0)], r"one shape, found \(1,\) at sample 0 and \(2,\) at sample 1"),
        ([([float("nan")], 0)], "found NaN or inf in sample 0"),
    ],
)
def test_bad_dataset(items, message):
    with pytest.raises(InputError, match=message):
        from_dataset(Items(*items))


def test_one_sample_of_any_stride():
    x = torch.zeros(4).as_strided((1, 1), (1, 0))  # as numpy.linspace leaves a grid of one point
    assert from_arrays((x, x), name="point").checksum == from_arrays((torch.zeros(1, 1), torch.zeros(1, 1))).checksum

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.tasks.conftest import python2_batch
from thalweg import InputError
from thalweg.tasks.cifar import decode_batch, read_cifar10
from thalweg.tasks.places import BATCHES, Found

SUBSET = Path(os.environ.get("THALWEG_CIFAR10_SUBSET", Path(__file__).parents[3] / "shared/data/cifar10_subset.npz"))


def rows(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(256, size=(count, 3072), dtype=np.uint8)


def classes(count: int) -> list[int]:
    return [number % 10 for number in range(count)]


def pixel(data: np.ndarray, image: int, channel: int, row: int, column: int) -> int:
    """The published layout: 1,024 red, 1,024 green, 1,024 blue values, each row by row."""
    return int(data[image, channel * 1024 + row * 32 + column])


def test_batch_as_python_2_wrote_it():
    data = rows(3)
    images, labels = decode_batch(python2_batch(data, [7, 0, 9]), "data_batch_1")
    np.testing.assert_array_equal(labels, [7, 0, 9])
    assert images.shape == (3, 3, 32, 32)
    for index in [(0, 0, 0, 0), (1, 2, 30, 4), (2, 1, 5, 31)]:
        assert images[index] == pixel(data, *index)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_batch_written_again_by_python_3(protocol):
    content = {"data": rows(2), "labels": [1, 2], "batch_label": "testing", "filenames": ["a.png", "b.png"]}
    data = pickle.dumps(content, protocol)
    if protocol < 3:  # Python 3 wraps the bytes of an array in a call of _codecs.encode there
        with pytest.raises(InputError, match=r"it asks for _codecs\.encode, which is no constructor of arrays"):
            decode_batch(data, "f")
        return
    images, labels = decode_batch(data, "f")
    np.testing.assert_array_equal(images.reshape(2, 3072), content["data"])
    np.testing.assert_array_equal(labels, [1, 2])


class Evil:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (os.system, ("touch {target}",), "system"),
        (eval, ("open('{target}', 'w')",), "builtins.eval"),
        (exec, ("open('{target}', 'w')",), "builtins.exec"),
        (getattr, ("text", "upper"), "builtins.getattr"),
        (np.load, ("{target}",), "load"),
        (Path.touch, (Path("x"),), "pathlib"),
        (np.fromfile, ("{target}",), "fromfile"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_malicious_pickle_is_refused_by_name_and_runs_nothing(tmp_path, function, arguments, name, protocol):
    target = tmp_path / "touched"
    filled = [value.format(target=target) if isinstance(value, str) else value for value in arguments]
    data = pickle.dumps({"data": rows(1), "labels": [0], "x": Evil(function, *filled)}, protocol)
    with pytest.raises(InputError, match=r"data_batch_1 is refused: it asks for .*which is no constructor") as caught:
        decode_batch(data, "data_batch_1")
    if protocol > 2:  # at lower protocols the array's own bytes are refused first
        assert name in str(caught.value)
    assert not target.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x04\x8c\x05numpy\x94\x8c\x19ndarray.__init_subclass__\x94\x93.",  # a dotted name
        b"cos\nsystem\n(S'true'\ntR.",
        b"(S'true'\nios\nsystem\n.",
        b"\x80\x02cnumpy\nload\n.",
        b"Pstolen\n.",  # an object from outside the file
    ],
)
def test_hand_written_opcodes_are_refused(data):
    with pytest.raises(InputError, match="f is refused: it asks for"):
        decode_batch(data, "f")


@pytest.mark.parametrize(
    "call",
    [
        (np.ndarray, ((4,), "O", b"A" * 32)),  # bytes that would be read as addresses of objects
        (np.ndarray, ((2**40,), "u1")),
        (np.dtype, ("O", False, True)),
        (np.dtype, ("u1", False, True), (4, "|", None, ("a",), {"a": (np.dtype("O"), 0)}, 8, 1, 63)),  # numbers so far
    ],
)
def test_bytes_never_become_objects(call):
    class Crafted:
        def __reduce__(self):
            return call

    class Forged:
        def __reduce__(self):
            return np.zeros(0).__reduce__()[0], (np.ndarray, (0,), b"b"), (1, (4,), Crafted(), False, b"A" * 32)

    for evil in (Crafted(), Forged()):
        data = pickle.dumps({"data": rows(4), "labels": evil}, 4)
        with pytest.raises(InputError, match="batch"):  # and not a crash of Python
            decode_batch(data, "batch")


def test_every_truncation_is_refused():
    data = python2_batch(rows(1), [3])
    cuts = [*range(0, 200, 3), len(data) // 2, len(data) - 2, len(data) - 1]
    for cut in cuts:
        with pytest.raises(InputError, match="f must be an intact CIFAR-10 batch"):
            decode_batch(data[:cut], "f")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "must hold 'data' as bytes .*, found nothing"),
        ({"labels": [1]}, "must hold 'data' as bytes .*, found nothing"),
        ({"data": [1, 2], "labels": [1]}, "found list"),
        ({"data": np.zeros((1, 3072)), "labels": [1]}, r"found float64 of shape \(1, 3072\)"),
        ({"data": np.zeros((1, 100), np.uint8), "labels": [1]}, r"found uint8 of shape \(1, 100\)"),
        ({"data": rows(1)}, "must hold 'labels' as a list of whole numbers, found nothing"),
        ({"data": rows(1), "labels": ["cat"]}, "must hold 'labels' as a list of whole numbers, found list"),
    ],
)
def test_batch_that_holds_something_else(content, message):
    with pytest.raises(InputError, match=message):
        decode_batch(pickle.dumps(content, 4), "f")


def write(folder: Path, layout: str, count: int = 4) -> tuple[np.ndarray, list[int]]:
    for number, name in enumerate(BATCHES):
        data = rows(count, seed=number)
        if layout == "batches-py":
            (folder / name).write_bytes(python2_batch(data, classes(count)))
        else:
            records = np.concatenate([np.array(classes(count), dtype=np.uint8)[:, None], data], axis=1)
            (folder / f"{name}.bin").write_bytes(records.tobytes())
    return np.concatenate([rows(count, seed=number) for number in range(5)]), classes(count) * 5


@pytest.mark.parametrize("layout", ["batches-py", "batches-bin"])
def test_both_kinds_of_batches(tmp_path, layout):
    data, labels = write(tmp_path, layout)
    raw = read_cifar10(Found(layout, tmp_path))
    np.testing.assert_array_equal(raw.x.reshape(20, 3072), data)
    np.testing.assert_array_equal(raw.y, labels)
    np.testing.assert_array_equal(raw.x_test.reshape(4, 3072), rows(4, seed=5))
    assert raw.title == "CIFAR-10 subset (20)"


def test_npz_is_channels_last(tmp_path):
    data = rows(6)
    images = data.reshape(6, 3, 32, 32).transpose(0, 2, 3, 1)
    file = tmp_path / "cifar10.npz"
    np.savez(file, x_train=images, y_train=np.array(classes(6))[:, None], x_test=images[:2], y_test=classes(2))
    raw = read_cifar10(Found("npz", file))
    np.testing.assert_array_equal(raw.x.reshape(6, 3072), data)
    np.testing.assert_array_equal(raw.y, classes(6))  # also from Keras' column of labels
    assert raw.x.flags.c_contiguous


def test_full_batch_must_have_the_published_checksum(tmp_path):
    write(tmp_path, "batches-py")
    (tmp_path / "data_batch_2").write_bytes(python2_batch(np.zeros((10_000, 3072), np.uint8), classes(10_000)))
    with pytest.raises(InputError, match=r"data_batch_2 must have the MD5 d4bba439e000b95fd0a9bffe97cbabec .*, found"):
        read_cifar10(Found("batches-py", tmp_path))


def test_bad_binary_batch(tmp_path):
    write(tmp_path, "batches-bin")
    (tmp_path / "test_batch.bin").write_bytes(bytes(3074))
    with pytest.raises(InputError, match=r"test_batch\.bin must hold records of 3073 bytes, found 3,074 bytes"):
        read_cifar10(Found("batches-bin", tmp_path))
    (tmp_path / "test_batch.bin").write_bytes(b"\x0a" + bytes(3072))
    with pytest.raises(InputError, match="test labels must be 0 to 9, found 10"):
        read_cifar10(Found("batches-bin", tmp_path))


def test_bad_npz(tmp_path):
    file = tmp_path / "cifar10.npz"
    good = np.zeros((2, 32, 32, 3), np.uint8)
    np.savez(file, x_train=good.transpose(0, 3, 1, 2), y_train=[0, 1], x_test=good, y_test=[0, 1])
    with pytest.raises(InputError, match=r"x_train must be bytes .*, found uint8 of shape \(2, 3, 32, 32\)"):
        read_cifar10(Found("npz", file))
    np.savez(file, x_train=good, y_train=[0.5, 1], x_test=good, y_test=[0, 1])
    with pytest.raises(InputError, match="y_train must be integers"):
        read_cifar10(Found("npz", file))


@pytest.mark.skipif(not SUBSET.is_file(), reason="needs a file of genuine CIFAR-10 images")
def test_genuine_images():
    raw = read_cifar10(Found("npz", SUBSET))
    assert raw.x.shape[1:] == (3, 32, 32)
    assert raw.title == f"CIFAR-10 subset ({len(raw.x):,})"
    # the channel means that every tutorial normalises by, within the sampling error of a subset
    np.testing.assert_allclose(raw.x.mean(axis=(0, 2, 3)) / 255, [0.4914, 0.4822, 0.4465], atol=0.01)

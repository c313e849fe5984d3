from __future__ import annotations

import contextlib
import gzip
import hashlib
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tests.tasks.conftest import NAMES, idx_bytes, images, labels, write_idx
from thalweg import InputError
from thalweg.tasks.mnist import decode_idx, encode_idx, read_bytes, read_mnist
from thalweg.tasks.places import Found
from thalweg.tasks.sources import FASHION_MNIST, MNIST, Source

SMALL = Source("mnist", "MNIST", "", (30, 20), (), (), 0, sha256=dict.fromkeys(NAMES, "0" * 64))


@given(arrays(np.uint8, array_shapes(min_dims=1, max_dims=3, max_side=5)))
def test_idx_round_trip_in_the_published_format(array):
    data = encode_idx(array)
    assert data == idx_bytes(array)
    np.testing.assert_array_equal(decode_idx(data, array.ndim, "f"), array)


@given(st.binary(max_size=40))
def test_any_bytes_are_decoded_or_refused(data):
    with contextlib.suppress(InputError):  # any other exception fails the test
        assert encode_idx(decode_idx(data, 1, "f")) == data


@pytest.mark.parametrize("compressed", [True, False])
def test_reads_raw_and_compressed(tmp_path, compressed):
    arrays_written = write_idx(tmp_path, compressed=compressed)
    raw = read_mnist(MNIST, Found("idx", tmp_path))
    np.testing.assert_array_equal(raw.x[:, 0], arrays_written[NAMES[0]])
    np.testing.assert_array_equal(raw.y, arrays_written[NAMES[1]])
    np.testing.assert_array_equal(raw.x_test[:, 0], arrays_written[NAMES[2]])
    np.testing.assert_array_equal(raw.y_test, arrays_written[NAMES[3]])
    assert raw.title == "MNIST subset (30)"
    assert raw.y.dtype == np.int64


def test_reads_keras_npz(tmp_path):
    file = tmp_path / "mnist.npz"
    np.savez(file, x_train=images(30), y_train=labels(30), x_test=images(20, seed=1), y_test=labels(20))
    raw = read_mnist(MNIST, Found("npz", file))
    np.testing.assert_array_equal(raw.x[:, 0], images(30))
    np.testing.assert_array_equal(raw.y_test, labels(20))


@pytest.mark.parametrize("layout", ["idx", "npz"])
def test_files_of_full_length_must_have_the_published_checksum(tmp_path, layout):
    write_idx(tmp_path, compressed=False)
    file = tmp_path / "mnist.npz"
    np.savez(file, x_train=images(30), y_train=labels(30), x_test=images(20), y_test=labels(20))
    expected, found = "0" * 64, hashlib.sha256(idx_bytes(images(30))).hexdigest()
    with pytest.raises(InputError) as caught:
        read_mnist(SMALL, Found(layout, file if layout == "npz" else tmp_path))
    message = str(caught.value)
    assert expected in message
    assert found in message
    assert str(file if layout == "npz" else tmp_path / NAMES[0]) in message


def test_files_of_another_data_set_are_recognised(tmp_path, monkeypatch):
    from thalweg.tasks import mnist

    write_idx(tmp_path, compressed=False)
    own = {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in NAMES}
    other = Source("other", "Other-MNIST", "", (30, 20), (), (), 0, sha256=own)
    monkeypatch.setattr(mnist, "SOURCES", {"mnist": SMALL, "other": other})
    with pytest.raises(InputError, match="which is that of Other-MNIST"):
        read_mnist(SMALL, Found("idx", tmp_path))
    assert read_mnist(other, Found("idx", tmp_path)).title == "Other-MNIST"


def test_damaged_files(tmp_path):
    write_idx(tmp_path, compressed=True)
    name = f"{NAMES[0]}.gz"
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[:-100])
    with pytest.raises(InputError, match=f"{name} must be an intact gzip file"):
        read_mnist(MNIST, Found("idx", tmp_path))
    (tmp_path / name).write_bytes(b"no gzip")
    with pytest.raises(InputError, match=f"{name} must be an intact gzip file"):
        read_bytes(tmp_path / name)
    (tmp_path / name).write_bytes(whole[:40] + bytes(8) + whole[48:])
    with pytest.raises(InputError, match=f"{name} must be an intact gzip file"):
        read_bytes(tmp_path / name)
    (tmp_path / name).write_bytes(gzip.compress(idx_bytes(images(30))[:-1]))
    with pytest.raises(InputError, match=f"{name} must have 23,536 bytes by its header, found 23,535"):
        read_mnist(MNIST, Found("idx", tmp_path))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "must start as IDX bytes with 3 axes"),
        (idx_bytes(labels(3)), "must start as IDX bytes with 3 axes .00000803., found 00000801"),
        (b"\0\0\x08\x03\0\0", "must start as IDX bytes"),
        (idx_bytes(images(2)) + b"\0", "must have 1,584 bytes by its header, found 1,585"),
    ],
)
def test_bad_idx(data, message):
    with pytest.raises(InputError, match=message):
        decode_idx(data, 3, "f")


def test_images_and_labels_must_fit(tmp_path):
    write_idx(tmp_path, compressed=False)
    (tmp_path / NAMES[1]).write_bytes(idx_bytes(labels(29)))
    with pytest.raises(InputError, match="found 30 images and 29 labels"):
        read_mnist(MNIST, Found("idx", tmp_path))
    (tmp_path / NAMES[1]).write_bytes(idx_bytes(np.full(30, 10, dtype=np.uint8)))
    with pytest.raises(InputError, match="training labels must be 0 to 9, found 10"):
        read_mnist(MNIST, Found("idx", tmp_path))


def test_npz_is_read_without_running_anything(tmp_path):
    file = tmp_path / "mnist.npz"
    np.savez(file, x_train=np.array([object()]), y_train=labels(1), x_test=images(1), y_test=labels(1))
    with pytest.raises(InputError, match=r"must be an intact \.npz file of plain arrays"):
        read_mnist(MNIST, Found("npz", file))
    np.savez(file, x_train=images(1))
    with pytest.raises(InputError, match=r"must hold the arrays .*, found no 'y_train'"):
        read_mnist(MNIST, Found("npz", file))
    np.savez(file, x_train=images(1)[0], y_train=labels(1), x_test=images(1), y_test=labels(1))
    with pytest.raises(InputError, match=r"x_train must be bytes .* with 3 axes, found uint8 of shape \(28, 28\)"):
        read_mnist(MNIST, Found("npz", file))
    file.write_bytes(b"PK\x03\x04 damaged")
    with pytest.raises(InputError, match=r"must be an intact \.npz file"):
        read_mnist(MNIST, Found("npz", file))


# Published class sizes, for machines that have the data sets.
PUBLISHED = {
    "mnist": (MNIST, [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]),
    "fashion-mnist": (FASHION_MNIST, [6000] * 10),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_real_data_set(name):
    from thalweg.tasks.places import locate

    source, counts = PUBLISHED[name]
    found = locate(source)
    if found is None:
        pytest.skip(f"{name} is not on this machine")
    raw = read_mnist(source, found)
    assert raw.title == source.title
    assert (raw.x.shape, raw.x_test.shape) == ((60_000, 1, 28, 28), (10_000, 1, 28, 28))
    np.testing.assert_array_equal(np.bincount(raw.y), counts)
    if name == "mnist":  # the mean and standard deviation that every tutorial normalises by
        assert raw.x.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
        assert raw.x.std() / 255 == pytest.approx(0.3081, abs=5e-5)


def test_a_header_whose_product_overflows_is_refused():
    data = bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**31, 2**31, 4)  # 2⁶⁴ bytes: 0 in 64-bit arithmetic
    with pytest.raises(InputError, match=r"must have 18,446,744,073,709,551,632 bytes by its header, found 16"):
        decode_idx(data, 3, "f")


@pytest.mark.parametrize("shape", ["(1000000000000, 28, 28)", "(99999999999999999999,)"])
def test_npz_that_claims_more_than_any_memory_holds(tmp_path, shape):
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    file = tmp_path / "mnist.npz"
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("x_train", "y_train", "x_test", "y_test"):
            archive.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    with pytest.raises(InputError, match=r"must be an intact \.npz file"):
        read_mnist(MNIST, Found("npz", file))


def test_npz_with_any_byte_damaged_is_read_or_refused(tmp_path):
    file = tmp_path / "mnist.npz"
    np.savez(file, x_train=images(2, 2), y_train=labels(2), x_test=images(2, 2), y_test=labels(2))
    whole, refused = file.read_bytes(), 0
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:  # any other exception fails the test
            read_mnist(MNIST, Found("npz", file))
        except InputError:
            refused += 1
    assert refused > len(whole) / 2


def test_files_that_would_fill_the_memory_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("thalweg.tasks.mnist.LARGEST", 10_000)
    monkeypatch.setattr("thalweg.tasks.images.LARGEST", 10_000)
    bomb, archive = tmp_path / "train.gz", tmp_path / "mnist.npz"
    bomb.write_bytes(gzip.compress(bytes(10_001)))
    with pytest.raises(InputError, match="must unpack to at most 10,000 bytes, found more"):
        read_bytes(bomb)
    bomb.write_bytes(gzip.compress(bytes(10_000)))
    assert len(read_bytes(bomb)) == 10_000
    zeros = np.zeros(10_000, np.uint8)
    np.savez_compressed(archive, x_train=zeros, y_train=zeros, x_test=zeros, y_test=zeros)
    with pytest.raises(InputError, match=r"must unpack to at most 10,000 bytes, found 40,"):
        read_mnist(MNIST, Found("npz", archive))

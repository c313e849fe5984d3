"""MNIST and data sets in its form: IDX files, raw or compressed, and Keras' mnist.npz.

IDX: Y. LeCun, C. Cortes, "The MNIST database of handwritten digits" (format description at the end of that page): a
big-endian header of the magic number (two zero bytes, the type, the number of axes) and the length of each axis, then
the values. Files of the published length are compared with the published checksum, others are read as a subset.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from thalweg.errors import InputError
from thalweg.tasks.images import LARGEST, RawImages, read_npz
from thalweg.tasks.places import Found, idx_file
from thalweg.tasks.sources import SOURCES, TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, Source

__all__ = ["decode_idx", "encode_idx", "read_bytes", "read_mnist"]

Bytes = NDArray[np.uint8]

_UNSIGNED_BYTE = 8


def read_bytes(file: Path) -> bytes:
    """Content of a file, decompressed if its name ends in .gz.

    Raises:
        InputError: If the compressed stream is damaged or holds more than any data set.
    """
    if file.suffix != ".gz":
        return file.read_bytes()
    try:
        with gzip.open(file) as stream:
            data = stream.read(LARGEST + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{file} must be an intact gzip file, found: {error}") from None
    if len(data) > LARGEST:
        raise InputError(f"{file} must unpack to at most {LARGEST:,} bytes, found more")
    return data


def decode_idx(data: bytes, axes: int, name: str) -> Bytes:
    """The array in an IDX file of unsigned bytes.

    Args:
        data: Content of the file, decompressed.
        axes: Number of axes it must have: 3 for images, 1 for labels.
        name: The file's name, for messages.

    Raises:
        InputError: If the header or the length is wrong.

    >>> decode_idx(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]), 1, "labels")
    array([7, 9], dtype=uint8)
    """
    magic = bytes([0, 0, _UNSIGNED_BYTE, axes])
    if data[:4] != magic or len(data) < 4 + 4 * axes:
        raise InputError(f"{name} must start as IDX bytes with {axes} axes ({magic.hex()}), found {data[:4].hex()}")
    shape = struct.unpack(f">{axes}I", data[4 : 4 + 4 * axes])
    wanted = 4 + 4 * axes + math.prod(shape)
    if len(data) != wanted:
        raise InputError(f"{name} must have {wanted:,} bytes by its header, found {len(data):,}")
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)


def encode_idx(array: Bytes) -> bytes:
    """The IDX file of an array of unsigned bytes: the inverse of :func:`decode_idx`.

    >>> encode_idx(np.array([7, 9], dtype=np.uint8)).hex()
    '00000801000000020709'
    """
    header = bytes([0, 0, _UNSIGNED_BYTE, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + np.ascontiguousarray(array).tobytes()


def check_sha256(data: bytes, wanted: Source, name: str, file: Path) -> None:
    """Raise InputError, naming file, expected and found checksum, unless the data are the published ones."""
    expected, found = wanted.sha256[name], hashlib.sha256(data).hexdigest()
    if found == expected:
        return
    owner = next((s.title for s in SOURCES.values() if s.sha256.get(name) == found), None)
    really = f", which is that of {owner}" if owner else ""
    raise InputError(f"{file} must have the SHA-256 {expected} of {wanted.title}'s {name}, found {found}{really}")


def read_mnist(wanted: Source, found: Found) -> RawImages:
    """Both sets of MNIST or Fashion-MNIST.

    Args:
        wanted: Which one.
        found: Its files, see :func:`thalweg.tasks.places.locate`.

    Raises:
        InputError: If a file is damaged or is not the published one.
    """
    if found.layout == "npz":
        arrays = _from_npz(wanted, found.path)
    else:
        arrays = {name: _from_idx(wanted, found.path, name) for name in wanted.sha256}
    x, x_test = arrays[TRAIN_IMAGES][:, None], arrays[TEST_IMAGES][:, None]
    title = wanted.title
    if (len(x), len(x_test)) != wanted.sizes:
        title += f" subset ({len(x):,})"
    return RawImages(title, x, arrays[TRAIN_LABELS].astype(np.int64), x_test, arrays[TEST_LABELS].astype(np.int64))


def _published(wanted: Source, name: str) -> int:
    """Number of samples in a complete file."""
    return wanted.sizes[0 if name in (TRAIN_IMAGES, TRAIN_LABELS) else 1]


def _from_idx(wanted: Source, folder: Path, name: str) -> Bytes:
    file = idx_file(folder, name)
    if file is None:
        raise InputError(f"{folder} must hold all files of {wanted.title}, found no {name}")
    data = read_bytes(file)
    array = decode_idx(data, 3 if name in (TRAIN_IMAGES, TEST_IMAGES) else 1, str(file))
    if len(array) == _published(wanted, name):
        check_sha256(data, wanted, name, file)
    return array


def _from_npz(wanted: Source, file: Path) -> dict[str, Bytes]:
    names = {TRAIN_IMAGES: "x_train", TRAIN_LABELS: "y_train", TEST_IMAGES: "x_test", TEST_LABELS: "y_test"}
    arrays: dict[str, Bytes] = {}
    for (name, key), array in zip(names.items(), read_npz(file, tuple(names.values())), strict=True):
        axes = 3 if key.startswith("x") else 1
        if array.ndim != axes or array.dtype != np.uint8:
            raise InputError(
                f"{file}: {key} must be bytes (uint8) with {axes} axes, found {array.dtype} of shape {array.shape}"
            )
        if len(array) == _published(wanted, name):
            check_sha256(encode_idx(array), wanted, name, file)
        arrays[name] = array
    return arrays

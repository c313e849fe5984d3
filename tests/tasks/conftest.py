"""Small data files in every published layout, made by hand, and a search path without the machine's own data."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@pytest.fixture
def no_places(tmp_path, monkeypatch) -> Path:
    """A machine without any data files; returns its (absent) cache folder."""
    from thalweg.tasks import places

    monkeypatch.delenv("THALWEG_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(places, "DEBIAN", tmp_path / "debian")
    return places.cache_folder()


def images(count: int, side: int = 28, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(256, size=(count, side, side), dtype=np.uint8)


def labels(count: int) -> np.ndarray:
    return (np.arange(count) % 10).astype(np.uint8)


def idx_bytes(array: np.ndarray) -> bytes:
    """IDX written out by hand: magic, big-endian lengths, row-major bytes."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_idx(folder: Path, *, compressed: bool, train: int = 30, test: int = 20) -> dict[str, np.ndarray]:
    """The four files of a small MNIST; returns their arrays."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = dict(zip(NAMES, (images(train), labels(train), images(test, seed=1), labels(test)), strict=True))
    for name, array in arrays.items():
        data = idx_bytes(array)
        file = folder / (f"{name}.gz" if compressed else name)
        file.write_bytes(gzip.compress(data) if compressed else data)
    return arrays


def python2_batch(data: np.ndarray, classes: list[int]) -> bytes:
    """A batch exactly as Python 2 pickled it (protocol 2): text as byte strings, NumPy under its old module names."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value  # SHORT_BINSTRING

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)  # BININT

    content = data.tobytes()
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + number(0) + b"\x85" + text(b"b") + b"\x87R"
    dtype = b"cnumpy\ndtype\n" + text(b"u1") + number(0) + number(1) + b"\x87R"
    dtype += b"(" + number(3) + text(b"|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
    shape = number(data.shape[0]) + number(data.shape[1]) + b"\x86"
    array += b"(" + number(1) + shape + dtype + b"\x89" + b"T" + struct.pack("<i", len(content)) + content + b"tb"
    listed = b"](" + b"".join(number(value) for value in classes) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + text(b"labels") + listed + b"u."

"""CIFAR-10 in its three forms: Python batches, binary batches, and one .npz file.

Formats: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009, and the data set's page. The
Python batches are pickles, which can run any code when they are read; here they pass through an unpickler that knows
plain stand-ins for the constructors of NumPy's arrays and nothing else.
"""

from __future__ import annotations

import hashlib
import io
import pickle  # noqa: TID251 - the published format; read by the restricted unpickler below only
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thalweg.errors import InputError
from thalweg.tasks.images import RawImages, read_npz
from thalweg.tasks.places import BATCHES, Found
from thalweg.tasks.sources import CIFAR10

__all__ = ["decode_batch", "read_cifar10"]

Bytes = NDArray[np.uint8]

_PIXELS = 3 * 32 * 32
_FULL_BATCH = 10_000


class _Kind:
    """A type of numbers as a pickle tells it. NumPy's own would believe a state that turns numbers into pointers."""

    def __init__(self, code: str, *_: Any) -> None:
        self.code, self.order = str(code), ""

    def __setstate__(self, state: Any) -> None:
        self.order = state[1] if state[1] in ("<", ">") else ""

    def dtype(self) -> np.dtype[Any]:
        """NumPy's type."""
        found = np.dtype(self.order + self.code)
        if found.kind not in "buif":
            raise InputError(f"it holds an array of {found}, which is no plain type of numbers")
        return found


class _Array:
    """An array as a pickle tells it: a shape, a type and bytes, which NumPy compares before it makes one of them.

    NumPy's constructors themselves are never called with what stands in a file: they also take memory for the content
    of an array of objects, and bytes that are read as addresses can do anything.
    """

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state[1:]

    def array(self) -> NDArray[Any]:
        """The array, which cannot be written to."""
        shape, kind, columns, content = self.state
        if not isinstance(kind, _Kind):
            raise InputError(f"it holds an array of {kind!r}, which is no plain type of numbers")
        raw = content.encode("latin1") if isinstance(content, str) else content  # Python 2 had text for bytes
        return np.frombuffer(raw, kind.dtype()).reshape(shape, order="F" if columns else "C")


class _Buffered(_Array):
    """The same as protocol 5 writes it."""

    def __init__(self, content: Any, kind: Any, shape: Any, order: Any) -> None:
        self.state = (shape, kind, order == "F", content)


_CONSTRUCTORS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Kind,
    # NumPy moved its internals from `core` to `_core`; old pickles name the old place
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.numeric", "_frombuffer"): _Buffered,
    ("numpy._core.numeric", "_frombuffer"): _Buffered,
}
"""Everything that a batch may call: what stands for NumPy's constructors."""


class _ArrayUnpickler(pickle.Unpickler):
    """Reads arrays, numbers, text and containers; refuses every other global by name."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _CONSTRUCTORS[module, name]
        except KeyError:
            raise InputError(f"it asks for {module}.{name}, which is no constructor of arrays") from None

    def persistent_load(self, pid: Any) -> Any:
        raise InputError(f"it asks for the object {pid!r} from outside the file")


def decode_batch(data: bytes, name: str) -> tuple[Bytes, NDArray[np.int64]]:
    """Images (N, 3, 32, 32) and labels (N,) of one Python batch; nothing in it is executed.

    Args:
        data: Content of the file.
        name: The file's name, for messages.

    Raises:
        InputError: If the pickle asks for anything but arrays, is damaged, or holds something else.
    """
    try:
        content = _ArrayUnpickler(io.BytesIO(data), encoding="latin1").load()
        fields = {key: value.array() if isinstance(value, _Array) else value for key, value in _items(content)}
    except InputError as error:
        raise InputError(f"{name} is refused: {error}") from None
    except Exception as error:  # noqa: BLE001 - a damaged pickle can fail in any way, also inside NumPy's constructors
        raise InputError(f"{name} must be an intact CIFAR-10 batch, found: {error}") from None
    images, labels = fields.get("data"), fields.get("labels")
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != (_PIXELS,):
        raise InputError(f"{name} must hold 'data' as bytes (N, {_PIXELS}), found {_describe(images)}")
    if not isinstance(labels, (list, np.ndarray)) or not all(isinstance(label, (int, np.integer)) for label in labels):
        raise InputError(f"{name} must hold 'labels' as a list of whole numbers, found {_describe(labels)}")
    return images.reshape(-1, 3, 32, 32), np.array(labels, dtype=np.int64)


def _items(content: Any) -> list[tuple[Any, Any]]:
    """Fields by name; Python 3 reads some of Python 2's names as bytes."""
    items = content.items() if isinstance(content, dict) else ()
    return [(key.decode("latin1") if isinstance(key, bytes) else key, value) for key, value in items]


def _describe(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    return "nothing" if value is None else type(value).__name__


def read_cifar10(found: Found) -> RawImages:
    """Both sets of CIFAR-10, or of the part of it that the files hold; the title then says so.

    Args:
        found: Its files, see :func:`thalweg.tasks.places.locate`.

    Raises:
        InputError: If a file is damaged, refused, or of full length but not the published one.
    """
    match found.layout:
        case "npz":
            arrays = _from_npz(found.path)
        case "batches-py":
            arrays = _from_batches([_python_batch(found.path / name) for name in BATCHES])
        case "batches-bin":
            arrays = _from_batches([_binary_batch(found.path / f"{name}.bin") for name in BATCHES])
        case other:
            raise InputError(f"CIFAR-10 is read from batches or .npz files, found {other!r}")
    x, y, x_test, y_test = arrays
    title = CIFAR10.title
    if (len(x), len(x_test)) != CIFAR10.sizes:
        title += f" subset ({len(x):,})"
    return RawImages(title, x, y, x_test, y_test)


def _from_batches(
    batches: list[tuple[Bytes, NDArray[np.int64]]],
) -> tuple[Bytes, NDArray[np.int64], Bytes, NDArray[np.int64]]:
    images, labels = zip(*batches[:-1], strict=True)
    return np.concatenate(images), np.concatenate(labels), *batches[-1]


def _python_batch(file: Path) -> tuple[Bytes, NDArray[np.int64]]:
    data = file.read_bytes()
    batch = decode_batch(data, str(file))
    if len(batch[0]) == _FULL_BATCH and CIFAR10.archive is not None:
        expected, digest = CIFAR10.archive.md5[file.name], hashlib.md5(data, usedforsecurity=False).hexdigest()
        if digest != expected:
            raise InputError(f"{file} must have the MD5 {expected} of the published batch, found {digest}")
    return batch


def _binary_batch(file: Path) -> tuple[Bytes, NDArray[np.int64]]:
    data = np.frombuffer(file.read_bytes(), np.uint8)
    if data.size == 0 or data.size % (1 + _PIXELS):
        raise InputError(f"{file} must hold records of {1 + _PIXELS} bytes, found {data.size:,} bytes")
    records = data.reshape(-1, 1 + _PIXELS)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64)


def _from_npz(file: Path) -> tuple[Bytes, NDArray[np.int64], Bytes, NDArray[np.int64]]:
    x, y, x_test, y_test = read_npz(file, ("x_train", "y_train", "x_test", "y_test"))
    for key, images in (("x_train", x), ("x_test", x_test)):
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (32, 32, 3):
            raise InputError(
                f"{file}: {key} must be bytes (N, 32, 32, 3), found {images.dtype} of shape {images.shape}"
            )
    for key, labels in (("y_train", y), ("y_test", y_test)):
        if not np.issubdtype(labels.dtype, np.integer) or labels.size != len(labels):
            raise InputError(f"{file}: {key} must be integers (N,), found {labels.dtype} of shape {labels.shape}")
    channels_first = (0, 3, 1, 2)
    return (
        np.ascontiguousarray(x.transpose(channels_first)).view(np.uint8),
        y.reshape(-1).astype(np.int64),
        np.ascontiguousarray(x_test.transpose(channels_first)).view(np.uint8),
        y_test.reshape(-1).astype(np.int64),
    )

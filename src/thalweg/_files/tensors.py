"""Named tensors in safetensors files: written atomically, read lazily, never pickled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from thalweg._files.reading import regular
from thalweg._files.writing import as_os_error, replacing
from thalweg.errors import InputError

__all__ = ["save_tensors", "write_tensors", "separate", "open_tensors", "load_tensors", "tensors_of"]


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors of any dtype and shape (0-d and empty included) to one file, atomically.

    Args:
        path: The file.
        tensors: Values by name; on any device, in any memory layout, sharing memory or not.
        metadata: Text that goes into the header.

    Raises:
        InputError: A tensor that the format cannot hold (sparse, quantised, complex128).
        WriteError: The file could not be written.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "state.safetensors"
    >>> save_tensors(file, {"step": torch.tensor(3), "mask": torch.tensor([True, False])})
    >>> load_tensors(file)
    {'mask': tensor([ True, False]), 'step': tensor(3)}
    """
    with replacing(path) as temporary:
        write_tensors(temporary, tensors, metadata)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """As :func:`save_tensors`, into a file that nobody else sees yet.

    Raises:
        InputError: See there.
        OSError: The file could not be written.
    """
    try:
        save_file(separate(tensors), path, metadata=dict(metadata or {}))
    except SafetensorError as error:
        raise as_os_error(error) from error


def separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as the format wants them: on the CPU, detached, dense, none sharing memory with another.

    Raises:
        InputError: Something that is no tensor, or one that the format cannot hold (sparse, quantised, complex128).
    """
    seen: set[int] = set()
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise InputError(f"'{name}' must be a tensor, found {type(tensor).__name__}")
        if tensor.layout is not torch.strided or tensor.dtype is torch.complex128 or tensor.is_quantized:
            found = f"{tensor.dtype}, {tensor.layout}"
            raise InputError(f"tensor '{name}' must be dense and of a plain dtype, found {found}")
        dense = tensor.detach().to("cpu").resolve_conj().resolve_neg().contiguous()
        storage = dense.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() != dense.nbytes:
            dense = dense.clone(memory_format=torch.contiguous_format)
            storage = dense.untyped_storage()
        seen.add(storage.data_ptr())
        result[name] = dense
    return result


def open_tensors(path: Path) -> Any:
    """Open a file for lazy reading (a context manager with ``keys``, ``get_slice``, ``get_tensor``, ``metadata``).

    Raises:
        InputError: The file is missing, truncated, no regular file or no safetensors file; the message names it.
    """
    regular(path)
    try:
        return safe_open(path, framework="pt")
    except FileNotFoundError:
        raise InputError(f"{path} is missing") from None
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is corrupt: {error}") from error


def load_tensors(path: Path, prefix: str = "") -> dict[str, Tensor]:
    """Read all tensors whose names begin with `prefix` (removed from the keys) into memory of their own.

    Raises:
        InputError: As :func:`open_tensors`.
    """
    with open_tensors(path) as file:
        return tensors_of(file, prefix)


def tensors_of(file: Any, prefix: str = "") -> dict[str, Tensor]:
    """As :func:`load_tensors`, of a file that is open."""
    # The library's tensors are views of the mapped file; copies stay valid whatever happens to it.
    return {key.removeprefix(prefix): file.get_tensor(key).clone() for key in file.keys() if key.startswith(prefix)}  # noqa: SIM118 -- the reader is no mapping

"""Named results of a run: arrays, tables and JSON values, each in one file that reloads equal to what was saved."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from thalweg.errors import InputError, nearest
from thalweg.runs.files import read_json, write_json

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor

    Result: TypeAlias = (
        Mapping[str, Tensor | np.ndarray] | pl.DataFrame | Mapping[str, Any] | list | str | float | bool | None
    )

__all__ = ["save", "load", "cached", "names", "checked_name"]

_SUFFIXES = (".safetensors", ".parquet", ".json")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def checked_name(name: str, what: str) -> str:
    """The name, if it can be a file's.

    Raises:
        InputError: It is empty, too long, or holds anything but letters, digits, dot, dash and underscore.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(f"the name of a {what} must be letters, digits, '.', '-', '_' (at most 100), found {name!r}")
    return name


def save(folder: Path, name: str, value: Result) -> Path:
    """Write one result, atomically; an earlier one of the same name is replaced, whatever its kind.

    Args:
        folder: Where the run keeps results.
        name: Letters, digits, dot, dash, underscore.
        value: A non-empty mapping of tensors and numpy arrays (safetensors), a polars frame (parquet), or anything that
            JSON can carry (tuples come back as lists; NaN and infinities stay).

    Returns:
        The file.

    Raises:
        InputError: The value is none of these.
        WriteError: The file could not be written.
    """
    checked_name(name, "result")
    kind = _kind(name, value)
    path = folder / f"{name}{kind}"
    if kind == ".safetensors":
        _save_arrays(path, value)  # type: ignore[arg-type] -- _kind has looked
    elif kind == ".parquet":
        from thalweg.runs.metrics import write_frame

        write_frame(path, value)  # type: ignore[arg-type] -- _kind has looked
    else:
        write_json(path, value)
    for other in _SUFFIXES:
        if other != kind:
            (folder / f"{name}{other}").unlink(missing_ok=True)
    return path


def _kind(name: str, value: object) -> str:
    if type(value).__module__.startswith("polars") and type(value).__name__ == "DataFrame":
        return ".parquet"
    if isinstance(value, Mapping):
        arrays = [_is_array(item) for item in value.values()]
        if arrays and all(arrays):
            return ".safetensors"
        if any(arrays):
            key = next(key for key, item in value.items() if not _is_array(item))
            raise InputError(
                f"result '{name}' must hold arrays only or none, found {type(value[key]).__name__} at '{key}'"
            )
    return ".json"


def _is_array(value: object) -> bool:
    # By name, so that plain results need no torch.
    return isinstance(value, np.ndarray) or any(
        f"{c.__module__}.{c.__name__}" == "torch.Tensor" for c in type(value).__mro__
    )


def _save_arrays(path: Path, arrays: Mapping[str, Tensor | np.ndarray]) -> None:
    import torch

    from thalweg.runs.tensors import save_tensors

    tensors: dict[str, Tensor] = {}
    numpys = []
    for key, value in arrays.items():
        if not isinstance(key, str) or "\n" in key:
            raise InputError(f"the keys of result '{path.stem}' must be text on one line, found {key!r}")
        if isinstance(value, np.ndarray):
            numpys.append(key)
            native = value.astype(value.dtype.newbyteorder("="), order="C", copy=True)
            try:
                value = torch.from_numpy(native)
            except TypeError:
                raise InputError(
                    f"result '{path.stem}' must hold numbers, found dtype {value.dtype} at '{key}'"
                ) from None
        tensors[key] = value
    save_tensors(path, tensors, {"numpy": "\n".join(numpys), "order": "\n".join(tensors)})


def _load_arrays(path: Path) -> dict[str, Tensor | np.ndarray]:
    from thalweg.runs.tensors import load_tensors, open_tensors

    with open_tensors(path) as file:
        metadata = file.metadata() or {}
    tensors = load_tensors(path)
    numpys = set(metadata.get("numpy", "").split("\n"))
    order = metadata.get("order", "\n".join(tensors)).split("\n")  # the format sorts names; give them back as they came
    return {key: tensors[key].numpy() if key in numpys else tensors[key] for key in order}


def _find(folder: Path, name: str) -> Path | None:
    # Killed between writing one kind and removing another, a save leaves both: the newer counts.
    found = [path for suffix in _SUFFIXES if (path := folder / f"{name}{suffix}").is_file()]
    return max(found, key=lambda path: path.stat().st_mtime_ns) if found else None


def names(folder: Path) -> list[str]:
    """Names of the saved results, sorted."""
    return sorted({path.stem for path in folder.glob("[!.]*") if path.suffix in _SUFFIXES})


def load(folder: Path, name: str) -> Any:
    """Read a result as it was saved: tensors as tensors, numpy arrays as such, frames as frames.

    Raises:
        InputError: There is no such result (the nearest name is offered), or its file is corrupt.
    """
    path = _find(folder, checked_name(name, "result"))
    if path is None:
        known = names(folder)
        raise InputError(f"run {folder.parent} has no result '{name}'{nearest(name, known) or f' (it has {known})'}")
    if path.suffix == ".safetensors":
        return _load_arrays(path)
    if path.suffix == ".parquet":
        from thalweg.runs.metrics import read_frame

        return read_frame(path)
    return read_json(path)


def cached(folder: Path, name: str, compute: Callable[[], Result]) -> Any:
    """The result of that name, computed and saved if it is not there.

    What comes back is always what was read from the file, so that a resumed run continues with the very same values.
    """
    if _find(folder, checked_name(name, "result")) is None:
        save(folder, name, compute())
    return load(folder, name)

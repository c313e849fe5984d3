"""Named results of a run: results of instruments, arrays, tables, JSON values; each in one file that reloads equal.

With the run's ledger, a file is only read if it is what was written, and a result that is lost is named, not computed
again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from thalweg._files.reading import read_json, regular
from thalweg._files.writing import json_bytes, replacing
from thalweg._lazy import torch
from thalweg.errors import InputError, nearest
from thalweg.runs.frames import read_frame, write_parquet

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor

    from thalweg.results import Stored
    from thalweg.runs.ledger import Ledger

    Result: TypeAlias = (
        Stored | Mapping[str, Tensor | np.ndarray] | pl.DataFrame | Mapping[str, Any] | list | str | float | bool | None
    )

__all__ = ["save", "load", "cached", "remove", "names", "tables", "checked_name"]

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


def save(folder: Path, name: str, value: Result, ledger: Ledger | None = None) -> Path:
    """Write one result, atomically; an earlier one of the same name is replaced, whatever its kind.

    Args:
        folder: Where the run keeps results.
        name: Letters, digits, dot, dash, underscore.
        value: A result (:class:`thalweg.results.BaseResult`), or a non-empty mapping of tensors and numpy arrays
            (safetensors), a polars frame (parquet), or anything that JSON can carry (tuples come back as lists; NaN and
            infinities stay).
        ledger: The run's, which notes the file's checksum.

    Returns:
        The file.

    Raises:
        InputError: The value is none of these.
        WriteError: The file could not be written.
    """
    checked_name(name, "result")
    kind = _kind(name, value)
    path = folder / f"{name}{kind}"
    others = [folder / f"{name}{other}" for other in _SUFFIXES if other != kind]
    if kind == ".safetensors":
        from thalweg._files.tensors import write_tensors

        tensors, metadata = value.packed() if _is_stored(value) else _tensors(name, value)  # type: ignore[arg-type,union-attr] -- _kind has looked
        with _written(path, others, ledger) as temporary:
            write_tensors(temporary, tensors, metadata)
    elif kind == ".parquet":
        with _written(path, others, ledger) as temporary:
            write_parquet(temporary, value)  # type: ignore[arg-type] -- _kind has looked
    else:
        content = json_bytes(value, name)
        with _written(path, others, ledger) as temporary:
            temporary.write_bytes(content)
    return path


@contextmanager
def _written(path: Path, others: Iterable[Path], ledger: Ledger | None) -> Iterator[Path]:
    """Write a file in place of it and of others."""
    if ledger is not None:
        with ledger.replacing(path, others) as temporary:
            yield temporary
        return
    with replacing(path) as temporary:
        yield temporary
    for other in others:
        other.unlink(missing_ok=True)


def _kind(name: str, value: object) -> str:
    if type(value).__module__.startswith("polars") and type(value).__name__ == "DataFrame":
        return ".parquet"
    if _is_stored(value):
        return ".safetensors"
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
    return isinstance(value, np.ndarray) or _is_a(value, "torch.Tensor")


def _is_stored(value: object) -> bool:
    return _is_a(value, "thalweg.results.stored.Stored")


def _is_a(value: object, name: str) -> bool:
    """Whether it is of a class; by its name, so that plain results need no torch."""
    return any(f"{one.__module__}.{one.__name__}" == name for one in type(value).__mro__)


def _tensors(name: str, arrays: Mapping[str, Tensor | np.ndarray]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The arrays as tensors, and what tells how to turn them back."""
    tensors: dict[str, Tensor] = {}
    numpys = []
    for key, value in arrays.items():
        if not isinstance(key, str) or "\n" in key:
            raise InputError(f"the keys of result '{name}' must be text on one line, found {key!r}")
        if isinstance(value, np.ndarray):
            numpys.append(key)
            native = value.astype(value.dtype.newbyteorder("="), order="C", copy=True)
            try:
                value = torch.from_numpy(native)
            except TypeError:
                raise InputError(f"result '{name}' must hold numbers, found dtype {value.dtype} at '{key}'") from None
        tensors[key] = value
    return tensors, {"numpy": "\n".join(numpys), "order": "\n".join(tensors)}


def _load_arrays(path: Path) -> dict[str, Tensor | np.ndarray] | Stored:
    from thalweg._files.tensors import load_tensors, open_tensors
    from thalweg.results import stored

    with open_tensors(path) as file:
        metadata = file.metadata() or {}
    if stored.HEADER in metadata:
        return stored.load(path)
    tensors = load_tensors(path)
    numpys = set(metadata.get("numpy", "").split("\n"))
    order = metadata.get("order", "\n".join(tensors)).split("\n")  # the format sorts names; give them back as they came
    if sorted(order) != sorted(tensors):
        raise InputError(f"{path} is corrupt: it lists {order}, and holds {sorted(tensors)}")
    return {key: tensors[key].numpy() if key in numpys else tensors[key] for key in order}


def _find(folder: Path, name: str, ledger: Ledger | None) -> Path | None:
    """The file of a result, whether it is there or only ought to be; None if there is none of that name."""
    paths = [folder / f"{name}{suffix}" for suffix in _SUFFIXES]
    if ledger is not None and (files := ledger.files()) is not None:
        relative = {path.relative_to(ledger.folder).as_posix(): path for path in paths}
        known = [path for one, path in relative.items() if one in files]
        # One that the run has not written is found too, and then refused: computing over it would hide it.
        found = [path for one, path in relative.items() if os.path.lexists(path) and one not in ledger.tolerated()]
        return next(iter((*known, *found)), None)
    # Killed between writing one kind and removing another, a save leaves both: the newer counts.
    found = [path for path in paths if os.path.lexists(path)]
    return max(found, key=lambda path: path.lstat().st_mtime_ns) if found else None


def names(folder: Path, ledger: Ledger | None = None) -> list[str]:
    """Names of the saved results, sorted."""
    return sorted({path.stem for path in _paths(folder, ledger)})


def tables(folder: Path, ledger: Ledger | None = None) -> list[str]:
    """Names of the results that are tables, sorted."""
    return sorted({path.stem for path in _paths(folder, ledger) if path.suffix == ".parquet"})


def _paths(folder: Path, ledger: Ledger | None) -> list[Path]:
    files = None if ledger is None else ledger.files()
    if ledger is not None and files is not None:
        return [path for path in map(ledger.folder.joinpath, files) if path.parent == folder]
    return [path for path in folder.glob("[!.]*") if path.suffix in _SUFFIXES]


def load(folder: Path, name: str, ledger: Ledger | None = None) -> Any:
    """Read a result as it was saved: tensors as tensors, numpy arrays as such, frames as frames.

    Raises:
        InputError: There is no such result (the nearest name is offered), or its file is missing or corrupt.
    """
    path = _find(folder, checked_name(name, "result"), ledger)
    if path is None:
        known = names(folder, ledger)
        raise InputError(f"run {folder.parent} has no result '{name}'{nearest(name, known) or f' (it has {known})'}")
    if ledger is None:
        regular(path)
    else:
        ledger.verify(path)
    if path.suffix == ".safetensors":
        return _load_arrays(path)
    if path.suffix == ".parquet":
        return read_frame(path)
    return read_json(path)


def cached(folder: Path, name: str, compute: Callable[[], Result], ledger: Ledger | None = None) -> Any:
    """The result of that name, computed and saved if it is not there.

    What comes back is always what was read from the file, so that a resumed run continues with the very same values.
    """
    if _find(folder, checked_name(name, "result"), ledger) is None:
        save(folder, name, compute(), ledger)
    return load(folder, name, ledger)


def remove(folder: Path, names: Iterable[str], ledger: Ledger | None = None) -> None:
    """Remove results; those that are not there are left out.

    Raises:
        WriteError: The ledger could not be written.
    """
    paths = [folder / f"{checked_name(name, 'result')}{suffix}" for name in names for suffix in _SUFFIXES]
    if ledger is not None:
        ledger.remove(paths)
        return
    for path in paths:
        path.unlink(missing_ok=True)

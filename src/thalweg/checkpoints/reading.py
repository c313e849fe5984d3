"""The one module that reads files which other programs wrote with pickle: by torch's reader that runs no code."""

from __future__ import annotations

import argparse
import json
import pathlib
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from thalweg._files.reading import read_json, regular
from thalweg._files.tensors import open_tensors, tensors_of
from thalweg.errors import InputError

__all__ = ["read"]

_SCALAR, _ARRAY = np.float64(0).__reduce__()[0], np.empty(0).__reduce__()[0]  # how numpy writes its own
PLAIN: list[Any] = [
    argparse.Namespace,
    pathlib.PurePosixPath,
    pathlib.PosixPath,
    np.dtype,
    np.ndarray,
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *((_ARRAY, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
    *{type(np.dtype(kind)) for kind in "?bhilqBHILQefd"},
]
"""Classes of data that training scripts keep beside their weights; none of them runs code of the file."""


def read(file: Path) -> Mapping[str, Any]:
    """What a checkpoint holds, on the CPU.

    Args:
        file: A ``.safetensors`` file, one of `torch.save`, or the ``.index.json`` of sharded ones.

    Returns:
        name -> tensor, or whatever nesting was saved; the text in a safetensors header stands beside the tensors.

    Raises:
        InputError: The file is missing, damaged, holds no mapping, or would have to run code to be read.
    """
    if file.name.endswith(".index.json"):
        return _sharded(file)
    regular(file, follow=True)
    if file.suffix == ".safetensors":
        with open_tensors(file.resolve()) as opened:
            return {**(opened.metadata() or {}), **tensors_of(opened)}
    content = _unpickled(file)
    if isinstance(content, list | tuple):
        content = {str(place): one for place, one in enumerate(content)}
    if not isinstance(content, Mapping):
        raise InputError(f"{file} must hold a state_dict, found {type(content).__name__}")
    return content


def _sharded(index: Path) -> dict[str, Any]:
    regular(index, follow=True)
    found = read_json(index.resolve())
    places = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(places, dict) or not all(isinstance(one, str) for one in places.values()) or not places:
        raise InputError(f"{index} must hold a 'weight_map' of names to files, found none")
    values: dict[str, Any] = {}
    for name in sorted(set(places.values())):
        if Path(name).name != name:
            raise InputError(f"{index} must name files beside it, found {json.dumps(name)}")
        values.update(read(index.parent / name))
    lost = [name for name in places if name not in values]
    if lost:
        raise InputError(f"{index} must name tensors that its files hold, '{lost[0]}' is in none of them")
    return {name: values[name] for name in places}


def _unpickled(file: Path) -> Any:
    options: dict[str, Any] = {"map_location": "cpu", "weights_only": True}
    with torch.serialization.safe_globals(PLAIN), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a TorchScript archive is refused below, in a sentence
        try:
            return torch.load(file, mmap=zipfile.is_zipfile(file), **options)  # noqa: TID251 - the one place
        except Exception as error:  # noqa: BLE001 - files of strangers fail in every way
            raise InputError(_refusal(file, error)) from None


def _refusal(file: Path, error: Exception) -> str:
    text = str(error)
    needs = re.search(r"(?:Unsupported global: GLOBAL|Unsupported class|GLOBAL) ([\w.]+)", text)
    hint = "load it in your own program and save the weights alone, torch.save(model.state_dict(), 'weights.pt')"
    if needs:
        return f"{file} needs code to be read, for it holds an object of {needs[1]}: {hint}"
    if "TorchScript" in text:
        return f"{file} needs code to be read, for it is a TorchScript archive: {hint}"
    if "Unsupported" in text or "Trying to" in text:
        return f"{file} needs code to be read: {hint}"
    if isinstance(error, MemoryError):
        return f"{file} needs more memory than there is"
    return f"{file} is damaged, cut short or no checkpoint of torch"

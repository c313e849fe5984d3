"""Checkpoints in a configuration: each path with the checksum of its content, so that other weights are another run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from thalweg._files.reading import read_json
from thalweg.checkpoints.finding import Source, find
from thalweg.errors import InputError
from thalweg.runs.checksums import checksum_of
from thalweg.sources import from_here

__all__ = ["checked", "label", "marked"]

MARK = "@sha256:"


def marked(paths: Sequence[str]) -> tuple[str, ...]:
    """The checkpoints that paths mean, each as ``PATH@sha256:CHECKSUM``; those that carry a checksum stay as they are.

    Copies that a program leaves beside the checkpoints it numbers are left out where a glob or a folder was given.

    Raises:
        InputError: A path that is not there, or not of a checkpoint.

    >>> marked([f"last.pt@sha256:{'0' * 64}"]) == (f"last.pt@sha256:{'0' * 64}",)
    True
    """
    if all(MARK in path for path in paths):
        return tuple(paths)
    found: dict[str, list[Source]] = {}
    for source in find(list(paths)):
        found.setdefault(f"{_digest(source.file)}:{source.part}", []).append(source)
    return tuple(
        f"{_place(source)}{MARK}{digest.partition(':')[0]}"
        for digest, alike in found.items()
        for place, source in enumerate(alike)
        if source.listed or not place
    )


def checked(entries: Sequence[str]) -> list[str]:
    """The paths of checkpoints that are still what their checksums say.

    Raises:
        InputError: One has changed, or is no longer there.
    """
    paths = []
    for entry in entries:
        path, _, digest = entry.partition(MARK)
        (source,) = find(path)
        if _digest(source.file) != digest:
            raise InputError(f"checkpoint {path} has changed since this run was begun: other weights are another run")
        paths.append(path)
    return paths


def label(entry: str) -> str:
    """What a checkpoint is called in figures and sentences: without folders.

    >>> label(f"runs/step-20.pt@sha256:{'0' * 64}")
    'step-20.pt'
    """
    return Path(entry.partition(MARK)[0]).name


def _place(source: Source) -> str:
    text = from_here(source.path)
    return f"{text}:{source.part}" if source.part else text


def _digest(file: Path) -> str:
    """SHA-256 of a checkpoint's file; of an index and its shards together."""
    own = checksum_of(file.resolve()).sha256
    if not file.name.endswith(".index.json"):
        return own
    content = read_json(file)
    shards = set(content["weight_map"].values()) if isinstance(content, dict) and "weight_map" in content else set()
    sums = [own, *(checksum_of((file.parent / name).resolve()).sha256 for name in sorted(map(str, shards)))]
    return hashlib.sha256("".join(sums).encode()).hexdigest()

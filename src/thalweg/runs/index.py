"""What a recording has committed: the small table of contents that makes its files a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from thalweg.errors import InputError, nearest
from thalweg.runs.checksums import Checksum

if TYPE_CHECKING:
    import polars as pl

__all__ = ["FORMAT", "UNCHECKED", "Chunk", "Index", "checked_status"]

FORMAT = 2  # of the header; to be raised when its meaning changes
UNCHECKED = 1  # the format before there were checksums
STATUSES = ("completed", "diverged", "running")


@dataclass(frozen=True)
class Chunk:
    """What was recorded since the last commit.

    Attributes:
        replicas: R; None if nothing says how many there are.
        theta: (s, R, P), or None without snapshots.
        buffers: Of the same snapshots, name -> (s, R, …).
        steps: Steps of the snapshots, (s,).
        epochs: Epochs of the snapshots, (s,).
        metrics: Rows of the metrics table, or None without any.
        last: The last step of either.
    """

    replicas: int | None
    theta: Tensor | None
    buffers: Mapping[str, Tensor]
    steps: tuple[int, ...]
    epochs: tuple[float, ...]
    metrics: pl.DataFrame | None
    last: int


@dataclass(frozen=True)
class Index:
    """Committed contents of one recording.

    Attributes:
        replicas: R; None before the first commit.
        parameters: P; None before the first snapshot.
        dtype: Name of the snapshots' dtype, such as ``"float32"``; None before the first snapshot.
        shards: Number of snapshots in each shard.
        parts: Number of metrics parts.
        steps: Steps of all snapshots, (S,).
        epochs: Epochs of all snapshots, (S,).
        last: Last step recorded, with or without a snapshot; -1 before the first.
        status: Per replica, as :func:`checked_status` returns it; None until one was given.
        finished: Whether the recording is closed.
        checksums: Of the files of shards and parts, by their names; those that an earlier version has written have
            none.
    """

    replicas: int | None = None
    parameters: int | None = None
    dtype: str | None = None
    shards: tuple[int, ...] = ()
    parts: int = 0
    steps: tuple[int, ...] = ()
    epochs: tuple[float, ...] = ()
    last: int = -1
    status: tuple[Mapping[str, Any], ...] | None = None
    finished: bool = False
    checksums: Mapping[str, Checksum] = field(default_factory=dict)

    def extended(self, chunk: Chunk) -> Index:
        """The contents after a chunk was added."""
        if chunk.theta is None:
            shape = {}
        else:
            shape = {"parameters": chunk.theta.shape[2], "dtype": str(chunk.theta.dtype).removeprefix("torch.")}
        return replace(
            self,
            replicas=chunk.replicas,
            shards=(*self.shards, *(() if chunk.theta is None else (len(chunk.theta),))),
            parts=self.parts + (chunk.metrics is not None),
            steps=self.steps + chunk.steps,
            epochs=self.epochs + chunk.epochs,
            last=max(self.last, chunk.last),
            **shape,
        )

    def same_files(self, other: Index) -> bool:
        """Whether two indices refer to the same shards and parts."""
        return (self.shards, self.parts, self.last) == (other.shards, other.parts, other.last)

    @property
    def torch_dtype(self) -> torch.dtype:
        """The snapshots' dtype; torch's default before the first."""
        return torch.get_default_dtype() if self.dtype is None else getattr(torch, self.dtype)

    def header(self) -> dict[str, Any]:
        """Everything but steps and epochs, for JSON."""
        return {
            "format": FORMAT,
            "replicas": self.replicas,
            "parameters": self.parameters,
            "dtype": self.dtype,
            "shards": list(self.shards),
            "parts": self.parts,
            "last": self.last,
            "status": None if self.status is None else [dict(one) for one in self.status],
            "finished": self.finished,
            "files": {name: one.to_json() for name, one in self.checksums.items()},
        }

    @classmethod
    def from_header(cls, header: Mapping[str, Any], steps: Tensor, epochs: Tensor) -> Index:
        """The inverse of :meth:`header`.

        Raises:
            KeyError: Something is missing.
            TypeError: Something is of another type.
            ValueError: Things do not fit together.
        """
        replicas, parameters, dtype = header["replicas"], header["parameters"], header["dtype"]
        shards, parts, last, finished = header["shards"], header["parts"], header["last"], header["finished"]
        counts = [one for one in (replicas, parameters, parts, last, *shards) if one is not None]
        if not all(type(one) is int for one in counts) or type(finished) is not bool:
            raise TypeError("its table of contents holds something else than numbers")
        kind = None if dtype is None else getattr(torch, dtype, None)
        if dtype is not None and not (isinstance(kind, torch.dtype) and kind.is_floating_point):
            raise ValueError(f"it knows no snapshots of dtype {dtype!r}")
        if not sum(shards) == len(steps) == len(epochs):
            raise ValueError(f"it has {len(steps)} steps and {len(epochs)} epochs of {sum(shards)} snapshots")
        status = header["status"]
        if status is not None:
            status = tuple({"status": one["status"], "step": one["step"], "message": one["message"]} for one in status)
            if any(one["status"] not in STATUSES or type(one["step"]) is not int for one in status):
                raise ValueError("it does not say what became of the replicas")
        return cls(
            replicas=replicas,
            parameters=parameters,
            dtype=dtype,
            shards=tuple(shards),
            parts=parts,
            steps=tuple(steps.tolist()),
            epochs=tuple(epochs.tolist()),
            last=last,
            status=status,
            finished=finished,
            checksums={name: Checksum.from_json(one) for name, one in header.get("files", {}).items()},
        )


def checked_status(
    status: Sequence[Mapping[str, Any]] | None, replicas: int | None, last: int, *, default: str
) -> tuple[dict[str, Any], ...]:
    """One dict {status, step, message} per replica, checked.

    Args:
        status: What became of each replica; None means `default` at step `last` for all.
        replicas: R; None if nothing was recorded yet.
        last: The last step recorded.
        default: One of completed, diverged, running.

    Raises:
        InputError: Wrong number of entries, an unknown status or missing field.
    """
    count = replicas or 0
    if status is None:
        return tuple({"status": default, "step": last, "message": ""} for _ in range(count))
    if len(status) != count:
        raise InputError(f"status must have one entry per replica ({count}), found {len(status)}")
    result = []
    for replica, entry in enumerate(status):
        kind = entry.get("status")
        if kind not in STATUSES:
            hint = nearest(str(kind), STATUSES)
            raise InputError(f"status of replica {replica} must be one of {', '.join(STATUSES)}, found {kind!r}{hint}")
        result.append({"status": kind, "step": int(entry.get("step", last)), "message": str(entry.get("message", ""))})
    return tuple(result)

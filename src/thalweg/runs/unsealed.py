"""Files that have no checksum: what can be told of them is whether they fit the rest of the run.

Versions before there were checksums have written them. Values that somebody has changed cannot be told; another file,
other shapes, rows too few, twice or in another order can.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError

from thalweg._files.tensors import open_tensors
from thalweg.errors import InputError
from thalweg.runs.index import Index
from thalweg.runs.ledger import Ledger
from thalweg.runs.snapshots import BUFFERS, FileShard

if TYPE_CHECKING:
    import polars as pl

__all__ = ["check", "check_rows", "doubting"]


def check(shards: Sequence[FileShard], parts: Sequence[tuple[Path, pl.DataFrame]], index: Index) -> None:
    """Compare files without checksums with the contents that were committed.

    Args:
        shards: All snapshots; those with a checksum are left out.
        parts: Tables of metrics without checksums, in their order.
        index: The contents.

    Raises:
        InputError: A file is another than was written, as far as that can be told; the message names it.
    """
    first = 0
    for shard in shards:
        place = slice(first, first + shard.count)
        if shard.checksum is None:
            _check_shard(shard, index.steps[place], index.epochs[place])
        first += shard.count
    step = -1
    for path, rows in parts:
        step = check_rows(path, rows, index, step)


def _check_shard(shard: FileShard, steps: tuple[int, ...], epochs: tuple[float, ...]) -> None:
    expected = {"theta": ((shard.count, *shard.shape), shard.dtype)}
    try:
        with open_tensors(shard.path) as file:
            for name in file.keys():  # noqa: SIM118 -- the reader is no mapping
                found: Any = file.get_slice(name)
                shape = tuple(found.get_shape())
                own = shape[:2] == (shard.count, shard.shape[0]) if name.startswith(BUFFERS) else True
                wanted = expected.pop(name, (shape, None))
                kind = found[:0].dtype if shape else None
                if shape != wanted[0] or not own or wanted[1] not in (None, kind):
                    raise InputError(f"{shard.path} is corrupt: it holds {name} {shape} of {kind}, not as recorded")
            if expected:
                raise InputError(f"{shard.path} is corrupt: it holds no 'theta'")
            kept = file.get_tensor("steps").tolist(), file.get_tensor("epochs").tolist()
    except SafetensorError as error:
        raise InputError(f"{shard.path} is corrupt: {error}") from None
    if kept != (list(steps), list(epochs)):
        raise InputError(f"{shard.path} is corrupt: it holds other snapshots than were recorded")


def check_rows(path: Path, rows: pl.DataFrame, index: Index, after: int = -1) -> int:
    """Look whether a table has a row for every replica at each of its steps, in their order.

    Args:
        path: Of the table.
        rows: Its rows, those of one recording.
        index: The contents of the recording.
        after: The last step of the table before it.

    Returns:
        Its last step.

    Raises:
        InputError: It has not.
    """
    replicas = index.replicas or 0
    steps, numbers = rows["step"].to_numpy(), rows["replica"].to_numpy()
    whole = replicas > 0 and len(rows) > 0 and len(rows) % replicas == 0
    whole = whole and not any(rows[name].has_nulls() for name in ("step", "epoch", "replica"))
    times = np.array([after])
    if whole:
        steps, numbers = steps.reshape(-1, replicas), numbers.reshape(-1, replicas)
        whole = bool((steps == steps[:, :1]).all() and (numbers == np.arange(replicas)).all())
        times = np.concatenate([[after], steps[:, 0]])
        whole = whole and bool((np.diff(times) >= 0).all() and times[-1] <= index.last)
    if not whole:
        raise InputError(f"{path} is corrupt: its rows are not those of {replicas} replicas at one step after another")
    return int(times[-1])


@contextmanager
def doubting(ledger: Ledger) -> Iterator[None]:
    """Blames the results that a run without checksums has kept for whatever fails after they were read.

    Nothing else tells that such a file is damaged, as only the experiment knows what it has written into it.

    Args:
        ledger: The checksums of the run.

    Raises:
        InputError: In place of the error, if such a result was read before it and memory did not run out.
    """
    try:
        yield
    except (OSError, MemoryError, ImportError):
        raise
    except Exception as error:
        read = list(ledger.believed)
        said = " ".join(str(error).split())
        told = isinstance(error, InputError) and str(ledger.folder) in said
        if not read or told or re.search("can't allocate memory|out of memory", said):
            raise
        reason = said if isinstance(error, InputError) else f"{type(error).__name__}: {said}"
        others = ", ".join(path.name for path in reversed(read[-4:-1])) + (", …" if len(read) > 4 else "")
        raise InputError(
            f"{read[-1]}{f' (or {others})' if others else ''} seems to be damaged, and run {ledger.folder.name} has no "
            f"checksums that would tell: {reason[:200]}; without it, `thalweg resume {ledger.folder}` computes it again"
        ) from error

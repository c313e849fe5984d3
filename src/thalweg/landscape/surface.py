"""The loss on a line, in a plane or in a volume of parameters, cell by cell.

The cells of a grid are independent. They are evaluated row by row in a fixed order and in fixed pieces; what is done is
kept in the run folder, so that a killed surface goes on where it stood and comes out the same to the last bit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from thalweg import progress
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.landscape.cells import Cells
from thalweg.landscape.directions import Directions, as_directions
from thalweg.landscape.flatness import why_flat
from thalweg.landscape.grid import Axes, Grid, given_axes, refined, risen_range
from thalweg.landscape.store import Store, digest
from thalweg.landscape.surface_result import Surface
from thalweg.objective import Objective, normalization
from thalweg.objective.arguments import as_objectives, as_vector
from thalweg.objective.from_modules import from_modules

if TYPE_CHECKING:
    from thalweg.runs import Run

__all__ = ["Surface", "surface"]

SAVE_SECONDS = 2.0
"""At most this much work is lost by a kill, but for the piece in hand."""


@from_modules()
@declared
def surface(
    objective: Objective | Mapping[str, Objective],
    theta: Tensor,
    directions: Directions | Tensor,
    grid: Grid | int | Sequence[Sequence[float] | np.ndarray] = 51,
    *,
    metrics: Sequence[str] = ("loss",),
    fast: bool = True,
    run: Run | None = None,
    name: str = "surface",
) -> Surface:
    """Evaluates an objective at θ + Σ_k c_k d_k on a grid of coordinates c.

    Buffers are those that the objective's model holds; statistics of normalisation layers follow its BatchNorm policy:
    with "recomputed" they are those of every cell itself.

    Args:
        objective: The loss; or several by name on the same parameters, such as train and test, whose values are then
            called "train_loss", "test_loss", … The first decides ranges and refinement.
        theta: (P,), the centre; or what `Objective.as_theta` takes: a model, a state_dict, an array.
        directions: One, two or three; bare vectors (K, P) are drawn in units of their own lengths.
        grid: A :class:`Grid`; a number of points per axis within one length of the directions; or the coordinates of
            every axis, to which zero is added where it is missing.
        metrics: "loss" (of the data alone), "objective" (with the penalty ½·l2·‖θ‖²), names of the objective's metrics
            such as "accuracy", "gradient_norm" (of the objective), "lambda_max" (the largest eigenvalue of its Hessian
            in float64, with its residual as "lambda_max_residual"; a Lanczos search for every cell).
        fast: Compute the first layer of a stack of linear layers once for all cells; False evaluates every cell by
            itself, with the same result to rounding.
        run: Keeps what is done under `name` and goes on from there; default nowhere.
        name: Of the result in the run.

    Returns:
        A :class:`Surface`.

    Raises:
        InputError: Directions of another size or more than three, an empty grid, an unknown metric, several objectives
            on different parameters.

    Example:
        >>> from thalweg.landscape import random_directions
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))
        >>> objective = Objective(model, torch.nn.MSELoss(), (torch.randn(7, 3), torch.randn(7, 1)))
        >>> theta = objective.theta
        >>> found = surface(objective, theta, random_directions(objective, theta), Grid(points=(5, 9)))
        >>> found.shape, found.center_index, abs(found.at_center("loss") - float(objective.value(theta))) < 1e-6
        ((5, 9), (2, 4), True)
    """
    named = {f"{key}_" if key else "": one for key, one in as_objectives(objective, "").items()}
    first, *others = named.values()
    if any(other.layout != first.layout for other in others):
        raise InputError("objective must be on the same parameters under every name, found different layouts")
    theta, directions = as_vector(first, theta), as_directions(directions)
    count = len(directions.vectors)
    if count > 3:
        raise InputError(f"directions must be at most 3, found {count}")
    cells = {key: Cells(one, theta.detach(), directions, tuple(metrics), fast) for key, one in named.items()}
    chosen = Grid(points=int(grid)) if isinstance(grid, int | np.integer) else grid
    store = Store(run, name, _settings(cells, chosen) if run is not None else {})
    known = store.finished()
    if known is None:
        known = _compute(cells, chosen, store)
        store.finish(*known)
    arrays, notes = known
    axes = tuple(arrays[f"axis_{k}"] for k in range(count))
    values = {key: array for key, array in arrays.items() if not key.startswith("axis_")}
    return Surface(axes, values, directions, theta.detach(), (*directions.notes, *notes))


def _settings(cells: Mapping[str, Cells], grid: Grid | Sequence[Any]) -> dict[str, Any]:
    first = next(iter(cells.values()))
    return {
        "theta": digest(first.theta),
        "vectors": digest(first.directions.vectors),
        "grid": asdict(grid) if isinstance(grid, Grid) else [np.asarray(axis).tolist() for axis in grid],
        "metrics": first.metrics,
        "fast": first.fast,
        "objectives": {key: _fingerprint(one.objective, one.theta) for key, one in cells.items()},
    }


def _fingerprint(objective: Objective, theta: Tensor) -> list[Any]:
    """What tells an objective from others: its value at the centre follows from data, model, loss and buffers."""
    value = float(objective.value(theta.to(objective.dtype)))
    return [objective.samples, objective.l2, str(objective.dtype), objective.batchnorm, value.hex()]


def _compute(
    cells: Mapping[str, Cells], grid: Grid | Sequence[Any], store: Store
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Evaluates everything, round after round: arrays ("axis_0", …, and values by name) and notes."""
    axes, notes = _axes(grid, next(iter(cells.values())), store)
    values = _evaluate(cells, axes, None, store, "round-0")
    leading = next(iter(values))
    adaptive = grid if isinstance(grid, Grid) else Grid()
    for number in range(adaptive.refine):
        finer = refined(axes, values[leading], adaptive)
        if all(len(new) == len(old) for new, old in zip(finer, axes, strict=True)):
            break
        notes.append(
            f"Refined to {' × '.join(str(len(axis)) for axis in finer)} points: lines were added where {leading} "
            f"changed by more than {100 * adaptive.change:g} % of its "
            f"{'logarithmic ' if adaptive.scale == 'log' else ''}range between two points."
        )
        values = _evaluate(cells, finer, (axes, values), store, f"round-{number + 1}")
        axes = finer
    notes += _remarks(cells, axes, values)
    return {**{f"axis_{k}": axis for k, axis in enumerate(axes)}, **values}, notes


def _axes(grid: Grid | Sequence[Any], cells: Cells, store: Store) -> tuple[Axes, list[str]]:
    count = len(cells.directions.vectors)
    if not isinstance(grid, Grid):
        return given_axes(grid, count), []
    if grid.rise is None:
        return grid.axes(count), []
    found = store.load("range")
    if found is None:
        reach = float(torch.linalg.vector_norm(cells.theta.double())) or 1.0
        units = [reach / length for length in cells.directions.lengths.tolist()]
        loss = replace(cells, metrics=("loss",))

        def losses(points: np.ndarray) -> np.ndarray:
            pieces = np.array_split(points, -(-len(points) // loss.together))
            return np.concatenate([loss.values(piece)["loss"] for piece in pieces])

        spans, notes = risen_range(losses, grid.rise, units)
        found = {"spans": spans, "notes": notes}
        store.save("range", found)
    return grid.axes(count, [tuple(span) for span in found["spans"]]), list(found["notes"])


def _evaluate(
    cells: Mapping[str, Cells], axes: Axes, known: tuple[Axes, dict[str, np.ndarray]] | None, store: Store, part: str
) -> dict[str, np.ndarray]:
    """Evaluates the cells of a grid, but for those of a coarser one that are known: name -> (len(axes[0]), …)."""
    shape = tuple(len(axis) for axis in axes)
    names = [key + name for key, one in cells.items() for name in one.names]
    arrays = {"done": np.zeros(shape, dtype=bool), **{name: np.full(shape, np.nan) for name in names}}
    if known is not None:
        old = np.ix_(*(np.searchsorted(new, coarse) for new, coarse in zip(axes, known[0], strict=True)))
        arrays["done"][old] = True
        for name in names:
            arrays[name][old] = known[1][name]
    arrays = store.load(part) or arrays
    done = arrays["done"]
    lines = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    together = min(one.together for one in cells.values())
    saved = time.monotonic()
    try:
        with progress.track("surface", total=done.size) as advance:
            for cell in _pieces(done, together):
                for key, one in cells.items():
                    for name, found in one.values(lines[cell]).items():
                        arrays[key + name][cell] = found
                done[cell] = True
                advance(int(done.sum()))
                if time.monotonic() - saved > SAVE_SECONDS:
                    store.save(part, arrays)
                    saved = time.monotonic()
    finally:  # also when interrupted: finished cells stay
        store.save(part, arrays)
    return {name: arrays[name] for name in names}


def _pieces(done: np.ndarray, together: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Yields indices of cells to evaluate in one call: pieces of the rows along the last axis, in a fixed order.

    Whole pieces are done or not, so that a resumed surface evaluates the same ones as one in a single go.
    """
    for row in np.ndindex(done.shape[:-1]):
        missing = np.flatnonzero(~done[row])
        for start in range(0, len(missing), together):
            last = missing[start : start + together]
            yield (*(np.full(len(last), index) for index in row), last)


def _remarks(cells: Mapping[str, Cells], axes: Axes, values: Mapping[str, np.ndarray]) -> list[str]:
    """What is not finite, and why what is flat is flat."""
    objective = next(iter(cells.values())).objective
    notes = []
    if normalization.layers(objective.program.model) or objective.batchnorm == "batch":
        notes.append(f"Statistics of normalisation layers: {objective.batchnorm}.")
    for name, array in values.items():
        bad = int((~np.isfinite(array)).sum())
        if bad:
            notes.append(f"{bad} of {array.size} values of {name} are not finite.")
    corners = np.stack(np.meshgrid(*(axis[[0, -1]] for axis in axes), indexing="ij"), axis=-1).reshape(-1, len(axes))
    for key, one in cells.items():
        theta = one.theta.to(one.objective.dtype)
        far = one.directions.points(theta, torch.from_numpy(corners).to(theta.device))
        for name in one.metrics:
            said = why_flat(one.objective, theta, far, name, key + name, values[key + name])
            notes += [said] if said else []
    return notes

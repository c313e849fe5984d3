"""What `error-surface` says: the answer, its pictures, and the numbers of every plane in a table."""

from __future__ import annotations

from typing import Any

import numpy as np

from thalweg.experiments.error_surface import figures
from thalweg.experiments.error_surface.config import Config
from thalweg.experiments.error_surface.measure import Measured, Plane, Visited
from thalweg.experiments.framework.findings import Findings
from thalweg.experiments.shared.trained import Trained, run_name
from thalweg.experiments.shared.training import Setup, recipe_words
from thalweg.experiments.shared.weights import weights_words
from thalweg.figures.scales import number
from thalweg.landscape import Perturbation, Profile
from thalweg.landscape.exporting import export
from thalweg.results.words import counted, percent, range_words
from thalweg.runs import Run

__all__ = ["nothing_left", "report", "rises"]

ROUNDING = 1e-5
"""Relative change of a loss that a sum in single precision may make by itself."""


def nothing_left(found: Trained) -> Findings:
    """All trainings diverged: their curves, and the reason."""
    return Findings(
        figures=(found.curves,),
        statements=(f"None of the {counted(found.count, 'training')} completed: there is nothing to look around.",),
        numbers={"completed": 0},
        warnings=(*found.warnings, "A smaller learning rate may keep the losses finite."),
    )


def report(config: Config, setup: Setup, found: Trained, measured: Measured, run: Run) -> Findings:
    """Draws, exports and tells everything that was measured."""
    numbers: dict[str, Any] = {"completed": len(found.replicas)}
    numbers["train_loss"] = float(found.final("loss", "training")[0])
    drawn, told, rows, warnings = [], [_training(config, setup, found)], [], list(measured.refused)
    for plane in sorted(measured.planes, key=lambda plane: plane.path is None):  # the main picture first
        drawn += figures.planes(plane)
        numbers |= _numbers(plane)
        rows.append(_row(plane))
        warnings += _cautions(plane)
        if plane.path is not None:
            told.append(plane.path.summary())
            if config.film != "none" and len(plane.surface.axes) == 2:
                file = run.files.exports / f"descent.{config.film}"
                frames = figures.film(plane, plane.path, file)
                told.append(f"Training moving over its plane: exports/{file.name} ({frames} frames).")
    if measured.line is not None:
        drawn.append(figures.line(measured.line, measured.replicas))
        told.append(_line_words(measured.line, setup.objective.size))
        rise, minima = _along(measured.line)
        numbers |= {"line_rise": float(rise.max()), "line_minima": int(minima.max())}
    if measured.parameters is not None:
        drawn.append(measured.parameters.plot())
        told.append(measured.parameters.summary())
        numbers |= _parameter_numbers(measured.parameters)
        lost = int(np.ma.count_masked(measured.parameters.known))
        total = measured.parameters.known.size
        words = f"Each parameter alone: {lost} of {total} losses are not finite and not drawn."
        warnings += [words] if lost else []
    if measured.visited is not None:
        drawn.append(figures.visited(measured.visited, run_name(measured.replicas[0])))
        told.append(f"Weights visited: {_lower_first(measured.visited.tsne.summary())}")
        numbers |= _visited_numbers(measured.visited)
    for to in config.exports if measured.planes else ():
        export(run, to)
    return Findings(
        figures=[*drawn, found.curves],
        statements=[*_headline(numbers), *told],
        tables={"Planes": rows} if rows else {},
        numbers=numbers,
        warnings=[*(one.replace("projections and numbers", "all pictures") for one in found.warnings), *warnings],
    )


def _headline(numbers: dict[str, Any]) -> list[str]:
    """The main results in one sentence, as far as the parts that give them were asked for."""
    said = []
    if "line_rise" in numbers:
        never = numbers["line_rise"] == 0
        said.append(f"on the straight line from first to last weights the loss {'never rises' if never else 'rises'}")
    if "trajectory_explained" in numbers:
        shown, ratio = numbers["trajectory_explained"], numbers["trajectory_worst_ratio"]
        said.append(
            f"the plane of the trajectory holds {percent(shown)} of its variance and shows "
            f"{'up to' if ratio >= 1 else 'as little as'} {number(ratio)} times the loss that the weights had"
        )
    words = "; ".join(said)
    return [f"{words[:1].upper()}{words[1:]}."] if said else []


def _training(config: Config, setup: Setup, found: Trained) -> str:
    if config.checkpoint:
        return weights_words(config, setup)
    done = found.replicas
    return (
        f"{counted(config.replicas, 'training')} of the network {setup.network} on {setup.task.label}: "
        f"{recipe_words(config.training, setup.task.samples)}; weights recorded {len(found.epochs)} times. "
        f"{len(done)} completed; {run_name(done[0])} is the one looked at."
    )


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def _loss(plane: Plane) -> np.ndarray:
    return plane.surface.values["loss"]


def _cautions(plane: Plane) -> list[str]:
    lost, total = int((~np.isfinite(_loss(plane))).sum()), _loss(plane).size
    return [f"{plane.title}: {lost} of {total} cells have no finite loss and are drawn grey."] if lost else []


def _numbers(plane: Plane) -> dict[str, float]:
    loss = _loss(plane)[np.isfinite(_loss(plane))]
    out = {
        f"{plane.key}_centre": plane.surface.at_center("loss"),
        f"{plane.key}_lowest": float(loss.min()) if loss.size else float("nan"),
        f"{plane.key}_highest": float(loss.max()) if loss.size else float("nan"),
        f"{plane.key}_not_finite": int(_loss(plane).size - loss.size),
    }
    if plane.path is not None:
        out[f"{plane.key}_explained"] = plane.explained
        out[f"{plane.key}_off_plane"] = float(np.median(plane.path.off_plane.numpy()))
        out[f"{plane.key}_worst_ratio"] = float(plane.path.ratio[plane.path.worst])
    return out


def _row(plane: Plane) -> dict[str, Any]:
    """A plane in the table: its range of losses and where it is lowest."""
    loss = _loss(plane)
    row: dict[str, Any] = {"plane": plane.title, "cells": " × ".join(map(str, loss.shape))}
    row |= {name.partition("_")[2].replace("_", " "): value for name, value in _numbers(plane).items()}
    if np.isfinite(loss).any():
        place = np.unravel_index(int(np.nanargmin(np.where(np.isfinite(loss), loss, np.nan))), loss.shape)
        axes = plane.surface.axes
        row["lowest at"] = ", ".join(number(float(axis[i])) for axis, i in zip(axes, place, strict=True))
    return row


def _parameter_numbers(found: Perturbation) -> dict[str, float]:
    rise, gain = found.rise[0], found.gain[0]
    steepest = float(np.ma.max(found.known)) - found.center[0]
    return {
        "parameters_drawn": len(found.parameters),
        "parameters_flat": int((rise <= 0.01 * steepest).sum()),
        "parameters_with_lower_loss": int(found.lower.sum()),
        "parameters_greatest_gain": float(gain.max()),
    }


def _visited_numbers(found: Visited) -> dict[str, float]:
    values, near = found.tsne.leading[1], found.tsne.neighbour.numpy()
    return {"neighbours_lower": found.tsne.lower, "neighbours_loss_median": float(np.median(values[near]))}


def rises(x: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Between both ends: how far the loss rises above its lowest value before, and how many local minima there are.

    Args:
        x: (A,) places, 0 and 1 among them.
        losses: (A, R).
    """
    inside = losses[(x >= 0) & (x <= 1)]
    rise = (inside - np.minimum.accumulate(inside, axis=0)).max(axis=0)
    rise = np.where(rise > ROUNDING * np.abs(inside).max(axis=0), rise, 0.0)
    down = np.diff(inside, axis=0) < -ROUNDING * np.abs(inside[1:])
    up = np.diff(inside, axis=0) > ROUNDING * np.abs(inside[1:])
    minima = np.array([_turns(d, u) for d, u in zip(down.T, up.T, strict=True)])
    return rise, minima


def _turns(down: np.ndarray, up: np.ndarray) -> int:
    """How often a fall is followed by a rise; steps within rounding do not count.

    >>> _turns(np.array([True, False, False, True]), np.array([False, False, True, False]))
    1
    """
    steps = (up.astype(int) - down.astype(int))[up | down]
    return int(((steps[:-1] < 0) & (steps[1:] > 0)).sum())


def _along(found: Profile) -> tuple[np.ndarray, np.ndarray]:
    return rises(found.positions.numpy(), found.values["train"]["loss"].double().numpy())


def _line_words(found: Profile, size: int) -> str:
    x, losses = found.positions.numpy(), found.values["train"]["loss"].double().numpy()
    (rise, minima), total = rises(x, losses), losses.shape[1]
    falls = int((rise == 0).sum())
    first, last = (range_words(losses[x == end][0].tolist()) for end in (0, 1))
    words = f"Straight line: from the first to the last weights the training loss goes from {first} to {last}; "
    if falls == total:
        words += f"it never rises on the way in {'any' if total > 1 else 'the one'} of {counted(total, 'run')}"
    else:
        words += (
            f"it rises on the way in {total - falls} of {counted(total, 'run')}, by {range_words(rise.tolist())} above "
            f"what was reached before, with {range_words(minima.tolist())} local minima between the ends"
        )
    return f"{words}. The line is one direction out of {size:,}, and not the way that training took."

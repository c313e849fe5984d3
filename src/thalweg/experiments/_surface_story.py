"""Part 4 of `error-surface` told: figures, sentences and numbers of every plane, the film and the files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from thalweg.errors import InputError
from thalweg.experiments import _surface_figures as figures
from thalweg.experiments._surface_planes import Plane, plane
from thalweg.experiments.framework.findings import Findings
from thalweg.experiments.shared.words import percent, range_words
from thalweg.figures.animation import Moving, animate
from thalweg.figures.scales import number
from thalweg.landscape.exporting import export

if TYPE_CHECKING:
    from thalweg.experiments._surface_look import Look

__all__ = ["planes"]

FRAMES = 120
"""Most frames of the film."""


def planes(look: Look) -> Findings:
    """Evaluates, draws and exports all planes that were asked for."""
    drawn, statements, warnings = [], [], []
    numbers: dict[str, float] = {}
    for key in look.config.planes:
        try:
            found = plane(look, key)
        except InputError as error:  # the other planes do not depend on it
            warnings.append(f"There is no plane '{key}': {error}.")
            continue
        statements.append(_words(found))
        warnings += _cautions(found)
        numbers |= _numbers(found)
        drawn += [figures.flat(found), figures.space(found)] if found.loss.ndim == 2 else [figures.curve(found)]
        if found.saved.path:
            drawn.append(figures.off_plane(found))
            statements.append(_hidden(found))
            if look.config.film != "none" and found.loss.ndim == 2:
                statements.append(_film(look, found))
    for to in look.config.exports:
        export(look.run, to)
    if look.config.exports and statements:
        statements.append(f"All surfaces are kept as {', '.join(look.config.exports)} in the run's folder exports.")
    return Findings(drawn, statements, numbers=numbers, warnings=warnings)


def _words(found: Plane) -> str:
    loss = found.loss[np.isfinite(found.loss)]
    size = " × ".join(str(length) for length in found.loss.shape)
    words = f"{found.title} ({size} cells): "
    if not loss.size:
        return f"{words}no cell has a finite loss."
    words += (
        f"the loss goes from {number(float(loss.min()))} to {number(float(loss.max()))}, {number(found.centre)} at "
    )
    words += "the centre"
    if loss.min() < found.centre * (1 - 1e-6):
        place = np.unravel_index(int(np.nanargmin(found.loss)), found.loss.shape)
        at = ", ".join(number(float(axis[i])) for axis, i in zip(found.saved.axes, place, strict=True))
        words += f", which is not the lowest cell: that lies at ({at})"
    return f"{words}. {' '.join(found.notes)}"


def _hidden(found: Plane) -> str:
    path = found.saved.path
    share = path["off-plane"][:-1] / np.maximum(found.away[:-1], np.finfo(float).tiny)
    worst = _worst(found)
    ratio, drawn, true = (float(values[worst]) for values in (_ratio(found), path["loss"], path["true loss"]))
    return (
        f"What that plane hides: the snapshots lie {range_words(path['off-plane'].tolist())} off it (median, and least "
        f"to greatest), in the median {percent(float(np.median(share)))} of their distance from the end of training, "
        f"and the loss drawn below them is {number(ratio)} times their true loss in the worst case (epoch "
        f"{path['epoch'][worst]:g}: {number(drawn)} against {number(true)})."
    )


def _cautions(found: Plane) -> list[str]:
    lost = int((~np.isfinite(found.loss)).sum())
    return [f"{found.title}: {lost} of {found.loss.size} cells have no finite loss and are drawn grey."] if lost else []


def _numbers(found: Plane) -> dict[str, float]:
    loss = found.loss[np.isfinite(found.loss)]
    out = {
        f"{found.key}_centre": found.centre,
        f"{found.key}_lowest": float(loss.min()) if loss.size else float("nan"),
        f"{found.key}_highest": float(loss.max()) if loss.size else float("nan"),
        f"{found.key}_not_finite": int(found.loss.size - loss.size),
    }
    if found.saved.path:
        out |= {f"{found.key}_explained": found.explained}
        out |= {f"{found.key}_off_plane": float(np.median(found.saved.path["off-plane"]))}
        out |= {f"{found.key}_worst_ratio": float(_ratio(found)[_worst(found)])}
    return out


def _ratio(found: Plane) -> np.ndarray:
    """(S,) loss drawn below a snapshot over its true loss."""
    path = found.saved.path
    with np.errstate(divide="ignore", invalid="ignore"):
        return path["loss"] / path["true loss"]


def _worst(found: Plane) -> int:
    """The snapshot whose drawn loss is farthest from its true one, by ratio either way."""
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.abs(np.log(_ratio(found)))
    return int(np.where(np.isnan(apart), -1.0, apart).argmax())


def _film(look: Look, found: Plane) -> str:
    """Writes the film into the run's folder."""
    path = found.saved.path
    chosen = np.unique(np.linspace(0, len(path["epoch"]) - 1, min(FRAMES, len(path["epoch"]))).round().astype(int))
    x, y = path["coordinates"][chosen].T
    epochs, losses = path["epoch"][chosen], path["true loss"][chosen]
    moving = [Moving(0, x[:, None], y[:, None]), Moving(1, epochs[:, None], losses[:, None], trail=False)]
    words = [f"epoch {e:g}\nloss {number(v)}" for e, v in zip(epochs.tolist(), losses.tolist(), strict=True)]
    file = look.run.files.exports / f"descent.{look.config.film}"
    animate(figures.film(found), moving, file, words=words, fps=min(12.0, max(2.0, len(chosen) / 6)), dpi=80)
    return f"Training moving over its plane: exports/{file.name} ({len(chosen)} frames)."

"""Part 1 of `error-surface`: the weights visited and samples near the last of them, embedded and coloured by loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg.experiments.framework.findings import Findings
from thalweg.experiments.shared.words import counted, percent, typeset
from thalweg.figures import Axis, ColourScale, Figure, Line, Panel, Scatter
from thalweg.figures.choosing import chosen_scale
from thalweg.figures.scales import number

if TYPE_CHECKING:
    from thalweg.experiments._surface_look import Look

__all__ = ["visited"]


def visited(look: Look) -> Findings:
    """Embeds snapshots and neighbours, by principal components and by t-SNE."""
    kept = look.run.cached("visited", lambda: _embedded(look))
    losses, length, ends = np.array(kept["loss"]), len(look.path), min(look.config.last, len(look.path))
    neighbours = losses[length:]
    lower = float((neighbours.reshape(ends, -1) < losses[length - ends : length, None]).mean())
    scale, why = chosen_scale("training loss", losses)
    panels = (
        _panel(np.array(kept["pca"]), losses, length, scale, "principal components", "component"),
        _panel(np.array(kept["tsne"]), losses, length, scale, "t-SNE", "t-SNE"),
    )
    notes = " ".join(typeset(note) for note in kept["notes"])
    caption = (
        f"The weights that {look.name} visits (joined by a line) and samples near each of the last {ends}, coloured by "
        f"their true training loss. {why} {notes}"
    )
    figure = Figure("visited", "Loss at the weights visited and near them", caption, panels, size=(4.8, 4.3))
    low, high = number(float(neighbours.min())), number(float(neighbours.max()))
    statement = (
        f"Weights visited: the loss of the {counted(length, 'snapshot')} of {look.name} goes from "
        f"{number(float(losses[0]))} to {number(float(losses[length - 1]))}; at the {len(neighbours)} samples near the "
        f"last {ends} it lies between {low} and {high}, and {percent(lower)} of them lie below the snapshot that they "
        f"surround. {notes}"
    )
    numbers = {"neighbours_lower": lower, "neighbours_loss_median": float(np.median(neighbours))}
    return Findings((figure,), (statement,), numbers=numbers)


def _embedded(look: Look) -> dict[str, Any]:
    """Losses (M,) and places (M, 2) of the snapshots, then of the neighbours of each of the last ones; sentences."""
    from thalweg.landscape import scatter_surface

    config = look.config
    shared = {"last": config.last, "neighbours": config.neighbours, "spread": config.spread, "seed": config.seed}
    flat = scatter_surface(look.objective, look.path, method="pca", **shared)
    near = flat.embedded("tsne", perplexity=config.perplexity, seed=config.seed)
    return {
        "loss": near.values["loss"].tolist(),
        "pca": flat.coordinates.tolist(),
        "tsne": near.coordinates.tolist(),
        "notes": [*flat.notes, near.notes[-1]],
    }


def _panel(places: np.ndarray, losses: np.ndarray, length: int, scale: ColourScale, title: str, name: str) -> Panel:
    order = np.concatenate([np.arange(length, len(places)), np.arange(length)])  # the path lies above its neighbours
    count = len(places) - length
    x, y = places[order].T
    points = Scatter(
        x,
        y,
        losses[order],
        scale=scale,
        markers=("neighbour",) * count + ("visited",) * length,
        texts=("",) * count + ("start", *[""] * (length - 2), "end"),
        size=(3.4,) * count + (4.4,) * length,
        hover=tuple(f"loss {number(value)}" for value in losses[order].tolist()),
    )
    way = Line(*places[:length].T, label="path of training", colour="ink", width=0.8)
    return Panel(Axis(f"{name} 1"), Axis(f"{name} 2"), (way, points), title=title)

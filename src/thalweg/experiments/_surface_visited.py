"""Part 1 of `error-surface`: the weights visited and samples near the last of them, embedded and coloured by loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from thalweg import landscape
from thalweg.experiments._words import counted, percent
from thalweg.experiments.findings import Findings
from thalweg.figures import Axis, ColourScale, Figure, Line, Panel, Scatter
from thalweg.figures.choosing import chosen_scale
from thalweg.figures.scales import number

if TYPE_CHECKING:
    from torch import Tensor

    from thalweg.experiments._surface_look import Look

__all__ = ["visited"]


def visited(look: Look) -> Findings:
    """Embeds snapshots and neighbours, by principal components and by t-SNE."""
    kept = {name: array.numpy() for name, array in look.run.cached("visited", lambda: _embedded(look)).items()}
    length, ends = len(look.path), min(look.config.last, len(look.path))
    losses, neighbours = kept["loss"], kept["loss"][length:]
    around = neighbours.reshape(ends, -1)
    lower = float((around < losses[length - ends : length, None]).mean())
    scale, why = chosen_scale("training loss", losses)
    share = kept["explained"]
    names = [f"component {k + 1} ({percent(float(share[k]))} of variance)" for k in range(2)]
    panels = (
        _panel(kept["pca"], losses, length, scale, "principal components", names),
        _panel(kept["tsne"], losses, length, scale, "t-SNE", ["t-SNE 1", "t-SNE 2"]),
    )
    spread = look.config.spread
    caption = (
        f"The weights that {look.name} visits ({counted(length, 'snapshot')}, joined by a line) and "
        f"{counted(look.config.neighbours, 'sample')} near each of the last {ends} (Gaussian in every parameter, "
        f"standard deviation {percent(spread)} of the root mean square weight), coloured by training loss. {why} Left: "
        f"their common principal components. Right: t-SNE (perplexity {kept['perplexity'][0]:.3g}, divergence "
        f"{kept['divergence'][0]:.3g}), where only neighbourhoods mean something, not distances, sizes or gaps."
    )
    figure = Figure("visited", "Loss at the weights visited and near them", caption, panels, size=(4.8, 4.3))
    low, high = number(float(neighbours.min())), number(float(neighbours.max()))
    statement = (
        f"Weights visited: the loss of the {counted(length, 'snapshot')} of {look.name} goes from "
        f"{number(float(losses[0]))} to {number(float(losses[length - 1]))}; at the {len(neighbours)} samples near the "
        f"last {ends} it lies between {low} and {high}, and {percent(lower)} of them lie below the snapshot that they "
        f"surround. The picture of the principal components shows {percent(float(share.sum()))} of the variance of "
        "these points and hides the rest; t-SNE keeps neighbourhoods only, so that its valley has no true width and no "
        "true depth but the colours."
    )
    numbers = {
        "visited_explained_2": float(share.sum()),
        "neighbours_lower": lower,
        "neighbours_loss_median": float(np.median(neighbours)),
        "tsne_divergence": float(kept["divergence"][0]),
    }
    return Findings((figure,), (statement,), numbers=numbers)


def _embedded(look: Look) -> dict[str, Tensor]:
    """Losses (M,) and places (M, 2) of the snapshots, then of the neighbours of each of the last snapshots."""
    import torch

    from thalweg.objective.seeds import generator

    config = look.config
    path = look.path.double()
    near = []
    for number_, centre in enumerate(path[-config.last :]):
        drawn = generator(config.seed, number_, "neighbours")
        noise = torch.randn(config.neighbours, len(centre), generator=drawn, dtype=torch.float64)
        near.append(centre + config.spread * centre.square().mean().sqrt() * noise)
    points = torch.cat([path, *near])
    losses = look.objective.metrics(points.to(look.path))["loss"].double()
    found = landscape.pca(points[:, None])
    placed = landscape.tsne(found, perplexity=config.perplexity, seed=config.seed)
    return {
        "loss": losses,
        "pca": found.coordinates(2)[:, 0].contiguous(),
        "tsne": placed.coordinates[:, 0].contiguous(),
        "explained": found.ratio(2),
        "perplexity": torch.tensor([placed.perplexity]),
        "divergence": torch.tensor([placed.divergence]),
    }


def _panel(
    places: np.ndarray, losses: np.ndarray, length: int, scale: ColourScale, title: str, names: list[str]
) -> Panel:
    order = np.concatenate([np.arange(length, len(places)), np.arange(length)])  # the path lies above its neighbours
    x, y = places[order].T
    kinds = ("neighbour",) * (len(places) - length) + ("visited",) * length
    texts = ("",) * (len(places) - length) + ("start", *[""] * (length - 2), "end")
    sizes = (3.4,) * (len(places) - length) + (4.4,) * length
    hover = tuple(f"loss {number(value)}" for value in losses[order].tolist())
    points = Scatter(x, y, losses[order], scale=scale, markers=kinds, texts=texts, size=sizes, hover=hover)
    way = Line(*places[:length].T, label="path of training", colour="ink", width=0.8)
    return Panel(Axis(names[0]), Axis(names[1]), (way, points), title=title)

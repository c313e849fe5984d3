"""The picture of `edge-of-stability`: losses above, sharpness and its limits below."""

from __future__ import annotations

from collections.abc import Sequence

from thalweg.experiments.edge_of_stability.measure import Path
from thalweg.figures import Axis, Figure, HLine, Lines, Panel
from thalweg.figures.scales import number
from thalweg.results.words import counted

__all__ = ["named", "paths_figure"]


def named(path: Path) -> str:
    """The learning rate of a path."""
    return f"η = {number(path.recipe.lr)}"


def paths_figure(paths: Sequence[Path]) -> Figure:
    """Loss and sharpness against the step, one colour for each learning rate."""
    replicas = paths[0].loss.shape[1]
    runs = tuple(f"run {r + 1}" for r in range(replicas))
    losses, sharpness = [], []
    for path in paths:
        losses.append(Lines(path.loss_steps, path.loss.T, label=named(path), names=runs, width=1.0, opacity=0.9))
        sharpness.append(Lines(path.steps, path.sharpness.T, group=named(path), names=runs, width=1.3))
        sharpness.append(HLine(path.limit, group=named(path), text=f"limit {number(path.limit)}"))
    return Figure(
        "edge-of-stability",
        "Loss and sharpness under gradient descent",
        f"Training loss and largest eigenvalue of the Hessian, {counted(replicas, 'run')} for each learning rate; "
        "dashed: the largest curvature at which the optimiser is stable on a quadratic.",
        (
            Panel(Axis("step"), Axis("training loss", scale="log"), tuple(losses)),
            Panel(Axis("step"), Axis("sharpness λmax", scale="log"), tuple(sharpness)),
        ),
        columns=1,
        share_x=True,
    )

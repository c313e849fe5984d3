"""The pictures that only `error-surface` draws: two embeddings side by side, the line, the film."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from thalweg.experiments.error_surface.measure import CLOSE, Plane, Visited
from thalweg.experiments.shared.trained import run_name
from thalweg.figures import Axis, Contour, Figure, Inset, Line, Lines, Mark, Panel, VLine
from thalweg.figures.animation import Moving, animate
from thalweg.figures.choosing import chosen_axis, chosen_scale
from thalweg.figures.scales import number
from thalweg.landscape import PathOnPlane, Profile
from thalweg.landscape.surface_figures import SQUARE, drawn
from thalweg.results.words import counted, typeset

__all__ = ["film", "line", "planes", "visited"]

FRAMES = 120
"""Most frames of the film."""


def visited(found: Visited, name: str) -> Figure:
    """The weights visited and near, embedded in two ways."""
    scale, why = chosen_scale("training loss", found.tsne.leading[1])
    panels = (found.pca.panel(scale, "principal components"), found.tsne.panel(scale, "t-SNE"))
    notes = typeset(" ".join([*found.pca.notes, found.tsne.notes[-1]]))
    caption = (
        f"The weights that {name} visits (joined by a line) and samples near the last of them, coloured by their true "
        f"training loss. {why} {notes}"
    )
    return Figure("visited", "Loss at the weights visited and near them", caption, panels, size=(4.8, 4.3))


def line(found: Profile, replicas: tuple[int, ...]) -> Figure:
    """From the first to the last weights: the run that is looked at, and the others thin."""
    x, names = found.positions.numpy(), tuple(run_name(r) for r in replicas)
    marks: list[Mark] = []
    losses = []
    for data, metrics in found.values.items():
        for metric in (metric for metric in ("loss", "accuracy") if metric in metrics):
            values = metrics[metric].double().numpy()  # (A, R)
            losses += [values] if metric == "loss" else []
            side: dict[str, Any] = {"side": "right"} if metric == "accuracy" else {}
            look: dict[str, Any] = {
                "group": metric,
                "style": "solid" if data == "train" else "dashed",
                "width": 1.8,
                **side,
            }
            if len(names) > 1:
                thin: dict[str, Any] = {"group": metric, "names": names[1:], "width": 0.7, "opacity": 0.45, **side}
                marks.append(Lines(x, values[:, 1:].T, **thin))
            words = f"{'training' if data == 'train' else data} {metric}"
            marks.append(Line(x, values[:, 0], label=words, **look))
    marks += [VLine(0.0, colour="muted"), VLine(1.0, colour="muted")]
    ticks = ((-0.5, "−0.5"), (0.0, "first (0)"), (0.5, "0.5"), (1.0, "last (1)"), (1.5, "1.5"))
    right = Axis("accuracy", limits=(0.0, 1.02)) if len(losses) < sum(map(len, found.values.values())) else None
    close = Inset((1 - CLOSE, 1 + CLOSE), corner="upper centre", size=(0.3, 0.34), title="at the end")
    axes = Axis("α, from first to last weights", ticks=ticks), chosen_axis("loss", *losses)
    # two curves that cross leave no corner free
    panel = Panel(*axes, tuple(marks), right=right, inset=None if right else close)
    others = f"; thin: the other {counted(len(names) - 1, 'run')}, each on its own line" if len(names) > 1 else ""
    caption = (
        f"Loss on the straight line (1 − α) first + α last weights of {names[0]}, continued beyond both, at {len(x)} "
        f"places{others}. Training did not go along this line (Goodfellow et al. 2015 found that the loss mostly falls "
        "along it all the same)."
    )
    return Figure("line", "From the first to the last weights", caption, (panel,), size=(7.0, 4.3))


def planes(found: Plane) -> list[Figure]:
    """The surface flat and in space, and, with the path on it, what it hides."""
    look: dict[str, Any] = {"path": found.path, "places": found.places}
    drawn_ = [found.surface.plot("loss", name=f"plane-{found.key}", title=found.title, **look)]
    if len(found.surface.axes) == 2:
        title = f"{found.title}, in space"
        drawn_.append(found.surface.space("loss", name=f"space-{found.key}", title=title, **look))
    return drawn_ if found.path is None else [*drawn_, found.path.plot()]


def film(found: Plane, path: PathOnPlane, file: Path) -> int:
    """Writes training moving over its plane, and gives the number of frames."""
    track = path.track("loss")
    chosen = np.unique(np.linspace(0, len(track.at) - 1, min(FRAMES, len(track.at))).round().astype(int))
    x, y = track.coordinates[chosen, 0].T
    epochs, losses = track.at[chosen], track.true[chosen, 0]
    z, scale, _ = drawn("training loss", found.surface.values["loss"])
    across, up = (Axis(typeset(label)) for label in found.surface.directions.labels)
    left, bottom = found.surface.axes
    levels = Panel(across, up, (Contour(left, bottom, z, scale=scale, filled=True),))
    curves = (
        Line(track.at, track.true[:, 0], label="at the weights"),
        Line(track.at, track.shadow[:, 0], label="in the plane", style="dashed"),
    )
    loss = Panel(Axis("epoch"), chosen_axis("training loss", track.true, track.shadow), curves)
    still = Figure("descent", "Training over its plane", "", (levels, loss), size=SQUARE)
    moving = [Moving(0, x[:, None], y[:, None]), Moving(1, epochs[:, None], losses[:, None], trail=False)]
    words = [f"epoch {e:g}\nloss {number(v)}" for e, v in zip(epochs.tolist(), losses.tolist(), strict=True)]
    animate(still, moving, file, words=words, fps=min(12.0, max(2.0, len(chosen) / 6)), dpi=80)
    return len(chosen)

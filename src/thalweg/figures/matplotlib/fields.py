"""Drawing fields: heat maps and level lines."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.colors import Normalize

from thalweg.figures.fields import Contour, Heatmap
from thalweg.figures.matplotlib.canvas import Canvas, draw, halo
from thalweg.figures.matplotlib.style import colormap
from thalweg.figures.palette import INK, PAPER, clipped, mixed, shades
from thalweg.figures.reading import edges
from thalweg.figures.scales import ColourScale, drawn_limits, forward, levels, number


@draw.register
def _(mark: Heatmap, canvas: Canvas) -> None:
    ends = canvas.colours.ends(mark.scale)
    z, norm = coloured(mark.scale, mark.z, ends)
    axes = canvas.axes(mark)
    axes.set_facecolor(mixed(INK, PAPER, 0.84))
    shown = {"cmap": colormap(mark.scale), "norm": norm, "alpha": mark.opacity, "rasterized": True}
    axes.pcolormesh(edges(mark.x), edges(mark.y), z, **shown)
    if canvas.close_up:
        return
    backs = shades(mark.scale, ends, mark.z)
    for i, row in enumerate(mark.texts):
        for j, text in enumerate(row):
            bright = np.mean([int(backs[i * len(row) + j][k : k + 2], 16) for k in (1, 3, 5)]) > 130
            centred = {"ha": "center", "va": "center", "fontsize": 7.5}
            axes.text(mark.x[j], mark.y[i], text, color=INK if bright else PAPER, **centred)


def coloured(scale: ColourScale, values: np.ndarray, ends: tuple[float, float]) -> tuple[Any, Normalize]:
    """Values as drawn coordinates for a colour map, those without a place masked."""
    low, high = forward(scale, np.array(ends)).tolist()
    return np.ma.masked_invalid(clipped(scale, ends, values)), Normalize(low, high)


@draw.register
def _(mark: Contour, canvas: Canvas) -> None:
    axes = canvas.axes(mark)
    ends = canvas.colours.ends(mark.scale) if mark.shaded else drawn_limits(mark.scale, mark.z)
    chosen = levels(mark.scale, *ends, mark.count) if mark.levels is None else mark.levels
    u_levels = forward(mark.scale, chosen)
    u, norm = coloured(mark.scale, mark.z, ends)
    shown: dict[str, Any] = {"cmap": colormap(mark.scale), "norm": norm}
    if not mark.shaded:
        shown = {"colors": [canvas.colours.of(mark)]}
    elif mark.filled:
        axes.set_facecolor(mixed(INK, PAPER, 0.84))
        steps = np.unique([*forward(mark.scale, np.array(ends)), *u_levels])
        axes.contourf(mark.x, mark.y, u, steps, extend="both", **shown, alpha=mark.opacity)
        shown = {"colors": [mixed(INK, PAPER, 0.15)]}
    if len(u_levels) == 0:
        return
    strokes = {"linewidths": 0.6 if mark.filled else 1.0, "alpha": 0.55 if mark.filled else mark.opacity}
    lines = axes.contour(mark.x, mark.y, u, u_levels, **shown, **strokes, linestyles="solid")
    if mark.labels and not canvas.close_up:
        words = dict(zip(lines.levels, (number(level) for level in chosen.tolist()), strict=True))
        for text in axes.clabel(lines, fmt=words, fontsize=7, inline=True, inline_spacing=3, colors=[INK]):
            halo(text)
            text.set_alpha(1.0)
    if not mark.shaded:
        canvas.line_sample(mark.label, color=canvas.colours.of(mark), linewidth=1.0)

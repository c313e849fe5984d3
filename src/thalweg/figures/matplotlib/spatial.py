"""Drawing spatial panels.

The drawn coordinates are computed before (``forward``), because matplotlib's 3-D axes know linear scales only. Nothing
is hidden by depth: paths lie above surfaces and points above paths, so that a path in a valley can be seen.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.colors import LightSource, to_rgba
from mpl_toolkits.mplot3d.art3d import Line3DCollection

from thalweg.figures.matplotlib.canvas import Canvas, draw, halo
from thalweg.figures.matplotlib.curves import point_colours
from thalweg.figures.matplotlib.style import SYMBOLS, mark_ticks
from thalweg.figures.palette import GRID, INK, PAPER, mixed, shades
from thalweg.figures.reading import axis_of, view
from thalweg.figures.scales import forward, levels
from thalweg.figures.spatial import Path3D, Scatter3D, Spatial, Surface3D

__all__ = ["dress"]


def dress(axes: Any, canvas: Canvas) -> None:
    """View, panes, ticks and titles of a spatial panel."""
    elevation, azimuth = canvas.panel.view
    axes.view_init(elev=elevation, azim=azimuth)
    axes.set_box_aspect((1, 1, 0.72), zoom=0.94)
    for name in ("x", "y", "z"):
        axis, shown = axis_of(canvas.panel, name), view(canvas.panel, name)
        ruler = getattr(axes, f"{name}axis")
        getattr(axes, f"set_{name}lim")(*forward(axis, np.array(shown)).tolist())
        mark_ticks(ruler, axis, shown, 5, drawn=True)
        getattr(axes, f"set_{name}label")(axis.title, labelpad=2, fontsize=8)
        ruler.set_pane_color((1, 1, 1, 0))
        ruler._axinfo["grid"].update(color=GRID, linewidth=0.5)  # matplotlib offers no public way to the 3-D grid
        ruler.line.set_color(mixed(INK, PAPER, 0.5))
    axes.tick_params(labelsize=7, pad=0)


def place(mark: Spatial, canvas: Canvas, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """Drawn coordinates of x, y, z."""
    names = ("x", "y", "z")
    return tuple(forward(axis_of(canvas.panel, name), array) for name, array in zip(names, arrays, strict=True))


@draw.register
def _(mark: Surface3D, canvas: Canvas) -> None:
    axes: Any = canvas.left
    x, y, z = place(mark, canvas, *np.meshgrid(mark.x, mark.y), mark.z)
    z = np.where(np.isfinite(z), z, np.nan)
    values = mark.z if mark.values is None else mark.values
    flat = shades(mark.scale, canvas.colours.ends(mark.scale), values)
    faces = np.array([to_rgba(colour) for colour in flat]).reshape(*mark.z.shape, 4)
    height = np.nan_to_num(z, nan=np.nanmin(z) if np.isfinite(z).any() else 0.0)
    extent = np.ptp(height) or 1.0
    light = LightSource(azdeg=300, altdeg=50)
    relief = light.hillshade(height, vert_exag=12 / extent, dx=10 / z.shape[1], dy=10 / z.shape[0])
    faces[..., :3] *= (0.82 + 0.18 * relief)[..., None]
    faces[..., 3] = mark.opacity
    stride = {"rcount": min(z.shape[0], 120), "ccount": min(z.shape[1], 120)}
    surface = axes.plot_surface(x, y, z, facecolors=faces, shade=False, linewidth=0, antialiased=False, **stride)
    surface.set(zorder=1, rasterized=True)
    canvas.area_sample(mark.label, flat[len(flat) // 2], mark.opacity)
    if mark.floor and np.isfinite(z).any():
        axis = axis_of(canvas.panel, "z")
        shown = view(canvas.panel, "z")
        heights = mark.z[np.isfinite(z)]
        chosen = forward(axis, levels(axis, float(heights.min()), float(heights.max()), 10))
        if len(chosen):
            ground = float(forward(axis, shown[0]))
            axes.contour(
                x,
                y,
                z,
                chosen,
                zdir="z",
                offset=ground,
                colors=[mixed(INK, PAPER, 0.5)],
                linewidths=0.5,
                linestyles="solid",
                zorder=0,  # beneath the surface
            )


@draw.register
def _(mark: Path3D, canvas: Canvas) -> None:
    axes: Any = canvas.left
    x, y, z = place(mark, canvas, mark.x, mark.y, mark.z)
    shown = canvas.stroke(mark, linewidth=mark.width)
    if mark.values is None:
        axes.plot(x, y, z, **shown, zorder=3)
        canvas.line_sample(mark.label, **shown)
    else:
        steps = np.stack([np.column_stack([x, y, z])[:-1], np.column_stack([x, y, z])[1:]], axis=1)
        colours = shades(mark.scale, canvas.colours.ends(mark.scale), mark.values[1:])
        lines = Line3DCollection(list(steps), colors=colours, linewidths=mark.width, alpha=mark.opacity, zorder=3)
        axes.add_collection3d(lines, autolim=False)
    if mark.symbol:
        points = shown["color"]
        if mark.values is not None:
            points = shades(mark.scale, canvas.colours.ends(mark.scale), mark.values)
        style = {"marker": SYMBOLS[mark.symbol], "s": (2.5 + mark.width) ** 2, "linewidths": 0}
        axes.scatter(x, y, z, c=points, **style, depthshade=False, zorder=4, alpha=mark.opacity)


@draw.register
def _(mark: Scatter3D, canvas: Canvas) -> None:
    axes: Any = canvas.left
    x, y, z = place(mark, canvas, mark.x, mark.y, mark.z)
    found, sizes = np.array(point_colours(mark, canvas)), np.broadcast_to(np.square(mark.size), mark.x.shape)
    kinds = mark.markers or ("",) * len(x)
    for kind in dict.fromkeys(kinds):
        keep = np.array([k == kind for k in kinds], dtype=bool)
        symbol = canvas.colours.symbol(kind, mark.symbol)
        style = {"marker": SYMBOLS[symbol], "s": sizes[keep], "c": found[keep].tolist(), "alpha": mark.opacity}
        style |= {"linewidths": 0.3, "edgecolors": PAPER, "depthshade": False, "zorder": 5}
        axes.scatter(x[keep], y[keep], z[keep], **style)
        canvas.point_sample(kind, mixed(INK, PAPER, 0.4), symbol, 5.0)
    for word in dict.fromkeys(mark.categories):
        canvas.point_sample(word, canvas.colours.of(mark, word), mark.symbol, 5.0)
    if not mark.categories and mark.values is None:
        canvas.point_sample(mark.label, canvas.colours.of(mark), mark.symbol, 5.0)
    for px, py, pz, text in zip(x.tolist(), y.tolist(), z.tolist(), mark.texts, strict=False):
        if text:
            halo(axes.text(px, py, pz, f" {text}", fontsize=7, color=INK, zorder=6))

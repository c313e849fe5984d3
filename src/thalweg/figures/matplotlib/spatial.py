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
from thalweg.figures.reading import axis_of, only, view
from thalweg.figures.rulers import levels
from thalweg.figures.scales import MOST, drawable, forward, placed
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
        mark_ticks(ruler, axis, shown, 5, drawn=True, value=only([canvas.panel], name))
        getattr(axes, f"set_{name}lim")(*forward(axis, np.array(shown)).tolist())  # after the ticks, as on paper
        getattr(axes, f"set_{name}label")(axis.title, labelpad=2, fontsize=8)
        ruler.set_pane_color((1, 1, 1, 0))
        ruler._axinfo["grid"].update(color=GRID, linewidth=0.5)  # matplotlib offers no public way to the 3-D grid
        ruler.line.set_color(mixed(INK, PAPER, 0.5))
    axes.tick_params(labelsize=7, pad=0)


def place(mark: Spatial, canvas: Canvas, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """Drawn coordinates of x, y, z, with gaps where one is not finite or too large for an axis."""
    drawn = (forward(axis_of(canvas.panel, n), array) for n, array in zip(("x", "y", "z"), arrays, strict=True))
    return tuple(np.where(np.abs(u) <= MOST, u, np.nan) for u in drawn)


@draw.register
def _(mark: Surface3D, canvas: Canvas) -> None:
    axes: Any = canvas.left
    x, y, z = place(mark, canvas, *np.meshgrid(mark.x, mark.y), mark.z)
    values = mark.z if mark.values is None else mark.values
    flat = shades(mark.scale, canvas.colours.ends(mark.scale), values)
    canvas.area_sample(mark.label, flat[len(flat) // 2], mark.opacity)
    if min(z.shape) < 2:  # a curve: there is no face between one row and the next
        _ridge(axes, np.stack([x, y, z], axis=-1).reshape(-1, 3), flat, mark.opacity)
        return
    faces = np.array([to_rgba(colour) for colour in flat]).reshape(*mark.z.shape, 4)
    light = LightSource(azdeg=300, altdeg=50)
    relief = light.hillshade(_height(z), vert_exag=12, dx=10 / z.shape[1], dy=10 / z.shape[0])
    faces[..., :3] *= (0.82 + 0.18 * relief)[..., None]
    faces[..., 3] = mark.opacity
    stride = {"rcount": min(z.shape[0], 120), "ccount": min(z.shape[1], 120)}
    surface = axes.plot_surface(x, y, z, facecolors=faces, shade=False, linewidth=0, antialiased=False, **stride)
    surface.set(zorder=1, rasterized=True)
    if mark.floor:
        _floor(mark, canvas, x, y, z)


def _height(z: np.ndarray) -> np.ndarray:
    """Drawn heights as shares of their range, 0 where there is none."""
    if not np.isfinite(z).any():
        return np.zeros_like(z)
    low, high = np.nanmin(z), np.nanmax(z)
    return np.nan_to_num((z / 2 - low / 2) / ((high / 2 - low / 2) or 1.0), nan=0.0)


def _ridge(axes: Any, points: np.ndarray, colours: list[str], opacity: float) -> None:
    """A curve (M, 3) with a colour for each of its points."""
    steps = np.stack([points[:-1], points[1:]], axis=1)
    whole = np.flatnonzero(np.isfinite(steps).all(axis=(1, 2)))
    shown = [colours[k + 1] for k in whole.tolist()]
    if shown:
        lines = Line3DCollection(list(steps[whole]), colors=shown, linewidths=2.5, alpha=opacity, zorder=3)
        axes.add_collection3d(lines, autolim=False)
    kept = np.flatnonzero(np.isfinite(points).all(axis=1))
    style = {"s": 14, "linewidths": 0, "depthshade": False, "zorder": 4, "alpha": opacity}
    axes.scatter(*points[kept].T, c=[colours[k] for k in kept.tolist()], **style)


def _floor(mark: Surface3D, canvas: Canvas, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> None:
    """Level lines on the floor of the box; none of a surface that is flat."""
    axis = axis_of(canvas.panel, "z")
    heights = placed(axis, mark.z)
    if not heights.size:
        return
    low, high = (drawable(axis, float(end)) for end in (heights.min(), heights.max()))
    chosen = forward(axis, levels(axis, low, high, 10))
    if not len(chosen):
        return
    axes: Any = canvas.left
    ground = float(forward(axis, view(canvas.panel, "z")[0]))
    style = {"colors": [mixed(INK, PAPER, 0.5)], "linewidths": 0.5, "linestyles": "solid", "zorder": 0}  # beneath it
    axes.contour(x, y, np.ma.masked_invalid(z), chosen, zdir="z", offset=ground, **style)


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
        whole = np.isfinite(steps).all(axis=(1, 2))
        colours = shades(mark.scale, canvas.colours.ends(mark.scale), mark.values[1:][whole])
        if colours:
            style = {"colors": colours, "linewidths": mark.width, "alpha": mark.opacity, "zorder": 3}
            axes.add_collection3d(Line3DCollection(list(steps[whole]), **style), autolim=False)
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

"""One figure on its page: grid, titles, legend, colour bars, insets, and the two files."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure as Page

from thalweg.figures.figure import Figure
from thalweg.figures.matplotlib import curves, fields, guides, spatial  # noqa: F401 - they register how to draw
from thalweg.figures.matplotlib.canvas import HALOED, Canvas, Legend, draw
from thalweg.figures.matplotlib.labels import place_labels
from thalweg.figures.matplotlib.style import RC, colormap, dress, mark_ticks
from thalweg.figures.palette import CATEGORIES, INK, MUTED, PAPER, Colours, colours_of, mixed, shares
from thalweg.figures.reading import bar_axis, bar_names, empty, only, shared_view, sharing, view
from thalweg.figures.scales import ColourScale
from thalweg.figures.undrawn import lacking

__all__ = ["composed", "rendered", "written"]

LETTER = 0.068  # mean width of a letter of the legend, in inches


def rendered(figure: Figure, dpi: int) -> tuple[bytes, bytes]:
    """The figure as PNG and as SVG."""
    with _settings(figure, dpi):
        page = composed(figure)
        return _FORMATS["png"](page, figure), _FORMATS["svg"](page, figure)


def written(figure: Figure, kind: str, dpi: int) -> bytes:
    """The figure as a file of one kind: png, svg or pdf."""
    with _settings(figure, dpi):
        return _FORMATS[kind](composed(figure), figure)


def _settings(figure: Figure, dpi: int) -> AbstractContextManager[None]:
    size = {"figure.dpi": dpi, "savefig.dpi": dpi}
    return mpl.rc_context({**RC, **size, "svg.hashsalt": f"figure {figure.name}", "pdf.fonttype": 42})


def _file(page: Page, kind: str, metadata: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    page.savefig(file, format=kind, metadata=metadata)
    return file.getvalue()


def _png(page: Page, figure: Figure) -> bytes:
    return _file(page, "png", {"Software": None, "Title": figure.title})


def _svg(page: Page, figure: Figure) -> bytes:
    for number, words in enumerate(page.findobj(lambda artist: artist.get_gid() == HALOED)):
        words.set(path_effects=[], gid=f"{HALOED}-{number}")
    found = _file(page, "svg", {"Date": None, "Creator": None, "Title": figure.title})
    style = f'g[id^="{HALOED}-"] text{{paint-order:stroke;stroke:{PAPER};stroke-width:2.2px;stroke-linejoin:round}}'
    return found.replace(b'<style type="text/css">', b'<style type="text/css">' + style.encode(), 1)


def _pdf(page: Page, figure: Figure) -> bytes:
    return _file(page, "pdf", {"CreationDate": None, "Creator": None, "Producer": None, "Title": figure.title})


_FORMATS: dict[str, Callable[[Page, Figure], bytes]] = {"png": _png, "svg": _svg, "pdf": _pdf}


def composed(figure: Figure) -> Page:
    """The figure as matplotlib's own."""
    rows, columns = figure.grid
    width, height = figure.inches
    page = Page(figsize=(columns * width, rows * height + 0.35))
    FigureCanvasAgg(page)
    colours, legend = colours_of(figure), Legend()
    canvases = []
    for index, panel in enumerate(figure.panels):
        slot = (rows, columns, index + 1)
        axes = (
            page.add_subplot(*slot, projection="3d", computed_zorder=False)
            if panel.spatial
            else page.add_subplot(*slot)
        )
        axes.set_label(f"panel {index}")  # by which an animation finds it
        own = Legend() if figure.legend == "panel" else legend
        canvases.append(_canvas(figure, index, axes, colours, own))
    for index, canvas in enumerate(canvases):
        _fill(figure, index, canvas)
    _colour_bars(page, figure, canvases)
    title = page.suptitle(_wrapped(figure.title, columns * width), x=0.012, ha="left")
    title.set_in_layout(True)
    if figure.legend == "panel":
        for canvas in canvases:
            _panel_legend(canvas)
    elif figure.legend != "none":
        _figure_legend(page, figure, legend)
    spatial_ = [panel.spatial for panel in figure.panels]
    engine: Any = page.get_layout_engine()
    if engine is not None and columns > 1 and any(spatial_) and not all(spatial_):
        engine.set(wspace=0.13)  # the title of a z axis lies outside of what is laid out
    # Two passes: the first lays out, so that ticks and labels can be chosen for the true size of every panel.
    page.draw_without_rendering()
    for index, canvas in enumerate(canvases):
        _ticks(figure, index, canvas)
    page.draw_without_rendering()
    page.set_layout_engine("none")
    _align_legend(page, canvases[0])
    for canvas in canvases:
        place_labels(canvas)
    return page


def _wrapped(text: str, width: float) -> str:
    return "\n".join(textwrap.wrap(text, max(20, int(width / 0.092))))


def _canvas(figure: Figure, index: int, axes: Any, colours: Colours, legend: Legend) -> Canvas:
    panel = figure.panels[index]
    shown = {name: shared_view(figure, index, name) for name in ("x", "y")}
    right = None
    if panel.right is not None:
        right = axes.twinx()
        shown["right"] = view(panel, "right")
    return Canvas(panel, axes, right, colours, legend, shown)


def _fill(figure: Figure, index: int, canvas: Canvas) -> None:
    panel = canvas.panel
    axes: Any = canvas.left
    if panel.title:
        axes.set_title(_wrapped(panel.title, figure.inches[0] * 0.95))
    if empty(panel):
        middle = {"transform": axes.transAxes, "ha": "center", "va": "center", "color": MUTED}
        (axes.text2D if panel.spatial else axes.text)(0.5, 0.5, lacking(panel), **middle)
    if panel.spatial:
        for mark in panel.marks:
            draw(mark, canvas)
        spatial.dress(axes, canvas)
        return
    _ticks(figure, index, canvas)
    for mark in panel.marks:
        draw(mark, canvas)
    _restore_views(canvas)
    if panel.equal:
        axes.set_aspect("equal", adjustable="box")
    if canvas.right is not None:
        canvas.right.grid(visible=False)
        canvas.right.spines["right"].set_visible(True)
        _tint(canvas)
    if panel.inset is not None:
        _inset(canvas)


def _restore_views(canvas: Canvas) -> None:
    """Drawing moves the limits; the figure decides them."""
    canvas.left.set_xlim(canvas.view["x"])
    canvas.left.set_ylim(canvas.view["y"])
    if canvas.right is not None:
        canvas.right.set_ylim(canvas.view["right"])
    if bar_axis(canvas.panel) == "y":
        canvas.left.invert_yaxis()  # the first name on top


def _ticks(figure: Figure, index: int, canvas: Canvas) -> None:
    panel, axes = canvas.panel, canvas.left
    if panel.spatial:
        return
    columns = figure.grid[1]
    bottom = not figure.share_x or index + columns >= len(figure.panels)
    first = not figure.share_y or index % columns == 0
    for name, axis, said in (("x", panel.x, bottom), ("y", panel.y, first)):
        if bar_axis(panel) == name:
            axis = axis.replace(ticks=tuple((float(k), word) for k, word in enumerate(bar_names(panel))))
        dress(axes, name, axis, canvas.view[name], label=said, value=only(sharing(figure, index, name), name))
    axes.tick_params(axis="x", labelbottom=bottom)
    axes.tick_params(axis="y", labelleft=first)
    if bar_axis(panel):
        axes.grid(visible=False, axis="x" if bar_axis(panel) == "x" else "y")
        axes.tick_params(axis="x" if bar_axis(panel) == "x" else "y", which="both", length=0)
    if canvas.right is not None and panel.right is not None:
        dress(canvas.right, "right", panel.right, canvas.view["right"], value=only([panel], "right"))
    if bar_axis(panel) == "y":
        axes.invert_yaxis()


def _tint(canvas: Canvas) -> None:
    """Write the right axis in the colour of its marks if they have one that the left marks do not have."""
    sides: dict[str, set[str]] = {"left": set(), "right": set()}
    for mark in canvas.panel.marks:
        if not mark.shaded and canvas.colours.of(mark) in CATEGORIES:
            sides[mark.side].add(canvas.colours.of(mark))
    for side, axes, name in (("left", canvas.left, "left"), ("right", canvas.right, "right")):
        other = sides["right" if side == "left" else "left"]
        if axes is not None and len(sides[side]) == 1 and not sides[side] & other:
            colour = mixed(next(iter(sides[side])), INK, 0.15)
            axes.yaxis.label.set_color(colour)
            axes.tick_params(axis="y", labelcolor=colour)
            axes.spines[name].set_color(colour)


def _inset(canvas: Canvas) -> None:
    inset = canvas.panel.inset
    if inset is None:
        return
    width, height = inset.size
    left = 0.03 + (0.0 if canvas.right else 0.04) if "left" in inset.corner else 0.98 - width
    left = 0.5 - width / 2 if "centre" in inset.corner else left
    bottom = 0.09 if "lower" in inset.corner else 0.97 - height - (0.05 if inset.title else 0)
    axes = canvas.left.inset_axes((left, bottom, width, height), zorder=6)
    panel, whole = canvas.panel, view(canvas.panel, "x")
    x = tuple(own if own is not None else all_ for own, all_ in zip(inset.x, whole, strict=True))
    close = view(panel, "y", within=(x[0], x[1]))
    y = tuple(own if own is not None else near for own, near in zip(inset.y, close, strict=True))
    shown = {"x": (x[0], x[1]), "y": (y[0], y[1])}
    marks = tuple(mark for mark in panel.marks if mark.side == "left")
    inside = Canvas(panel.replace(marks=marks, inset=None), axes, None, canvas.colours, Legend(), shown, close_up=True)
    for name, axis in (("x", panel.x), ("y", panel.y)):
        dress(axes, name, axis, shown[name], label=False)
        mark_ticks(getattr(axes, f"{name}axis"), axis, shown[name], 3)
    for mark in marks:
        draw(mark, inside)
    _restore_views(inside)
    axes.tick_params(labelsize=6.5, length=2, pad=1.5)
    axes.tick_params(which="minor", length=0)
    axes.set_title(inset.title, fontsize=7, fontweight="normal", pad=2)
    for spine in axes.spines.values():
        spine.set(visible=True, color=MUTED, linewidth=0.6)
    axes.patch.set(facecolor=PAPER, alpha=0.96)
    canvas.left.indicate_inset_zoom(axes, edgecolor=MUTED, linewidth=0.6, alpha=0.8)


def _colour_bars(page: Page, figure: Figure, canvases: list[Canvas]) -> None:
    """A colour bar beside the panels that use its scale; one for all of them if they are several."""
    users: list[tuple[ColourScale, list[Canvas]]] = []
    for canvas in canvases:
        for scale in canvas.panel.colour_scales():
            known = next((found for seen, found in users if seen == scale), None)
            if known is None:
                users.append((scale, [canvas]))
            else:
                known.append(canvas)
    for scale, found in users:
        if not scale.bar:
            continue
        colours = found[0].colours
        shown = ScalarMappable(Normalize(0, 1), colormap(scale))  # shares of the scale, whatever the size of its values
        arrows = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
        extend = arrows[colours.beyond(scale)]
        only = len(found) == 1
        spatial_ = any(canvas.panel.spatial for canvas in found)
        size = {"shrink": 0.7 if spatial_ else 1.0, "aspect": 22 if only else 30, "pad": 0.08 if spatial_ else 0.02}
        bar = page.colorbar(shown, ax=[canvas.left for canvas in found], extend=extend, extendfrac=0.03, **size)
        bar.set_label(scale.title, fontsize=8.5)
        bar.outline.set_visible(False)  # type: ignore[operator]  # a spine, although typed otherwise
        places, words = colours.ticks(scale, 6)
        bar.set_ticks(shares(scale, colours.ends(scale), places).tolist(), labels=words)
        bar.minorticks_off()
        bar.ax.tick_params(labelsize=7.5, length=2.5)


def _figure_legend(page: Page, figure: Figure, legend: Legend) -> None:
    samples, labels = legend.rows()
    if not labels:
        return
    width, height = page.get_size_inches()
    widest = LETTER * max(map(len, labels)) + 0.5
    many = len(labels) * 0.17 > height - 0.5
    if figure.grid[1] == 1 and widest < 0.4 * width and not many:
        page.set_size_inches(width + widest, height)
        page.legend(samples, labels, loc="outside right upper", labelspacing=0.55)
        return
    columns = max(1, min(len(labels), int((width - 0.2) / (widest + 0.12))))
    page.set_size_inches(width, height + 0.18 * math.ceil(len(labels) / columns) + 0.08)
    page.legend(samples, labels, loc="outside lower center", ncols=columns, columnspacing=1.4, labelspacing=0.4)


def _align_legend(page: Page, canvas: Canvas) -> None:
    """Let a legend at the right begin where the first panel begins, not at the title."""
    for legend in page.legends:
        box = legend.get_window_extent().transformed(page.transFigure.inverted())
        if box.x0 > 0.5 and not canvas.panel.spatial:
            legend.set_loc("upper left")
            legend.set_bbox_to_anchor((box.x0, canvas.left.get_position().y1))


def _panel_legend(canvas: Canvas) -> None:
    samples, labels = canvas.legend.rows()
    if not labels:
        return
    axes: Any = canvas.left
    width = axes.get_window_extent().width / axes.get_figure(root=True).dpi
    widest = LETTER * max(map(len, labels)) + 0.5
    columns = max(1, min(len(labels), int(width / widest)))
    drop = -0.12 if canvas.panel.spatial else -0.17
    axes.legend(samples, labels, loc="upper center", bbox_to_anchor=(0.5, drop), ncols=columns, columnspacing=1.2)

"""One interactive figure: the grid of panels, their axes, colour bars, legend and insets."""

from __future__ import annotations

from typing import Any

import numpy as np

from thalweg.figures.fields import Contour, Heatmap
from thalweg.figures.figure import Figure
from thalweg.figures.palette import CATEGORIES, EMPTY, INK, MUTED, PAPER, Colours, colours_of, mixed
from thalweg.figures.plotly import curves, fields, guides, points, spatial  # noqa: F401 - they register how to draw
from thalweg.figures.plotly.axes import NARROW, WIDTH, axis_layout, domains, long_name
from thalweg.figures.plotly.frame import Frame, traces, words
from thalweg.figures.reading import bar_axis, bar_names, empty, only, shared_view, sharing, view
from thalweg.figures.scales import forward
from thalweg.figures.undrawn import lacking

__all__ = ["composed"]

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


class _Page:
    """The figure while it is put together."""

    def __init__(self, figure: Figure, width: float) -> None:
        self.figure = figure
        self.width = width
        self.colours: Colours = colours_of(figure)
        self.data: list[dict[str, Any]] = []
        self.layout: dict[str, Any] = {}
        self.shapes: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []
        self.axes = {"x": 0, "y": 0}
        self.scenes = 0
        self.named: set[str] = set()
        self.domains = domains(figure, width)

    def axis(self, letter: str) -> str:
        """Plotly's name of a new axis: x, x2, x3 and so on."""
        self.axes[letter] += 1
        return letter if self.axes[letter] == 1 else f"{letter}{self.axes[letter]}"


def composed(figure: Figure, *, narrow: bool = False) -> dict[str, Any]:
    """Data, layout and config of a figure, its panels in one column if it is to be narrow."""
    if narrow and figure.grid[1] > 1:
        figure = figure.replace(columns=1, share_x=False, share_y=False, size=figure.inches)
    page = _Page(figure, NARROW if narrow else WIDTH)
    for index in range(len(figure.panels)):
        _panel(page, index)
    bottom = _colour_bars(page)
    _legend(page, beneath=narrow or bottom or figure.grid[1] > 1)
    rows = figure.grid[0]
    height = rows * figure.inches[1] * 92 + 40
    page.layout |= {
        "height": round(height + page.layout.pop("_more", 0)),
        "autosize": True,
        "font": {"family": FONT, "size": 13, "color": INK},
        "paper_bgcolor": PAPER,
        "plot_bgcolor": PAPER,
        "hovermode": "closest",
        "hoverlabel": {"align": "left", "font": {"size": 12}},
        "barmode": "overlay",
        "shapes": page.shapes,
        "annotations": page.annotations,
    }
    image = {"format": "svg", "filename": figure.name}
    hidden = ["select2d", "lasso2d", "autoScale2d"]
    config = {"responsive": True, "displaylogo": False, "toImageButtonOptions": image, "modeBarButtonsToRemove": hidden}
    return {"data": page.data, "layout": page.layout, "config": config}


def _panel(page: _Page, index: int) -> None:
    figure, panel = page.figure, page.figure.panels[index]
    x_domain, y_domain = page.domains[index]
    group = (panel.title or f"panel {index + 1}") if figure.legend == "panel" and len(figure.panels) > 1 else ""
    if panel.title:
        title = {"text": f"<b>{words(panel.title)}</b>", "xref": "paper", "yref": "paper", "x": x_domain[0]}
        title |= {"y": y_domain[1], "xanchor": "left", "yanchor": "bottom", "showarrow": False, "yshift": 5}
        page.annotations.append(title | {"font": {"size": 13}})
    if empty(panel):
        note = {"text": lacking(panel), "xref": "paper", "yref": "paper", "showarrow": False, "font": {"color": MUTED}}
        page.annotations.append(note | {"x": sum(x_domain) / 2, "y": sum(y_domain) / 2})
    if panel.spatial:
        page.scenes += 1
        name = f"scene{page.scenes}" if page.scenes > 1 else "scene"
        frame = Frame(panel, page.colours, {"scene": name}, {}, page.named, group)
        page.layout[name] = spatial.scene(frame, {"x": x_domain, "y": y_domain})
        page.data += [trace for mark in panel.marks for trace in traces(mark, frame)]
        return
    refs = {"x": page.axis("x"), "y": page.axis("y")}
    shown = {name: shared_view(figure, index, name) for name in ("x", "y")}
    if panel.right is not None:
        refs["right"] = page.axis("y")
        shown["right"] = view(panel, "right")
    frame = Frame(panel, page.colours, refs, shown, page.named, group)
    _flat_axes(page, index, frame)
    _draw(page, frame)
    if panel.inset is not None:
        _inset(page, frame, x_domain, y_domain)


def _draw(page: _Page, frame: Frame) -> None:
    if any(isinstance(mark, Heatmap) or (isinstance(mark, Contour) and mark.filled) for mark in frame.panel.marks):
        # Cells without a value show this grey, which no palette has.
        back: dict[str, Any] = {
            "type": "rect",
            "xref": f"{frame.refs['x']} domain",
            "yref": f"{frame.refs['y']} domain",
        }
        back |= {"x0": 0, "x1": 1, "y0": 0, "y1": 1, "fillcolor": EMPTY, "line": {"width": 0}, "layer": "below"}
        page.shapes.append(back)
    for mark in frame.panel.marks:
        page.data += [_point(trace) for trace in traces(mark, frame)]
        page.shapes += guides.shapes(mark, frame)
        page.annotations += guides.annotations(mark, frame)


def _point(trace: dict[str, Any]) -> dict[str, Any]:
    """The trace, one without points given a point nowhere: beside a colour bar plotly would place its axes at NaN."""
    if all(isinstance(trace.get(name), dict) and not trace[name]["bdata"] for name in ("x", "y")):
        return trace | {"x": [None], "y": [None]}
    return trace


def _flat_axes(page: _Page, index: int, frame: Frame) -> None:
    figure, panel, columns = page.figure, frame.panel, page.figure.grid[1]
    x_domain, y_domain = page.domains[index]
    bottom = not figure.share_x or index + columns >= len(figure.panels)
    first = not figure.share_y or index % columns == 0
    named = tuple((float(k), name) for k, name in enumerate(bar_names(panel)))
    x = panel.x.replace(ticks=named) if bar_axis(panel) == "x" else panel.x
    y = panel.y.replace(ticks=named) if bar_axis(panel) == "y" else panel.y
    alone = {name: only(sharing(figure, index, name), name) for name in ("x", "y")}
    horizontal = axis_layout(x, frame.view["x"], labels=bottom, value=alone["x"])
    vertical = axis_layout(y, frame.view["y"], labels=first, value=alone["y"])
    horizontal |= {"domain": x_domain, "anchor": frame.refs["y"]}
    vertical |= {"domain": y_domain, "anchor": frame.refs["x"]}
    if figure.share_x and index >= columns:
        horizontal["matches"] = _first_axis(page, index % columns, "x")
    if figure.share_y and index % columns:
        vertical["matches"] = _first_axis(page, index - index % columns, "y")
    if panel.equal:
        vertical |= {"scaleanchor": frame.refs["x"], "scaleratio": 1, "constrain": "domain"}
        horizontal["constrain"] = "domain"
    if bar_axis(panel) == "y":
        vertical["range"] = vertical["range"][::-1]  # the first name on top
    page.layout[long_name(frame.refs["x"])], page.layout[long_name(frame.refs["y"])] = horizontal, vertical
    page.layout.setdefault("_first", {})[index] = frame.refs
    if panel.right is not None:
        right = axis_layout(panel.right, frame.view["right"], value=only([panel], "right")) | {
            "anchor": frame.refs["x"],
            "overlaying": frame.refs["y"],
        }
        right |= {"side": "right", "showgrid": False, "tickmode": right.get("tickmode", "auto")}
        page.layout[long_name(frame.refs["right"])] = right
        _tint(page, frame)


def _first_axis(page: _Page, index: int, which: str) -> str:
    return page.layout["_first"][index][which]


def _tint(page: _Page, frame: Frame) -> None:
    """Colour the two vertical axes as their marks where that tells them apart."""
    sides: dict[str, set[str]] = {"left": set(), "right": set()}
    for mark in frame.panel.marks:
        if not mark.shaded and page.colours.of(mark) in CATEGORIES:
            sides[mark.side].add(page.colours.of(mark))
    for side, ref, other in (("left", "y", "right"), ("right", "right", "left")):
        if len(sides[side]) == 1 and not sides[side] & sides[other]:
            colour = mixed(next(iter(sides[side])), INK, 0.15)
            axis = page.layout[long_name(frame.refs[ref])]
            axis["title"]["font"]["color"] = axis["tickfont"]["color"] = axis["linecolor"] = colour


def _inset(page: _Page, frame: Frame, x_domain: list[float], y_domain: list[float]) -> None:
    inset = frame.panel.inset
    if inset is None:
        return
    whole = view(frame.panel, "x")
    x = tuple(own if own is not None else all_ for own, all_ in zip(inset.x, whole, strict=True))
    near = view(frame.panel, "y", within=(x[0], x[1]))
    y = tuple(own if own is not None else all_ for own, all_ in zip(inset.y, near, strict=True))
    width, height = (share * (d[1] - d[0]) for share, d in zip(inset.size, (x_domain, y_domain), strict=True))
    pad_x, pad_y = 0.07 * (x_domain[1] - x_domain[0]), 0.05 * (y_domain[1] - y_domain[0])
    left = x_domain[0] + pad_x if "left" in inset.corner else x_domain[1] - width - 0.3 * pad_x
    left = (sum(x_domain) - width) / 2 if "centre" in inset.corner else left
    bottom = y_domain[0] + 2 * pad_y if "lower" in inset.corner else y_domain[1] - height - pad_y
    refs = {"x": page.axis("x"), "y": page.axis("y")}
    shown = {"x": (x[0], x[1]), "y": (y[0], y[1])}
    marks = tuple(mark for mark in frame.panel.marks if mark.side == "left")
    inside = Frame(frame.panel.replace(marks=marks, inset=None), page.colours, refs, shown, page.named, close_up=True)
    for name, domain, axis in (
        ("x", [left, left + width], frame.panel.x),
        ("y", [bottom, bottom + height], frame.panel.y),
    ):
        small = axis_layout(axis.replace(label="", unit=""), shown[name]) | {"domain": domain}
        small |= {"title": {"text": ""}, "tickfont": {"size": 10}, "nticks": 4, "mirror": True, "automargin": False}
        page.layout[long_name(refs[name])] = small | {"anchor": refs["y" if name == "x" else "x"], "ticklen": 2}
    _draw(page, inside)
    corners = (frame.put_all(shown, "x"), frame.put_all(shown, "y"))
    zoom: dict[str, Any] = {"type": "rect", "xref": frame.refs["x"], "yref": frame.refs["y"], "layer": "above"}
    zoom |= {"x0": corners[0][0], "x1": corners[0][1], "y0": corners[1][0], "y1": corners[1][1]}
    page.shapes.append(zoom | {"line": {"color": MUTED, "width": 1, "dash": "dot"}})
    if inset.title:
        title = {"text": words(inset.title), "xref": "paper", "yref": "paper", "showarrow": False, "font": {"size": 11}}
        page.annotations.append(title | {"x": left + width / 2, "y": bottom + height, "yanchor": "bottom"})


def _colour_bars(page: _Page) -> bool:
    """The colour axes and their bars; whether the right of the figure is taken by one."""
    figure, taken = page.figure, False
    for place, (scale, ends) in enumerate(page.colours.limits):
        users = [i for i, panel in enumerate(figure.panels) if scale in panel.colour_scales()]
        low, high = forward(scale, np.array(ends)).tolist()
        found: dict[str, Any] = {"cmin": low, "cmax": high, "colorscale": fields.colour_stops(scale)}
        found["showscale"] = scale.bar
        if scale.bar:
            values, said = page.colours.ticks(scale, 6)
            x_domain, y_domain = page.domains[users[0]]
            alone = len(users) == 1
            second = [s for s in figure.panels[users[0]].colour_scales() if s.bar].index(scale) if alone else 0
            right = 0.075 if alone and figure.panels[users[0]].right is not None else 0.012
            bar: dict[str, Any] = {"x": (x_domain[1] if alone else 1.0) + right + 0.1 * second, "xanchor": "left"}
            y = y_domain if alone else [0.0, 1.0]
            bar |= {"y": sum(y) / 2, "yanchor": "middle", "len": y[1] - y[0], "thickness": 14, "outlinewidth": 0}
            bar |= {"title": {"text": words(scale.title), "side": "right", "font": {"size": 12}}, "ticks": "outside"}
            bar |= {"tickvals": forward(scale, values).tolist(), "ticktext": said, "tickfont": {"size": 11}}
            found["colorbar"] = bar
            taken = True
        page.layout["coloraxis" if place == 0 else f"coloraxis{place + 1}"] = found
    return taken


def _legend(page: _Page, *, beneath: bool) -> None:
    figure = page.figure
    page.layout.pop("_first", None)
    shown = [part for part in (*page.data, *page.shapes) if part.get("showlegend")]
    page.layout["showlegend"] = bool(shown) and figure.legend != "none"
    above = 60 if any(panel.title for panel in figure.panels) else 32  # room for the buttons that appear on hovering
    below = 12 if all(panel.spatial for panel in figure.panels) else 56  # ticks and title of the x axis
    page.layout["margin"] = {"l": 64, "r": 20, "t": above, "b": below}
    if not page.layout["showlegend"]:
        return
    widest = max(len(part["name"]) for part in shown)
    height = figure.grid[0] * figure.inches[1] * 92
    if beneath or figure.legend == "panel" or widest > 34:
        lines = -(-len(shown) // max(1, int(page.width / (7 * widest + 50))))
        more = 24 * lines + 20 + 20 * (figure.legend == "panel")
        place = {"orientation": "h", "x": 0, "xanchor": "left", "y": (2 - below) / height, "yanchor": "top"}
        page.layout |= {"legend": place, "_more": more}
        page.layout["margin"]["b"] += more
    else:
        right = 1.1 if any(panel.right is not None for panel in figure.panels) else 1.02
        page.layout["legend"] = {"x": right, "xanchor": "left", "y": 1, "yanchor": "top"}
    page.layout["legend"] |= {
        "font": {"size": 12},
        "bgcolor": "rgba(0,0,0,0)",
        "tracegroupgap": 2,
        "itemsizing": "constant",
    }
    page.layout["legend"]["groupclick"] = "toggleitem" if figure.legend == "panel" else "togglegroup"

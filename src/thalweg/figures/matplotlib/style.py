"""The look: sizes, strokes, axes and their ticks."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axis import Axis as Ruler
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.ticker import FixedFormatter, FixedLocator, NullFormatter, NullLocator

from thalweg.figures.palette import EMPTY, GRID, INK, MUTED, anchors
from thalweg.figures.rulers import ticks
from thalweg.figures.scales import Axis, ColourScale, Scale, forward, inverse

__all__ = ["DASHES", "RC", "SYMBOLS", "colormap", "dress", "mark_ticks"]

DASHES = {"solid": "-", "dashed": (0, (5, 2)), "dotted": (0, (1, 1.6)), "dashdot": (0, (6, 2, 1, 2))}
SYMBOLS = {
    "circle": "o", "square": "s", "triangle": "^", "diamond": "D", "cross": "X", "plus": "P", "triangle-down": "v",
    "star": "*",
}  # fmt: skip

RC = {
    "font.family": ["DejaVu Sans"],  # ships with matplotlib: the same everywhere
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 6.0,
    "axes.labelsize": 9.0,
    "axes.labelpad": 3.0,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.7,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "text.color": INK,
    "text.parse_math": False,  # labels are plain words: a dollar sign is a dollar sign
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "xtick.minor.size": 1.8,
    "ytick.minor.size": 1.8,
    "legend.fontsize": 8.0,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "legend.borderaxespad": 0.0,
    "figure.titlesize": 11.0,
    "figure.titleweight": "bold",
    "lines.solid_capstyle": "round",
    "lines.dash_capstyle": "butt",
    "path.simplify": True,
    "svg.fonttype": "none",
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.06,
    "figure.constrained_layout.h_pad": 0.06,
}


def colormap(scale: ColourScale) -> Colormap:
    """The palette of a scale, with a grey for values that are missing."""
    found = LinearSegmentedColormap.from_list("values", list(anchors(scale)), N=512)
    return found.with_extremes(bad=EMPTY)


class _Fixed(FixedLocator):
    """Ticks at given places, on an interval that is never widened: matplotlib takes very small numbers for zero."""

    def nonsingular(self, v0: float, v1: float) -> tuple[float, float]:
        """The interval as it is: the figure has made sure that it is one."""
        return v0, v1


def dress(
    axes: Any, which: str, axis: Axis, view: tuple[float, float], *, label: bool = True, value: float | None = None
) -> None:
    """Scale, limits, ticks and title of one axis (``which`` is x, y or right); ``value`` as for ``mark_ticks``."""
    x = which == "x"
    if axis.scale == "log":
        (axes.set_xscale if x else axes.set_yscale)("log")
    elif axis.scale != "linear":
        functions = partial(forward, axis), partial(inverse, axis)
        (axes.set_xscale if x else axes.set_yscale)("function", functions=functions)
    if label:
        (axes.set_xlabel if x else axes.set_ylabel)(axis.title)
    size = axes.get_window_extent().width if x else axes.get_window_extent().height
    # About one tick in 50 points along x, where words are wide, and in 28 along y.
    count = int(np.clip(size / axes.get_figure(root=True).dpi * 72 / (52 if x else 32), 3, 9))
    mark_ticks(axes.xaxis if x else axes.yaxis, axis, view, count, value=value)
    (axes.set_xlim if x else axes.set_ylim)(view)  # after the ticks, whose places keep the limits as they are


def mark_ticks(
    ruler: Ruler, axis: Scale, view: tuple[float, float], count: int, *, drawn: bool = False, value: float | None = None
) -> None:
    """Put the ticks of a scale on an axis.

    Args:
        ruler: Matplotlib's axis.
        axis: The scale.
        view: Lowest and highest value shown.
        count: About how many.
        drawn: The axis has drawn coordinates (see ``forward``) instead of values.
        value: The only value that is drawn, which has a tick.
    """
    named = axis.ticks if isinstance(axis, Axis) else ()
    if named:
        places, words = np.array([place for place, _ in named]), [word for _, word in named]
    else:
        places, words = ticks(axis, *view, count, value=value)
    ruler.set_major_locator(_Fixed((forward(axis, places) if drawn else places).tolist()))
    ruler.set_major_formatter(FixedFormatter(words))
    ruler.set_minor_formatter(NullFormatter())
    if axis.scale == "log" and not named and not drawn:
        decades = range(math.floor(math.log10(view[0])), math.ceil(math.log10(view[1])))
        steps = range(2, 10) if len(decades) <= 8 else (1,)
        thinned = decades[:: 1 + len(decades) // 40]  # more would be one thick line
        minor = [float(f"{m}e{d}") for d in thinned for m in steps]
        minor = [m for m in minor if view[0] <= m <= view[1] and not np.isclose(places, m, atol=0).any()]
        ruler.set_minor_locator(_Fixed(minor))
    else:
        ruler.set_minor_locator(NullLocator())

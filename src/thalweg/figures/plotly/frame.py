"""What the trace-making functions share: the panel's axes in plotly's names, and how numbers and words are written."""

from __future__ import annotations

import base64
import dataclasses
import functools
import html
from typing import Any

import numpy as np

from thalweg.figures.figure import Panel
from thalweg.figures.mark import Mark
from thalweg.figures.palette import Colours
from thalweg.figures.reading import axis_of
from thalweg.figures.scales import Axis, forward

__all__ = ["DASHES", "SYMBOLS", "Frame", "numbers", "rgba", "traces", "words"]

DASHES = {"solid": "solid", "dashed": "dash", "dotted": "dot", "dashdot": "dashdot"}
SYMBOLS = {
    "circle": "circle", "square": "square", "triangle": "triangle-up", "diamond": "diamond", "cross": "x",
    "plus": "cross", "triangle-down": "triangle-down", "star": "star",
}  # fmt: skip


def numbers(values: np.ndarray, *, coarse: bool = False) -> dict[str, Any]:
    """An array as plotly.js reads it: base64 of little-endian numbers, with the shape if it has several axes.

    Numbers are written in single precision, half as long, where that moves none of them by a millionth of their range.

    Args:
        values: The numbers.
        coarse: Single precision is enough for what is drawn in any case (if the numbers fit into it), and 18 bits of
            each: five digits, and a hundredth of a pixel. The rest are zeros, which take no room when packed.

    >>> numbers(np.array([1.0, 2.0]))
    {'dtype': 'f4', 'bdata': 'AACAPwAAAEA='}
    >>> numbers(np.array([1.0, 1.0 + 1e-9]))["dtype"]
    'f8'
    """
    kind = "f4" if values.dtype == np.float32 or _fits(values, coarse) else "f8"  # plotly.js has no 64-bit integers
    if coarse and kind == "f4":
        values = _shortened(values)
    data: dict[str, Any] = {"dtype": kind, "bdata": base64.b64encode(values.astype(f"<{kind}").tobytes()).decode()}
    return data if values.ndim == 1 else data | {"shape": ", ".join(map(str, values.shape))}


def _shortened(values: np.ndarray) -> np.ndarray:
    """Every number to 18 bits of itself, or of the range of all if that is less: right on linear and on log axes.

    >>> _shortened(np.array([0.0, 1 / 3, 1.0, np.nan])).tolist()
    [0.0, 0.33333396911621094, 1.0, nan]
    """
    finite = values[np.isfinite(values)].astype(np.float64)
    span = np.ptp(finite) if finite.size else 0.0
    if span == 0:
        return values
    sizes = np.abs(values.astype(np.float64))
    least = np.minimum(np.where(np.isfinite(sizes) & (sizes > 0), sizes, span), span)
    steps = np.exp2(np.floor(np.log2(least)) - 17)
    with np.errstate(invalid="ignore"):
        return np.rint(values / steps) * steps


def _fits(values: np.ndarray, coarse: bool) -> bool:
    """Whether single precision keeps the numbers, as far as a figure can show."""
    finite = values[np.isfinite(values)].astype(np.float64)
    sizes = np.abs(finite[finite != 0])
    if sizes.size and not (sizes.min() > 1e-30 and sizes.max() < 1e30):
        return False
    return coarse or not sizes.size or bool(np.abs(finite.astype(np.float32) - finite).max() <= 1e-6 * np.ptp(finite))


def words(text: str) -> str:
    """Plain words for plotly, which would otherwise read tags and entities in them."""
    return html.escape(text, quote=False).replace("\n", "<br>")


def rgba(colour: str, opacity: float) -> str:
    """A colour with an opacity.

    >>> rgba("#ff0000", 0.5)
    'rgba(255,0,0,0.5)'
    """
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"


@dataclasses.dataclass(frozen=True)
class Frame:
    """Where a panel, or its inset, is drawn.

    Attributes:
        panel: Its data.
        colours: The figure's colours.
        refs: Plotly's names of the axes: keys x, y, right, scene.
        view: Lowest and highest value of x, y and right.
        named: Labels that have a legend entry already.
        legend_group: Title of this panel's own part of the legend; none if empty.
        close_up: Drawn in an inset: no words, no legend entries.
    """

    panel: Panel
    colours: Colours
    refs: dict[str, str]
    view: dict[str, tuple[float, float]]
    named: set[str]
    legend_group: str = ""
    close_up: bool = False

    def axis(self, mark: Mark, which: str) -> Axis:
        """The axis of a mark called x, y or z."""
        return axis_of(self.panel, "right" if which == "y" and mark.side == "right" else which)

    def put(self, mark: Mark, which: str, values: np.ndarray) -> np.ndarray:
        """Values as plotly's coordinates: as they are on linear and log axes, else drawn coordinates."""
        axis = self.axis(mark, which)
        return values if self.native(axis) else forward(axis, values)

    def put_all(self, shown: dict[str, tuple[float, float]], which: str) -> list[float]:
        """The ends of a left axis in plotly's coordinates."""
        axis = axis_of(self.panel, which)
        return list(shown[which]) if self.native(axis) else forward(axis, np.array(shown[which])).tolist()

    def floor(self, mark: Mark, which: str = "y") -> float:
        """Where areas and bars begin: at 0, or at the lower end of a log axis."""
        side = "right" if which == "y" and mark.side == "right" else which
        return max(0.0, self.view[side][0]) if self.axis(mark, which).scale == "log" else 0.0

    def home(self, mark: Mark) -> dict[str, str]:
        """The axes of a mark's traces."""
        if self.panel.spatial:
            return {"scene": self.refs["scene"]}
        return {"xaxis": self.refs["x"], "yaxis": self.refs["right" if mark.side == "right" else "y"]}

    def entry(self, label: str, key: str = "") -> dict[str, Any]:
        """The legend's part of a trace: its name and group, shown once for every label."""
        key = key or label
        known = f"{self.legend_group}\n{label}"
        shown = bool(label) and not self.close_up and known not in self.named
        if shown:
            self.named.add(known)
        found: dict[str, Any] = {"name": words(label), "showlegend": shown}
        if key:
            found["legendgroup"] = self.legend_group or key
        if shown and self.legend_group:
            found["legendgrouptitle"] = {"text": words(self.legend_group)}
        return found

    def colour_axis(self, mark: Mark) -> str:
        """Plotly's name of the colour axis of a shaded mark."""
        place = next(i for i, (scale, _) in enumerate(self.colours.limits) if mark.shaded and scale == mark.shaded[0])
        return "coloraxis" if place == 0 else f"coloraxis{place + 1}"

    def line(self, mark: Mark, width: float, key: str | None = None) -> dict[str, Any]:
        """Colour, dash and width of a line; a point of print is 1.3 pixels."""
        dash = DASHES[self.colours.style(mark, key)]
        return {"color": self.colours.of(mark, key), "width": round(1.3 * width, 2), "dash": dash}

    def native(self, axis: Axis) -> bool:
        """Whether plotly has the scale itself."""
        return axis.scale == "linear" or (axis.scale == "log" and not self.panel.spatial)

    def cursor(self, mark: Mark, *originals: np.ndarray) -> dict[str, Any]:
        """What the cursor shows at a point: the label and the values of x, y (z), never drawn coordinates."""
        names = ("x", "y", "z")[: len(originals)]
        rows, carried = [], []  # only those that plotly draws elsewhere go along
        for name, original in zip(names, originals, strict=True):
            axis = self.axis(mark, name)
            title = words(axis.label or name) + (f" ({words(axis.unit)})" if axis.unit else "")
            if self.native(axis):
                rows.append(f"{title}: %{{{name}:.5g}}")
            else:
                rows.append(f"{title}: %{{customdata[{len(carried)}]:.5g}}")
                carried.append(np.asarray(original, dtype=np.float64))
        head = f"<b>{words(mark.label)}</b><br>" if mark.label else ""
        found: dict[str, Any] = {"hovertemplate": f"{head}{'<br>'.join(rows)}<extra></extra>"}
        if carried:
            found["customdata"] = numbers(np.stack(carried, axis=-1), coarse=True)  # five digits are shown
        return found


@functools.singledispatch
def traces(mark: Mark, frame: Frame) -> list[dict[str, Any]]:
    """Plotly's traces of one mark; the modules beside this one know how."""
    raise NotImplementedError(type(mark).__name__)

"""Colours, the same in print and in the browser.

Categories take the colours of Okabe & Ito (2008), which people with any common colour blindness tell apart; from the
ninth on they repeat with another dash and symbol. Values take viridis or cividis, signed ones a blue–white–red palette.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

from thalweg.figures.figure import Figure
from thalweg.figures.guides import Arrows, HLine, Span, Text, VLine
from thalweg.figures.mark import STYLES, SYMBOLS, Mark
from thalweg.figures.marks import Scatter
from thalweg.figures.rulers import one_value, ticks
from thalweg.figures.scales import ColourScale, drawn_limits, forward, placed
from thalweg.figures.spatial import Scatter3D

__all__ = ["ANCHORS", "Colours", "colours_of", "mixed", "shades", "shares"]

CATEGORIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#222222", "#999999")
INK, MUTED, ACCENT = "#1b2430", "#5c6773", "#c8102e"
GRID, EMPTY, PAPER = "#e3e6ea", "#d5d5d5", "#ffffff"
NAMED = {"ink": INK, "muted": MUTED, "accent": ACCENT}

ANCHORS = {
    "viridis": (
        "#440154", "#48186a", "#472d7b", "#424086", "#3b528b", "#33638d", "#2c728e", "#26828e", "#21918c", "#1fa088",
        "#28ae80", "#3fbc73", "#5ec962", "#84d44b", "#addc30", "#d8e219", "#fde725",
    ),
    "cividis": (
        "#00224e", "#002e6a", "#1a386f", "#32436d", "#434e6c", "#535a6d", "#61656f", "#6f7073", "#7d7c78", "#8c8878",
        "#9b9476", "#aba072", "#bcae6c", "#cdbb63", "#dec958", "#f0d846", "#fee838",
    ),
    "diverging": (
        "#053061", "#175290", "#2a71b2", "#3f8ec0", "#6bacd1", "#9bc9e0", "#c2ddec", "#e0ecf3", "#f7f6f6", "#fbe5d8",
        "#fbccb4", "#f5aa89", "#e48066", "#d05548", "#ba2832", "#930e26", "#67001f",
    ),
}  # fmt: skip
"""Evenly spaced colours of each palette; between them both renderers interpolate."""

BEYOND = 1e6
"""How far outside the ends of a scale, in its lengths, a value is told from another: farther, level lines overflow."""


def anchors(scale: ColourScale) -> tuple[str, ...]:
    """The palette of a scale, lowest value first."""
    found = ANCHORS[scale.palette]
    return found[::-1] if scale.reverse else found


def shares(scale: ColourScale, limits: tuple[float, float], values: np.ndarray) -> np.ndarray:
    """Where values lie between the ends of a scale, from 0 to 1; NaN where a value is not finite or has no place.

    >>> shares(ColourScale(), (0.0, 10.0), np.array([5.0, 20.0, np.inf])).tolist()
    [0.5, 2.0, nan]
    """
    low, high = forward(scale, np.array(limits)).tolist()
    with np.errstate(over="ignore", invalid="ignore"):
        found = (forward(scale, values) - low) / (high - low)
    return np.where(np.isfinite(values), np.clip(found, -BEYOND, BEYOND), np.nan)


def shades(scale: ColourScale, limits: tuple[float, float], values: np.ndarray) -> list[str]:
    """The colour of each value; what is beyond the limits has the colour of the end, NaN and infinity have a grey.

    >>> shades(ColourScale(palette="diverging"), (-1.0, 1.0), np.array([-5.0, 0.0, float("nan"), float("inf")]))
    ['#053061', '#f7f6f6', '#d5d5d5', '#d5d5d5']
    """
    share = np.clip(shares(scale, limits, values), 0, 1)
    stops = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in anchors(scale)], dtype=float)
    place = np.linspace(0, 1, len(stops))
    channels = np.stack([np.interp(np.nan_to_num(share), place, stops[:, i]) for i in range(3)], axis=-1)
    return [
        EMPTY if np.isnan(s) else "#{:02x}{:02x}{:02x}".format(*rgb)
        for s, rgb in zip(np.ravel(share), np.rint(channels).astype(int).reshape(-1, 3).tolist(), strict=True)
    ]


def mixed(colour: str, other: str, share: float) -> str:
    """A colour moved towards another by a share.

    >>> mixed("#000000", "#ffffff", 0.2)
    '#333333'
    """
    pairs = [(int(colour[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


@dataclasses.dataclass(frozen=True)
class Colours:
    """Who has which colour in one figure.

    Attributes:
        slots: Palette slot of every label, group and category.
        symbols: Symbol of every word in a ``markers`` field.
        limits: What the ends of each colour scale stand for; equal scales share them over the whole figure.
        values: All numbers that are drawn with each scale.
    """

    slots: Mapping[str, int]
    symbols: Mapping[str, str]
    limits: tuple[tuple[ColourScale, tuple[float, float]], ...]
    values: tuple[np.ndarray, ...] = ()

    def of(self, mark: Mark, key: str | None = None) -> str:
        """The colour of a mark, or of one of its categories."""
        if key is None and isinstance(mark.colour, str):
            return NAMED.get(mark.colour, mark.colour.lower())
        if key is None and isinstance(mark.colour, int):
            return CATEGORIES[mark.colour % len(CATEGORIES)]
        key = mark.key if key is None else key
        explains = isinstance(mark, HLine | VLine | Span | Text | Arrows) and not key
        if explains or key not in self.slots:
            return INK if isinstance(mark, Text) else MUTED
        return CATEGORIES[self.slots[key] % len(CATEGORIES)]

    def style(self, mark: Mark, key: str | None = None) -> str:
        """The dash of a line: its own, moved on where the colours start again."""
        own = getattr(mark, "style", "solid")
        round_ = self.slots.get(mark.key if key is None else key, 0) // len(CATEGORIES)
        return STYLES[(STYLES.index(own) + round_) % len(STYLES)]

    def symbol(self, word: str, default: str) -> str:
        """The symbol of a word of a ``markers`` field."""
        return self.symbols.get(word, default)

    def ends(self, scale: ColourScale) -> tuple[float, float]:
        """The limits of a colour scale."""
        return next(limits for known, limits in self.limits if known == scale)

    def ticks(self, scale: ColourScale, count: int) -> tuple[np.ndarray, list[str]]:
        """Ticks of a colour bar: a single value has its own, and where no number is drawn there are none."""
        values = self._placed(scale)
        if not values.size:
            return np.zeros(0), []
        return ticks(scale, *self.ends(scale), count, value=one_value(scale, values))

    def beyond(self, scale: ColourScale) -> tuple[bool, bool]:
        """Whether numbers with a colour lie below, and above, the ends of a scale."""
        values = self._placed(scale)
        low, high = self.ends(scale)
        return bool((values < low).any()), bool((values > high).any())

    def _placed(self, scale: ColourScale) -> np.ndarray:
        """The numbers that have a colour on a scale."""
        own = zip(self.limits, self.values, strict=True)
        return placed(scale, *(values for (known, _), values in own if known == scale))


def colours_of(figure: Figure) -> Colours:
    """Assign colours in the order of appearance, panel by panel."""
    marks = [mark for panel in figure.panels for mark in panel.marks]
    keys = dict.fromkeys(key for mark in marks for key in _keys(mark))
    words = dict.fromkeys(word for mark in marks if isinstance(mark, Scatter | Scatter3D) for word in mark.markers)
    symbols = {word: SYMBOLS[i % len(SYMBOLS)] for i, word in enumerate(words)}
    scales: list[ColourScale] = []
    for panel in figure.panels:
        scales += [scale for scale in panel.colour_scales() if scale not in scales]
    shaded = [mark.shaded for mark in marks if mark.shaded]
    values = tuple(np.concatenate([v.ravel() for s, v in shaded if s == scale]) for scale in scales)
    limits = tuple((scale, drawn_limits(scale, own)) for scale, own in zip(scales, values, strict=True))
    return Colours({key: slot for slot, key in enumerate(keys)}, symbols, limits, values)


def _keys(mark: Mark) -> Iterable[str]:
    """What of a mark asks for a colour of its own."""
    if isinstance(mark, Scatter | Scatter3D) and mark.categories:
        return mark.categories
    annotation = isinstance(mark, HLine | VLine | Span | Text | Arrows) and not mark.key
    return () if annotation or mark.shaded or mark.colour is not None else (mark.key,)

"""Axes and colour scales: what they say, how they map numbers, and which interval they show.

Both renderers use these functions and those of ``rulers``, so that a tick, a level and a colour mean the same on paper
and in the browser. With u the drawn coordinate of a value v:

========  =======================================  ==================================================
linear    u = v
log       u = log₁₀ v                              values ≤ 0 have no place and are not drawn
symlog    u = sign(v) · log₁₀(1 + abs(v)/within)   about linear within ± ``within``, logarithmic outside
power     u = sign(v) · abs(v)^power               power < 1 spreads the small values
========  =======================================  ==================================================
"""

from __future__ import annotations

import dataclasses
import math
import sys

import numpy as np

from thalweg.figures.record import Record

__all__ = [
    "Axis",
    "ColourScale",
    "Scale",
    "drawable",
    "drawn_limits",
    "forward",
    "inverse",
    "number",
    "placed",
    "power_of_ten",
    "same",
]

SCALES = ("linear", "log", "symlog", "power")
PALETTES = ("viridis", "cividis", "diverging")
SAME = 1e-12
"""Share of their size by which values must differ to be told apart in a picture: six digits of it are rounding."""
LEAST, MOST = 1e-303, 4e306
"""Shortest length and greatest end of an axis: their reciprocals are numbers too."""
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Scale(Record):
    """How numbers become places or colours, and the words for it.

    Attributes:
        label: The quantity, as in "training loss".
        unit: Its unit; dimensionless if empty.
        scale: ``"linear"``, ``"log"``, ``"symlog"`` or ``"power"``; anything but linear is said in the title.
        limits: Lowest and highest value shown; ``None`` for what the data need.
        within: The half-width of the linear part of a symlog scale, which must be chosen.
        power: The exponent of a power scale.
    """

    label: str = ""
    unit: str = ""
    scale: str = "linear"
    limits: tuple[float | None, float | None] = dataclasses.field(default=(None, None), kw_only=True)
    within: float | None = dataclasses.field(default=None, kw_only=True)
    power: float = dataclasses.field(default=0.5, kw_only=True)

    def _check(self) -> None:
        if self.scale not in SCALES:
            raise self._refuse("scale", f"must be one of {', '.join(SCALES)}, found {self.scale!r}")
        if self.scale == "symlog" and not (self.within or 0) > 0:
            raise self._refuse("within", f"must be a positive number for a symlog scale, found {self.within}")
        if not self.power > 0:
            raise self._refuse("power", f"must be positive, found {self.power}")
        if len(self.limits) != 2:
            raise self._refuse("limits", f"must be a lowest and a highest value, found {self.limits}")
        low, high = self.limits
        if low is not None and high is not None and not low < high:
            raise self._refuse("limits", f"must ascend, found {self.limits}")
        if self.scale == "log" and any(limit is not None and limit <= 0 for limit in self.limits):
            raise self._refuse("limits", f"must be positive on a log scale, found {self.limits}")

    @property
    def title(self) -> str:
        """The label with unit and scale.

        >>> Axis("gradient norm", "1/step", "log").title
        'gradient norm (1/step, log scale)'
        """
        words = {
            "linear": "",
            "log": "log scale",
            "symlog": f"symlog scale, linear within ±{number(self.within or 0)}",
            "power": f"power scale, exponent {self.power:g}",
        }[self.scale]
        inside = ", ".join(word for word in (self.unit, words) if word)
        return f"{self.label} ({inside})" if inside and self.label else self.label or inside


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Axis(Scale):
    """One axis of a panel.

    Attributes:
        ticks: Pairs (place, word) instead of automatic ticks, for named positions.
    """

    ticks: tuple[tuple[float, str], ...] = dataclasses.field(default=(), kw_only=True)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ColourScale(Scale):
    """How numbers become colours; drawn as a colour bar beside the panel.

    Attributes:
        palette: ``"viridis"``, ``"cividis"`` (both colour-blind safe) or ``"diverging"`` (blue, white, red), for signed
            numbers: white is ``centre``, and both arms have the same length.
        centre: The white of the diverging palette.
        reverse: Swap the ends of the palette.
        bar: Draw the colour bar.
    """

    palette: str = dataclasses.field(default="viridis", kw_only=True)
    centre: float = dataclasses.field(default=0.0, kw_only=True)
    reverse: bool = dataclasses.field(default=False, kw_only=True)
    bar: bool = dataclasses.field(default=True, kw_only=True)

    def _check(self) -> None:
        super()._check()
        if self.palette not in PALETTES:
            raise self._refuse("palette", f"must be one of {', '.join(PALETTES)}, found {self.palette!r}")
        if self.palette == "diverging" and self.scale == "log":
            raise self._refuse("palette", "cannot be diverging on a log scale: take symlog")


def forward(scale: Scale, values: np.ndarray | float) -> np.ndarray:
    """The drawn coordinates u of values; NaN where a value has no place, ±inf where it is infinite.

    >>> forward(Axis(scale="log"), np.array([0.01, 0.0])).tolist()
    [-2.0, nan]
    """
    v = np.asarray(values, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        if scale.scale == "log":
            return np.where(v > 0, np.log10(np.where(v > 0, v, 1.0)), np.nan)
        if scale.scale == "symlog":
            within = scale.within or 1.0
            share = np.abs(v) / within
            far = np.log10(np.abs(v)) - math.log10(within)  # where the share is too large for a number
            return np.sign(v) * np.where(np.isinf(share), far, np.log1p(share) / math.log(10))
        if scale.scale == "power":
            return np.sign(v) * np.abs(v) ** scale.power
    return v


def inverse(scale: Scale, places: np.ndarray | float) -> np.ndarray:
    """The values at drawn coordinates; undoes ``forward``."""
    u = np.asarray(places, dtype=np.float64)
    with np.errstate(over="ignore", under="ignore"):
        if scale.scale == "log":
            return 10.0**u
        if scale.scale == "symlog":
            return np.sign(u) * np.expm1(np.abs(u) * math.log(10)) * (scale.within or 1.0)
        if scale.scale == "power":
            return np.sign(u) * np.abs(u) ** (1 / scale.power)
    return u


def same(scale: Scale, low: float, high: float) -> bool:
    """Whether two values lie at one place of a picture: equal, or nearer to each other than drawing can tell apart.

    >>> same(Axis(), 1.0, 1.0 + 1e-15), same(Axis(), 0.0, 1e-200), same(Axis(scale="log"), 1e-320, 1e-310)
    (True, False, False)
    """
    u_low, u_high = (float(u) for u in forward(scale, np.array([low, high])))
    apart = max(SAME * max(abs(u_low), abs(u_high)), LEAST) < u_high - u_low
    return not (apart and high - low > SAME * max(abs(low), abs(high)))


def placed(scale: Scale, *arrays: np.ndarray) -> np.ndarray:
    """All values of some arrays, flat, that are finite and have a place on the scale."""
    flat = np.concatenate([np.ravel(np.asarray(a, dtype=np.float64)) for a in arrays]) if arrays else np.zeros(0)
    return flat[np.isfinite(flat) & np.isfinite(forward(scale, flat))]


def drawn_limits(scale: Scale, *arrays: np.ndarray) -> tuple[float, float]:
    """Lowest and highest value to draw: the scale's own limits, else those of the finite data that have a place.

    A diverging colour scale is made symmetrical about its centre; ends at one place (see :func:`same`) are moved apart,
    so that an interval always results, of numbers that can be drawn.
    """
    flat = placed(scale, *arrays)
    low, high = (float(flat.min()), float(flat.max())) if flat.size else (0.1, 1.0)
    if isinstance(scale, ColourScale) and scale.palette == "diverging":
        arm = max(abs(low - scale.centre), abs(high - scale.centre)) or 1.0
        low, high = scale.centre - arm, scale.centre + arm
    low, high = (given if given is not None else found for given, found in zip(scale.limits, (low, high), strict=True))
    low, high = drawable(scale, float(low)), drawable(scale, float(high))
    return (low, high) if not same(scale, low, high) else _apart(scale, low, high)


def drawable(scale: Scale, value: float) -> float:
    """The nearest number to an end of an axis that the axis can have, since its length must be a number as well."""
    if scale.scale == "log":
        return min(max(value, 5e-324), sys.float_info.max)
    return min(max(value, -MOST), MOST)


def _apart(scale: Scale, low: float, high: float) -> tuple[float, float]:
    """An interval around one place, which keeps the end that is given."""
    fixed = [limit is not None for limit in scale.limits]
    if fixed == [False, True]:
        low = high
    if scale.scale == "log":
        factor = 1.05 if low > 1e-300 else 4.0  # of the smallest numbers there is none 5 % further
        below, above = low / factor, low * factor
    else:
        gap = 0.05 * abs(low)
        gap = gap if not same(scale, low - gap, low + gap) else 0.05
        below, above = low - gap, low + gap
    below, above = drawable(scale, below), drawable(scale, above)
    if same(scale, below, above):  # at the very end of the numbers
        below, above = drawable(scale, 0.9 * below), drawable(scale, above)
    return (low if fixed == [True, False] else below), (low if fixed == [False, True] else above)


def power_of_ten(value: float, digits: int = 2) -> str:
    """A number in powers of ten, with at most so many digits after the point.

    >>> power_of_ten(0.001), power_of_ten(-300.0), power_of_ten(1.0)
    ('10⁻³', '−3×10²', '10⁰')
    """
    mantissa, exponent = f"{value:.{digits}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    power = "10" + str(int(exponent)).translate(_SUPERSCRIPTS)
    text = {"1": power, "-1": "-" + power}.get(mantissa, f"{mantissa}×{power}")
    return text.replace("-", "−")


def number(value: float, digits: int = 3) -> str:
    """A number as a person writes it on an axis, with at least three significant digits if it has them.

    >>> number(1e-4), number(-0.25), number(2.5e-7), number(20000), number(float("nan"))
    ('10⁻⁴', '−0.25', '2.5×10⁻⁷', '20,000', 'nan')
    >>> number(999.9), number(1000.0625, 6), number(1e9 + 0.5, 11)
    ('1,000', '1,000.06', '1.0000000005×10⁹')
    """
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value).replace("-", "−")
    if 1e-3 <= abs(value) < 1e6:
        large = abs(float(f"{value:.{digits}g}")) >= 1000
        text = f"{value:,.{max(0, digits - len(str(int(abs(value)))))}f}" if large else f"{value:,.{digits}g}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return text.replace("-", "−")
    return power_of_ten(value, digits - 1)

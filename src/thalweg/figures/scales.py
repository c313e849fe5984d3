"""Axes and colour scales: what they say, how they map numbers, where their ticks and levels lie.

Both renderers use these functions, so that a tick, a level and a colour mean the same on paper and in the browser. With
u the drawn coordinate of a value v:

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

import numpy as np

from thalweg.figures.record import Record

__all__ = [
    "Axis",
    "ColourScale",
    "Scale",
    "forward",
    "inverse",
    "levels",
    "number",
    "power_of_ten",
    "ticks",
    "drawn_limits",
]

SCALES = ("linear", "log", "symlog", "power")
PALETTES = ("viridis", "cividis", "diverging")
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
    with np.errstate(divide="ignore", invalid="ignore"):
        if scale.scale == "log":
            return np.where(v > 0, np.log10(np.where(v > 0, v, 1.0)), np.nan)
        if scale.scale == "symlog":
            return np.sign(v) * np.log10(1 + np.abs(v) / scale.within)
        if scale.scale == "power":
            return np.sign(v) * np.abs(v) ** scale.power
    return v


def inverse(scale: Scale, places: np.ndarray | float) -> np.ndarray:
    """The values at drawn coordinates; undoes ``forward``."""
    u = np.asarray(places, dtype=np.float64)
    if scale.scale == "log":
        return 10.0**u
    if scale.scale == "symlog":
        return np.sign(u) * (10.0 ** np.abs(u) - 1) * (scale.within or 1.0)
    if scale.scale == "power":
        return np.sign(u) * np.abs(u) ** (1 / scale.power)
    return u


def drawn_limits(scale: Scale, *arrays: np.ndarray) -> tuple[float, float]:
    """Lowest and highest value to draw: the scale's own limits, else those of the finite data that have a place.

    A diverging colour scale is made symmetrical about its centre; equal ends are moved apart, so that an interval
    always results.
    """
    flat = np.concatenate([np.ravel(np.asarray(a, dtype=np.float64)) for a in arrays]) if arrays else np.zeros(0)
    flat = flat[np.isfinite(flat) & np.isfinite(forward(scale, flat))]
    low, high = (float(flat.min()), float(flat.max())) if flat.size else (0.1, 1.0)
    if isinstance(scale, ColourScale) and scale.palette == "diverging":
        arm = max(abs(low - scale.centre), abs(high - scale.centre)) or 1.0
        low, high = scale.centre - arm, scale.centre + arm
    low, high = (given if given is not None else found for given, found in zip(scale.limits, (low, high), strict=True))
    if not low < high:
        gap = 0.05 * abs(low) or 0.05
        low, high = (low / 1.05, low * 1.05) if scale.scale == "log" else (low - gap, low + gap)
    return float(low), float(high)


def levels(scale: Scale, low: float, high: float, count: int = 12) -> np.ndarray:
    """About ``count`` round levels strictly inside [low, high], even on the scale.

    >>> levels(Axis(scale="log"), 1e-3, 1.0, count=4).tolist()
    [0.01, 0.1]
    >>> levels(Axis(), 0.0, 1.0, count=4).tolist()
    [0.25, 0.5, 0.75]
    """
    if scale.scale == "log":
        found = _decades(low, high, count)
    elif scale.scale == "linear":
        found = _round_steps(low, high, count)
    else:
        found = _even(scale, low, high, count)
    return found[(found > low) & (found < high)]


def ticks(scale: Scale, low: float, high: float, count: int = 6) -> tuple[np.ndarray, list[str]]:
    """Places and words of about ``count`` ticks within [low, high], ends included if they are round."""
    if scale.scale == "log":
        found = _decades(low, high, count)
    elif scale.scale == "symlog":
        within = scale.within or 1.0
        top = max(abs(low), abs(high))
        powers = _decades(min(within, top), top * 1.0001, max(2, count // 2)) if top > 0 else np.zeros(0)
        found = np.concatenate([-powers[::-1], [0.0], powers])
    elif scale.scale == "power":
        found = _even(scale, low, high, count)
    else:
        found = _round_steps(low, high, count)
    slack = 1e-9 * np.abs(found) + 1e-12 * (high - low)
    found = found[(found >= low - slack) & (found <= high + slack)]
    return found, _words(found, spread=scale.scale in ("log", "symlog"))


def _words(values: np.ndarray, *, spread: bool) -> list[str]:
    """Words for ticks; powers of ten throughout where the ticks spread over more than three of them."""
    sizes = np.abs(values[values != 0])
    if not spread or len(sizes) == 0 or sizes.max() / sizes.min() < 0.9e3:
        return [number(v) for v in values.tolist()]
    return [power_of_ten(v) if v else "0" for v in values.tolist()]


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


def number(value: float) -> str:
    """A number as a person writes it on an axis.

    >>> number(1e-4), number(-0.25), number(2.5e-7), number(20000), number(float("nan"))
    ('10⁻⁴', '−0.25', '2.5×10⁻⁷', '20,000', 'nan')
    """
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value).replace("-", "−")
    if 1e-3 <= abs(value) < 1e6:
        text = f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
        return text.replace("-", "−")
    return power_of_ten(value)


def _decades(low: float, high: float, count: int) -> np.ndarray:
    """Powers of ten within [low, high]; thinned, or filled with 2 and 5, towards ``count``."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    span = math.log10(high / low)
    step = max(1, math.ceil(span / max(count, 1)))
    bases = [1.0] if span > count / 2 else [1.0, 3.0] if span > count / 4 else [1.0, 2.0, 5.0]
    candidates = np.array([base * 10.0**e for e in range(first, last + 1) if e % step == 0 for base in bases])
    inside = candidates[(candidates >= low * (1 - 1e-12)) & (candidates <= high * (1 + 1e-12))]
    return inside if len(inside) >= 2 else _round_steps(low, high, count)


def _round_steps(low: float, high: float, count: int) -> np.ndarray:
    raw = (high - low) / max(count, 1)
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(m * magnitude for m in (1, 2, 2.5, 5, 10) if m * magnitude >= raw * (1 - 1e-9))
    whole = np.arange(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    digits = 1 - math.floor(math.log10(step))
    return np.round(whole * step, digits)


def _even(scale: Scale, low: float, high: float, count: int) -> np.ndarray:
    """Round numbers about evenly spaced on the scale, the simplest first.

    >>> _even(Axis(scale="power"), 0.0, 0.7, 6).tolist()
    [0.0, 0.02, 0.1, 0.2, 0.5, 0.7]
    """
    tens = 10.0 ** np.arange(-9, 1) * 10.0 ** math.floor(math.log10(max(abs(low), abs(high))))
    gap = 0.9 * float(forward(scale, high) - forward(scale, low)) / (count + 1)
    kept: list[float] = []
    for mantissa in (0, 1, 5, 2, 3, 7, 4, 1.5):
        for value in sorted({sign * float(f"{mantissa * ten:.2g}") for ten in tens for sign in (1, -1)}, key=abs)[::-1]:
            place = float(forward(scale, value))
            if low <= value <= high and all(abs(place - float(forward(scale, other))) >= gap for other in kept):
                kept.append(value)
    return np.array(sorted(kept)) if len(kept) > count / 2 else _round_steps(low, high, count)

"""Where the ticks of an axis and the levels of a field lie, and the words at them.

Both are round numbers, evenly spaced on the scale. The words have as many digits as tell the ticks apart: five times
"1,000" would say nothing.
"""

from __future__ import annotations

import math

import numpy as np

from thalweg.figures.scales import MOST, Scale, forward, number, placed, power_of_ten, same

__all__ = ["levels", "one_value", "ticks", "worded"]


def levels(scale: Scale, low: float, high: float, count: int = 12) -> np.ndarray:
    """About ``count`` round levels strictly inside [low, high], even on the scale; none where they are one place.

    >>> from thalweg.figures import Axis
    >>> levels(Axis(scale="log"), 1e-3, 1.0, count=4).tolist()
    [0.01, 0.1]
    >>> levels(Axis(), 0.0, 1.0, count=4).tolist()
    [0.25, 0.5, 0.75]
    """
    if same(scale, low, high):
        return np.zeros(0)
    if scale.scale == "log":
        found = _decades(low, high, count)
    elif scale.scale == "linear":
        found = _round_steps(low, high, count)
    else:
        found = _even(scale, low, high, count)
    return found[(found > low) & (found < high)]


def ticks(
    scale: Scale, low: float, high: float, count: int = 6, *, value: float | None = None
) -> tuple[np.ndarray, list[str]]:
    """Places and words of about ``count`` ticks within [low, high], ends included if they are round.

    Args:
        scale: The scale.
        low: Lower end of what is shown.
        high: Upper end.
        count: About how many.
        value: The only value that is drawn (see :func:`one_value`): it has a tick of its own, in place of those near.
    """
    found = _places(scale, low, high, count)
    with np.errstate(over="ignore"):
        slack = 1e-9 * np.abs(found) + (1e-12 * high - 1e-12 * low)
        found = found[(found >= low - slack) & (found <= high + slack)]
    spread = scale.scale in ("log", "symlog")
    if value is None or not low <= value <= high:
        return found, worded(found, spread=spread)
    u, place = forward(scale, found), float(forward(scale, value))
    least = 0.7 * float(np.diff(u).min()) if len(u) > 1 else np.inf
    places = [(one, word) for one, word, at in zip(found.tolist(), worded(found, spread=spread), u, strict=True)
              if abs(at - place) > least]  # fmt: skip
    places = sorted([*places, (value, number(value, 6))])
    return np.array([one for one, _ in places]), [word for _, word in places]


def one_value(scale: Scale, *arrays: np.ndarray) -> float | None:
    """The value of numbers that all lie at one place of the scale; None if they do not, or if there are none.

    >>> from thalweg.figures import Axis
    >>> one_value(Axis(), np.array([2.0, 2.0, np.nan])), one_value(Axis(), np.array([2.0, 3.0]))
    (2.0, None)
    """
    flat = placed(scale, *arrays)
    flat = flat[np.abs(flat) <= MOST]
    return float(flat[0]) if flat.size and same(scale, float(flat.min()), float(flat.max())) else None


def worded(values: np.ndarray, *, spread: bool = False) -> list[str]:
    """Words for ascending numbers, with the digits that tell them apart.

    >>> worded(np.array([1000.0, 1000.25, 1000.5])), worded(np.array([0.001, 1.0]), spread=True)
    (['1,000', '1,000.25', '1,000.5'], ['10⁻³', '10⁰'])

    Args:
        values: (K,).
        spread: Powers of ten throughout where the numbers spread over three of them or more.
    """
    sizes = np.abs(values[values != 0])
    if spread and len(sizes) and float(sizes.min()) <= float(sizes.max()) / 0.9e3:
        return [power_of_ten(v) if v else "0" for v in values.tolist()]
    least = float(np.diff(values).min()) if len(values) > 1 else 0.0
    for digits in range(3, 17):
        if all(abs(float(f"{v:.{_digits(v, digits)}g}") - v) <= 0.02 * least for v in values.tolist()):
            return [number(v, digits) for v in values.tolist()]
    return [number(v, 3 if least == 0 else 17) for v in values.tolist()]


def _digits(value: float, digits: int) -> int:
    """How many significant digits ``number`` writes."""
    return max(digits, len(str(int(abs(value))))) if 1000 <= abs(value) < 1e6 else digits


def _places(scale: Scale, low: float, high: float, count: int) -> np.ndarray:
    if scale.scale == "log":
        return _decades(low, high, count)
    if scale.scale == "power":
        return _even(scale, low, high, count)
    top = max(abs(low), abs(high))
    if scale.scale == "symlog" and (scale.within or 1.0) < top:
        powers = _decades(scale.within or 1.0, top * 1.0001, max(2, count // 2))
        found = np.concatenate([-powers[::-1], [0.0], powers])
        if ((found >= low) & (found <= high)).sum() > 1:
            return found
    return _round_steps(low, high, count)


def _decades(low: float, high: float, count: int) -> np.ndarray:
    """Powers of ten within [low, high]; thinned, or filled with 2 and 5, towards ``count``."""
    span = math.log10(high) - math.log10(low)
    step = max(1, math.ceil(span / max(count, 1)))
    bases = [1] if span > count / 2 else [1, 3] if span > count / 4 else [1, 2, 5]
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    candidates = np.array([float(f"{base}e{e}") for e in exponents if e % step == 0 for base in bases])
    inside = candidates[(candidates >= low * (1 - 1e-12)) & (candidates <= min(high * (1 + 1e-12), MAX))]
    return inside if len(inside) >= 2 else _round_steps(low, high, count)


MAX = float(np.finfo(np.float64).max)


def _round_steps(low: float, high: float, count: int) -> np.ndarray:
    """Multiples of 1, 2, 2.5 or 5 times a power of ten within [low, high]; the ends themselves where none fits."""
    raw = high / max(count, 1) - low / max(count, 1)
    if not 0 < raw < math.inf:
        return np.unique([low, high])
    exponent = math.floor(math.log10(raw))
    mantissas = {m: float(f"{m}e{exponent}") for m in (1, 2, 2.5, 5, 10)}
    mantissa, step = next(((m, s) for m, s in mantissas.items() if s >= raw * (1 - 1e-9)), (10, mantissas[10]))
    whole = np.arange(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1).tolist()
    # by decimal words, which know no rounding of 0.1 times three
    return np.array([float(f"{k * mantissa:.1f}e{exponent}") for k in whole])


def _even(scale: Scale, low: float, high: float, count: int) -> np.ndarray:
    """Round numbers about evenly spaced on the scale, the simplest first.

    >>> from thalweg.figures import Axis
    >>> _even(Axis(scale="power"), 0.0, 0.7, 6).tolist()
    [0.0, 0.02, 0.1, 0.2, 0.5, 0.7]
    """
    top = math.floor(math.log10(max(abs(low), abs(high))))
    gap = 0.9 * float(forward(scale, high) - forward(scale, low)) / (count + 1)
    kept: dict[float, float] = {}  # value -> place
    for mantissa in (0, 1, 5, 2, 3, 7, 4, 1.5):
        sizes = {float(f"{mantissa}e{top + power}") for power in range(-9, 1)}
        for value in sorted({sign * size for size in sizes for sign in (1, -1)}, key=abs)[::-1]:
            if low <= value <= high:
                place = float(forward(scale, value))
                if all(abs(place - other) >= gap for other in kept.values()):
                    kept[value] = place
    return np.array(sorted(kept)) if len(kept) > count / 2 else _round_steps(low, high, count)

"""Colour scales that fit the numbers: loss surfaces are flat in the valley and steep on the walls.

On a linear scale a valley between walls a thousand times as high is one colour. The rule here takes the simplest scale
on which the lowest quarter of the values is told apart, and says which one it took and why, for the caption.
"""

from __future__ import annotations

import numpy as np

from thalweg.figures.scales import MOST, Axis, ColourScale, forward, number, same

__all__ = ["chosen_axis", "chosen_scale"]

ENOUGH = 0.1
"""Share of the colours that the lowest quarter of the values must take; evenly spread values would take a quarter."""

OUTLIER = 0.01
"""Share of the values at the top end that may lie beyond the colours where they would take most of them."""


def chosen_scale(label: str, *arrays: np.ndarray, unit: str = "") -> tuple[ColourScale, str]:
    """A colour scale for numbers, and why it was taken.

    The first of linear, power (exponent ½) and log on which the lowest quarter of the finite values takes at least a
    tenth of the colours; else the one where it takes most. If the topmost hundredth of the values would take more than
    half of the colours whatever the scale, the colours end below it, and the colour bar points onwards.

    Args:
        label: The quantity.
        arrays: All numbers that will be drawn with it; NaN and infinities do not count.
        unit: Its unit.

    Returns:
        The scale, and a sentence.

    Example:
        >>> x = np.linspace(-1, 1, 41)
        >>> scale, why = chosen_scale("loss", 1e-4 + 100 * x**2)
        >>> scale.scale
        'power'
        >>> print(why)
        Colours are on a power scale (exponent 0.5): on a linear one the lowest quarter would share 6.25 % of them.
    """
    values = np.concatenate([np.ravel(np.asarray(array, dtype=np.float64)) for array in arrays] or [np.zeros(0)])
    values = np.clip(np.sort(values[np.isfinite(values)]), -MOST, MOST)
    scales = [ColourScale(label, unit)]
    if values.size < 4 or same(scales[0], float(values[0]), float(values[-1])):
        return scales[0], "Colours are on a linear scale."
    allowed = {"power": values[0] >= 0, "log": values[0] > 0}
    scales += [scales[0].replace(scale=name) for name, fits in allowed.items() if fits]
    kept = _without_wall(scales[-1], values)
    shares = [_valley(scale, kept) for scale in scales]
    best = next((k for k, share in enumerate(shares) if share >= ENOUGH), int(np.argmax(shares)))
    words = {"linear": "linear scale", "power": "power scale (exponent 0.5)", "log": "logarithmic scale"}
    why = f"Colours are on a {words[scales[best].scale]}"
    if best:
        why += f": on a linear one the lowest quarter would share {number(100 * shares[0])} % of them"
    if len(kept) == len(values):
        return scales[best], f"{why}."
    beyond = (
        f"The colours end at {number(float(kept[-1]))}: the {len(values) - len(kept)} highest of {len(values)} values, "
        f"up to {number(float(values[-1]))}, lie beyond."
    )
    return scales[best].replace(limits=(None, float(kept[-1]))), f"{why}. {beyond}"


def chosen_axis(label: str, *arrays: np.ndarray, unit: str = "") -> Axis:
    """An axis on the scale that :func:`chosen_scale` takes; all values have a place on it.

    >>> chosen_axis("loss", np.geomspace(1e-6, 1, 50)).title
    'loss (log scale)'
    """
    scale = chosen_scale(label, *arrays)[0].scale
    return Axis(label, unit, scale)


def _valley(scale: ColourScale, values: np.ndarray) -> float:
    """The share of the colours that the lowest quarter takes."""
    u = forward(scale, values)
    return float((np.quantile(u, 0.25) - u[0]) / (u[-1] - u[0]))


def _without_wall(scale: ColourScale, values: np.ndarray) -> np.ndarray:
    """Ascending values without the topmost hundredth, if it takes more than half of the colours."""
    kept = values[: int(np.ceil((1 - OUTLIER) * len(values)))]
    low, last, high = forward(scale, np.array([values[0], kept[-1], values[-1]]))
    return kept if low < last < (low + high) / 2 else values

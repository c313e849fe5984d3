"""Target functions of one variable: those of the classic exercises by name, any other as an expression of x."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thalweg.errors import InputError, nearest
from thalweg.tasks.expression import Expression, parse

__all__ = ["TARGETS", "Target", "check_interval", "sample_function", "target"]

Array = NDArray[np.float64]

_WEIERSTRASS = " + ".join(f"cos({2**n}*pi*x)/{2**n}" for n in range(11))

TARGETS: dict[str, tuple[str, tuple[float, float], str]] = {
    "sinc": ("sinc(5*x)", (0.0, 1.0), "sin(5πx)/(5πx)"),
    "sign-sin": ("sign(sin(5*pi*x))", (0.0, 1.0), "sgn(sin 5πx)"),
    "sines": ("sin(3*pi*x) + sin(4*pi*x)", (0.0, 1.0), "sin 3πx + sin 4πx"),
    "exp-sin": ("exp(sin(40*x))*log(x + 1)", (0.0, 1.0), "exp(sin 40x)·log(x + 1)"),
    "step": ("where(x >= 0.5, 1, 0)", (0.0, 1.0), "1 for x ≥ ½, else 0"),
    "chirp": ("4*sin(exp(x/8)) - 5*cos(x) + exp(x/8)", (0.0, 20.0), "4 sin(e^{x/8}) − 5 cos x + e^{x/8}"),
    "sign-cos": ("sign(cos(8*pi*x))", (0.0, 1.0), "sgn(cos 8πx)"),
    "damped": ("10*sqrt(x)*exp(-8*x)*sin(6*pi*(x - 1/4))", (0.0, 1.0), "10√x·e^{−8x}·sin 6π(x − ¼)"),
    # max: ceil(0) alone would make one stray point at the left end of the grid
    "stair": ("(max(ceil(4*x), 1) - 2.5)/1.5", (0.0, 1.0), "(⌈4x⌉ − 2.5)/1.5"),
    "sinc4": ("sinc(4*x)", (0.0, 1.0), "sin(4πx)/(4πx)"),
    "weierstrass": (_WEIERSTRASS, (0.0, 1.0), "Σ 2⁻ⁿ cos(2ⁿπx), n ≤ 10"),
    "sin-tan": ("sin(20*pi*x)*tan(2*pi*x)", (0.0, 1.0), "sin 20πx·tan 2πx"),
    "polynomial": ("x**5 - x**4 + x**3 - x**2 + x - 1", (0.0, 1.0), "x⁵ − x⁴ + x³ − x² + x − 1"),
}
"""name -> expression, interval on which the exercises use it, and how it is written in a figure."""


@dataclass(frozen=True)
class Target:
    """A function to be learned; call it with an array of x (any shape).

    Args:
        name: Its name in :data:`TARGETS`, or the expression itself.
        label: How a figure writes it.
        expression: The checked expression.
        interval: Where it is used by default.
    """

    name: str
    label: str
    expression: Expression
    interval: tuple[float, float]

    def __call__(self, x: Array | float) -> Array:
        """Values at `x`, float64."""
        return self.expression(x)


def target(text: str) -> Target:
    """The target of this name, or the one that an expression of x defines (on [0, 1]).

    Args:
        text: A name in :data:`TARGETS` or an expression (see :mod:`thalweg.tasks.expression`).

    Raises:
        InputError: If it is neither.

    >>> target("chirp").interval
    (0.0, 20.0)
    >>> float(target("x**2")(3.0))
    9.0
    """
    name = text.strip()
    if name in TARGETS:
        expression, interval, label = TARGETS[name]
        return Target(name, label, parse(expression), interval)
    try:
        return Target(name, name, parse(text), (0.0, 1.0))
    except InputError as error:
        raise InputError(f"{error}{nearest(name, TARGETS)}") from None


def check_interval(interval: tuple[float, float]) -> None:
    """Raise InputError unless the interval has two finite ends in ascending order."""
    low, high = interval
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(f"interval must be two finite numbers, the lesser first, found {low:g} {high:g}")


def sample_function(
    goal: Target,
    interval: tuple[float, float] | None,
    points: int,
    *,
    random: bool = False,
    noise: float = 0.0,
    rng: np.random.Generator,
) -> tuple[Array, Array]:
    """Points and values of a target.

    Args:
        goal: The target function.
        interval: Least and greatest x; None for the target's own.
        points: Number of points N. One point on a uniform grid is the lower end.
        random: Draw the points uniformly (returned in ascending order) in place of a uniform grid with both ends.
        noise: Standard deviation of the Gaussian noise added to the values.
        rng: Source of the points and the noise; not used without either.

    Returns:
        x (N, 1) and y (N, 1), float64.

    Raises:
        InputError: If the interval is empty, or the target is not finite at one of the points.

    >>> x, y = sample_function(target("x**2"), (0, 2), 3, rng=np.random.default_rng(0))
    >>> y[:, 0]
    array([0., 1., 4.])
    """
    low, high = goal.interval if interval is None else interval
    check_interval((low, high))
    x = np.sort(rng.uniform(low, high, points)) if random else np.linspace(low, high, points)
    y = goal(x)
    bad = np.flatnonzero(~np.isfinite(y))
    if bad.size:
        raise InputError(
            f"expression {goal.expression.text!r} must be finite on [{low:g}, {high:g}], "
            f"found {y[bad[0]]} at x = {x[bad[0]]:g} ({bad.size} of {points} points)"
        )
    if noise:
        y = y + noise * rng.standard_normal(points)
    return x[:, None], y[:, None]

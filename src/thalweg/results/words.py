"""Numbers in sentences: of one network, or of several by median and range."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from thalweg.figures.scales import number, power_of_ten

__all__ = ["FEW", "counted", "estimated", "listed", "percent", "range_words", "typeset"]

FEW = 8
"""Names that a sentence lists; of more it gives the first and counts the others."""


def percent(share: float) -> str:
    """A share as a person writes it: three digits, more where fewer would say "all".

    >>> percent(0.97125), percent(0.1), percent(1.0), percent(0.999304), percent(0.99999), percent(0.0000012)
    ('97.1 %', '10 %', '100 %', '99.9 %', '99.999 %', '1.2×10⁻⁴ %')
    """
    value = 100 * share
    longer = (f"{value:.{places}f}" for places in range(1, 7))
    short = next((text for text in longer if float(text) < 100), None) if 99.9 < value < 100 else None
    return f"{short or number(value)} %"


def range_words(values: Iterable[float], words: Callable[[float], str] = number) -> str:
    """Median, lowest and highest of values over runs; a single value is given alone, NaN is left out.

    >>> range_words([0.5, 0.7, 0.6], percent), range_words([2.0]), range_words([float("nan")])
    ('60 % (50 % to 70 %)', '2', 'nan')
    """
    finite = np.array([value for value in values if np.isfinite(value)], dtype=np.float64)
    if finite.size == 0:
        return "nan"
    low, middle, high = words(float(finite.min())), words(float(np.median(finite))), words(float(finite.max()))
    return middle if finite.size == 1 or low == high else f"{middle} ({low} to {high})"


def estimated(values: Iterable[float], errors: Iterable[float], error: str = "standard error") -> str:
    """Values with their errors: of one the error beside it, of several the largest of all.

    >>> estimated([2.0], [0.1]), estimated([1.0, 2.0, 4.0], [0.1, 0.2, 0.1]), estimated([2.0], [float("nan")])
    ('2 ± 0.1', '2 (1 to 4; standard error at most 0.2)', '2')
    """
    text = range_words(values)
    known = [value for value in errors if np.isfinite(value)]
    if not known or text == "nan":
        return text
    largest = number(max(known))
    if "(" in text:
        return f"{text[:-1]}; {error} at most {largest})"
    return f"{text} ± {largest}"


def counted(count: int, noun: str) -> str:
    """A count with its noun in the right number.

    >>> counted(1, "run"), counted(16750, "parameter")
    ('1 run', '16,750 parameters')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """Names as a sentence lists them.

    >>> listed(["run 1", "run 3"]), listed([str(i) for i in range(200)])
    ('run 1, run 3', '0, 1, 2, 3, 4, 5, 6, 7 and 192 more')
    """
    return ", ".join(names[:FEW]) + (f" and {len(names) - FEW} more" if len(names) > FEW else "")


def typeset(text: str) -> str:
    """Numbers as a program writes them, within words, as a person writes them.

    >>> typeset("λ = 5.34e-06, residual 1e-09; λ = -0.0733")
    'λ = 5.34×10⁻⁶, residual 10⁻⁹; λ = −0.0733'
    """
    text = re.sub(r"-?\d+(?:\.\d+)?e[+-]\d+", lambda found: power_of_ten(float(found[0])), text)
    return re.sub(r"(?<![\w-])-(?=\d)", "−", text)

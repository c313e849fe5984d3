"""Does a measure rank networks by their generalisation gap? Kendall's τ with an interval (Jiang et al. 2020, §3).

τ is 1 if the measure orders all pairs of networks as the gap does, −1 if it orders them the other way round. Its value
over a dozen networks is uncertain: it comes with a bootstrap interval over *settings*, since replicas of one setting
are no independent evidence about the order of settings.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from thalweg._lazy import polars as pl
from thalweg._short import short
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.figures import Axis, Figure, Panel, Scatter
from thalweg.figures.scales import number
from thalweg.results import BaseResult
from thalweg.results.words import counted

__all__ = ["RankCorrelation", "granulated_correlation", "rank_correlation"]


@short
@dataclass(frozen=True, eq=False)
class RankCorrelation(BaseResult):
    """Kendall's τ-b between a measure and a gap.

    Args:
        tau: The value; NaN if one of both is constant or fewer than two networks are finite.
        low: Lower end of the interval; NaN where it cannot be had.
        high: Upper end.
        networks: Networks that counted: both numbers finite.
        groups: Groups that the bootstrap drew.
        status: "measured", "constant" or "too few".
        measure: (n,) what was ranked, for the picture; ``gap`` and ``labels`` (which group) likewise.
        gap: See there.
        labels: See there.
    """

    tau: float
    low: float
    high: float
    networks: int
    groups: int
    status: str
    measure: np.ndarray = field(default_factory=lambda: np.zeros(0), repr=False)
    gap: np.ndarray = field(default_factory=lambda: np.zeros(0), repr=False)
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64), repr=False)

    @property
    def sure(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0

    @property
    def interval(self) -> str:
        """The value with its interval, in words."""
        if self.low == self.high:  # no draw from a perfect order is less perfect
            return f"{number(self.tau)} (no two settings out of order, so that resampling shows no uncertainty)"
        return f"{number(self.tau)} ({number(self.low)} to {number(self.high)})"

    def plot(self) -> Figure:
        """The gap of every network against its measure; networks of one group have one colour."""
        groups = tuple(f"group {label}" for label in self.labels)
        few = self.groups <= 8
        points = Scatter(self.measure, self.gap, categories=groups if few else (), size=6.0)
        caption = f"Every point is a network. {self.summary()}"
        panel = Panel(Axis("measure"), Axis("generalization gap"), (points,))
        return Figure("rank-correlation", "Rank correlation with the gap", caption, (panel,))

    def table(self) -> pl.DataFrame:
        """One row: the value, its interval, and how many networks and groups it comes from."""
        row = {"Kendall τ": self.tau, "low": self.low, "high": self.high}
        return pl.DataFrame(row | {"networks": self.networks, "groups": self.groups, "status": self.status})

    def summary(self) -> str:
        """Kendall's τ with its interval, and whether its sign is settled."""
        count = f"{counted(self.networks, 'network')} in {counted(self.groups, 'group')}"
        if self.status != "measured":
            why = {"constant": "one of both is constant", "too few": "fewer than two networks have finite numbers"}
            return f"There is no rank correlation of {count}: {why[self.status]}."
        settled = "its sign is settled" if self.sure else "these networks do not settle its sign"
        return f"Kendall's τ of {count} is {self.interval}; {settled}."


@declared
def rank_correlation(
    measure: Sequence[float] | np.ndarray,
    gap: Sequence[float] | np.ndarray,
    *,
    groups: Sequence[object] | np.ndarray | None = None,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> RankCorrelation:
    """Kendall's τ-b with a percentile bootstrap interval over groups.

    With few groups the interval is too narrow, and around a perfect order (τ = ±1) it has no width at all: no draw from
    a perfect order is less perfect.

    Args:
        measure: (n,), one number per network; networks with a number that is not finite are left out.
        gap: (n,), its generalisation gap.
        groups: (n,), the setting of each network: whole settings are drawn. Default: every network by itself.
        resamples: Bootstrap draws.
        confidence: Level of the interval.
        seed: Of the draws.

    Raises:
        InputError: Lengths that differ, or an argument out of range.

    Example:
        >>> found = rank_correlation([1, 2, 3, 4, 5], [10, 20, 30, 50, 40])
        >>> found.tau, found.low <= found.tau <= found.high
        (0.8, True)
    """
    x, y = (np.asarray(values, dtype=np.float64) for values in (measure, gap))
    if x.ndim != 1 or x.shape != y.shape:
        raise InputError(f"measure and gap must be two lists of one length, found shapes {x.shape} and {y.shape}")
    labels = np.arange(len(x)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    if labels.shape != x.shape:
        raise InputError(f"groups must have one entry per network ({len(x)}), found {labels.shape}")
    if resamples < 1:
        raise InputError(f"resamples must be at least 1, found {resamples}")
    if not 0 < confidence < 1:
        raise InputError(f"confidence must lie between 0 and 1, found {confidence}")
    finite = np.isfinite(x) & np.isfinite(y)
    x, y, labels = x[finite], y[finite], np.unique(labels[finite], return_inverse=True)[1]
    count = int(labels.max()) + 1 if len(labels) else 0
    if len(x) < 2:
        return RankCorrelation(math.nan, math.nan, math.nan, len(x), count, "too few", x, y, labels)
    pairs = _Pairs(x, y)
    tau = float(pairs.tau(np.ones((1, len(x))))[0])
    if math.isnan(tau):
        return RankCorrelation(tau, math.nan, math.nan, len(x), count, "constant", x, y, labels)
    low = high = math.nan
    if count > 2:  # two settings have one order only: there is nothing to draw
        drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
        taus = pairs.tau(drawn[:, labels].astype(np.float64))
        tail = 50 * (1 - confidence)
        low, high = (float(end) for end in np.nanpercentile(taus, [tail, 100 - tail]))
    return RankCorrelation(tau, low, high, len(x), count, "measured", x, y, labels)


class _Pairs:
    """Order of all pairs, from which τ-b follows for any number of copies of every network."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        first, second = (np.sign(values[:, None] - values[None, :]) for values in (x, y))
        self.agreement, self.first, self.second = first * second, np.abs(first), np.abs(second)

    def tau(self, copies: np.ndarray) -> np.ndarray:
        """τ-b (B,) with network i in `copies` (B, n); NaN where all are tied."""
        agreement, first, second = (
            np.einsum("bi,ij,bj->b", copies, matrix, copies, optimize=True)
            for matrix in (self.agreement, self.first, self.second)
        )
        with np.errstate(invalid="ignore"):
            return agreement / np.sqrt(first * second)


@declared
def granulated_correlation(
    measure: Sequence[float] | np.ndarray,
    gap: Sequence[float] | np.ndarray,
    hyperparameters: Mapping[str, Sequence[object] | np.ndarray],
) -> dict[str, float]:
    """τ along one hyperparameter with all others fixed, averaged over what they are fixed to (Jiang et al. 2020).

    A measure may rank networks well only because one hyperparameter moves both it and the gap; here that shows.

    Args:
        measure: (n,).
        gap: (n,).
        hyperparameters: name -> (n,) settings. Several runs of one setting make pairs as well: give their mean, or the
            run's number as one more hyperparameter.

    Returns:
        name -> ψ of that hyperparameter (NaN if it never varies alone), and "mean" -> Ψ, the mean of those known.

    Example:
        >>> batch, rate = [16, 16, 64, 64], [0.1, 0.2, 0.1, 0.2]
        >>> granulated_correlation([1, 2, 3, 4], [2, 1, 4, 3], {"batch size": batch, "learning rate": rate})
        {'batch size': 1.0, 'learning rate': -1.0, 'mean': 0.0}
    """
    x, y = (np.asarray(values, dtype=np.float64) for values in (measure, gap))
    for name, settings in hyperparameters.items():
        if len(settings) != len(x):
            raise InputError(f"hyperparameters['{name}'] must have one entry per network ({len(x)})")
    psi = {}
    for name, settings in hyperparameters.items():
        others = [values for other, values in hyperparameters.items() if other != name]
        rooms: dict[tuple[object, ...], list[int]] = {}
        for index, fixed in enumerate(zip(*others, strict=True) if others else itertools.repeat((), len(x))):
            rooms.setdefault(fixed, []).append(index)
        taus = [
            rank_correlation(x[room], y[room], resamples=1).tau
            for room in rooms.values()
            if len({settings[i] for i in room}) > 1
        ]
        known = [tau for tau in taus if not math.isnan(tau)]
        psi[name] = float(np.mean(known)) if known else math.nan
    known = [tau for tau in psi.values() if not math.isnan(tau)]
    return {**psi, "mean": float(np.mean(known)) if known else math.nan}

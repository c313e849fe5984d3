"""Estimated numbers with their errors: a trace, a diagonal, counts of signs, any quantity on subsets of the data."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from thalweg._lazy import polars as pl
from thalweg._short import short
from thalweg.figures import Axis, Band, Bars, Figure, Line, Panel
from thalweg.figures.scales import number
from thalweg.objective.precision import computed_in
from thalweg.results import BaseResult
from thalweg.results.networks import Quantity, pictured
from thalweg.results.words import counted

__all__ = ["CountEstimate", "DiagonalEstimate", "SubsetEstimate", "TraceEstimate"]

POINTS = 2000  # of a drawn diagonal


def _spent(products: int, samples: int | None) -> str:
    return counted(products, "product") + ("" if samples is None else f" on {counted(samples, 'sample')}")


@short
@dataclass(frozen=True, eq=False)
class TraceEstimate(BaseResult):
    """An estimated trace.

    Args:
        value: The estimate; NaN if a product was not finite.
        standard_error: One standard deviation of the estimate, itself estimated and rough for few products: twice it
            holds the trace in 85 to 95 % of cases from 20 products on, in 57 to 90 % with 6. 0 where it is exact.
        method: How; "exact" when the products sufficed for the whole diagonal.
        products: Products spent.
        sampling_error: One standard deviation by the draw of `samples`, apart from `standard_error`; 0 for all data.
        samples: How many were drawn; None for all data.
        precision: In which the products were computed.
    """

    value: float
    standard_error: float
    method: str
    products: int
    sampling_error: float = 0.0
    samples: int | None = None
    precision: str = "float64"

    @property
    def error(self) -> float:
        """Both errors together, their root sum of squares."""
        return math.hypot(self.standard_error, self.sampling_error)

    def plot(self) -> Figure:
        """The estimate, with twice its standard error."""
        column = Quantity("trace", np.array([self.value]), np.array([self.error]))
        caption = f"Estimated by {self.method} with {_spent(self.products, self.samples)}."
        return pictured("trace", "Trace", caption, [column], axis="estimate")

    def table(self) -> pl.DataFrame:
        """One row with all fields."""
        names = ("value", "standard_error", "sampling_error", "method", "products", "samples", "precision")
        return pl.DataFrame({name: [getattr(self, name)] for name in names})

    def summary(self) -> str:
        """The trace with its errors, and what it took."""
        if not math.isfinite(self.value):
            return "The trace is not known: a product had NaN or infinite entries."
        if self.method == "exact" and self.samples is None:
            return f"The trace is {number(self.value)}, exactly.{computed_in(self.precision)}"
        drawn = f" by the random vectors, ± {number(self.sampling_error)} by the samples" if self.samples else ""
        return (
            f"The trace is {number(self.value)} ± {number(self.standard_error)}{drawn} (one standard error; "
            f"{self.method}, {_spent(self.products, self.samples)}).{computed_in(self.precision)}"
        )


@short
@dataclass(frozen=True, eq=False)
class DiagonalEstimate(BaseResult):
    """An estimated diagonal.

    Args:
        values: Estimates, (P,).
        standard_errors: One standard deviation of each, (P,). Those of "xdiag" are the spread of estimates that share
            vectors: up to a quarter too small where products are a large share of P.
        method: How; "exact" when the products sufficed.
        products: Products spent.
        sampling_errors: One standard deviation of each by the draw of `samples`, (P,); None for all data.
        samples: How many were drawn; None for all data.
        precision: In which the products were computed.
    """

    values: Tensor
    standard_errors: Tensor
    method: str
    products: int
    sampling_errors: Tensor | None = None
    samples: int | None = None
    precision: str = "float64"

    @property
    def errors(self) -> Tensor:
        """Both errors together, (P,)."""
        return (
            self.standard_errors if self.sampling_errors is None else self.standard_errors.hypot(self.sampling_errors)
        )

    def plot(self) -> Figure:
        """The entries in ascending order, with twice their standard errors."""
        values, errors = (one.double().cpu().numpy() for one in (self.values, self.errors))
        order = np.argsort(values)
        order = order[np.unique(np.linspace(0, len(order) - 1, min(POINTS, len(order))).astype(int))]
        rank = np.argsort(np.argsort(values))[order] + 1.0
        middle, spread = values[order], 2 * errors[order]
        marks = (
            Band(rank, middle - spread, middle + spread, group="entry"),
            Line(rank, middle, group="entry", width=1.2),
        )
        caption = (
            f"Entries of the diagonal in ascending order, by {self.method} with {_spent(self.products, self.samples)}; "
            "the band is two standard errors to either side."
        )
        return Figure("diagonal", "Diagonal", caption, (Panel(Axis("rank, ascending"), Axis("entry"), marks),))

    def table(self) -> pl.DataFrame:
        """One row per parameter: its position, the entry and its errors."""
        columns = {"value": self.values, "standard_error": self.standard_errors, "sampling_error": self.sampling_errors}
        known = {name: value.double().cpu().numpy() for name, value in columns.items() if value is not None}
        return pl.DataFrame({"parameter": np.arange(len(self.values)), **known})

    def summary(self) -> str:
        """Extremes and sum of the entries, with the median of their errors."""
        values, errors = self.values.double(), self.errors.double()
        if not bool(values.isfinite().all()):
            return "The diagonal is not known: a product had NaN or infinite entries."
        low, high, total, error = (
            number(float(one)) for one in (values.min(), values.max(), values.sum(), errors.median())
        )
        return (
            f"The diagonal ({len(values):,} numbers) reaches from {low} to {high} and adds up to {total}; the median "
            f"standard error of a number is {error} ({self.method}, {_spent(self.products, self.samples)})."
            f"{computed_in(self.precision)}"
        )


@short
@dataclass(frozen=True, eq=False)
class CountEstimate(BaseResult):
    """Estimated numbers of eigenvalues below −band, within and above band, each with an interval (low, high).

    The three estimates sum to P. They are estimates, never counts: whatever lies within the resolution of the
    quadrature of a threshold widens the intervals, up to (0, P) where nothing can be said.

    Args:
        negative: Estimate of N(λ < −band).
        undecided: Of N(|λ| ≤ band).
        positive: Of N(λ > band).
        negative_interval: At the confidence level, sampling and quadrature together.
        undecided_interval: The same.
        positive_interval: The same.
        band: Half-width of the zero band.
        confidence: Level of the intervals.
        size: P.
        products: Products spent.
        status: "ok" or "nonfinite".
        sampling_errors: One standard deviation of the three estimates (negative, undecided, positive) by the draw of
            `samples`; contained in the intervals. None for all data.
        samples: How many were drawn; None for all data.
        precision: In which the products were computed.
    """

    negative: float
    undecided: float
    positive: float
    negative_interval: tuple[float, float]
    undecided_interval: tuple[float, float]
    positive_interval: tuple[float, float]
    band: float
    confidence: float
    size: int
    products: int
    status: str
    sampling_errors: tuple[float, float, float] | None = None
    samples: int | None = None
    precision: str = "float64"

    def plot(self) -> Figure:
        """A bar for each sign, with its interval."""
        names = ("negative", "undecided", "positive")
        values = np.array([getattr(self, name) for name in names])
        low, high = np.array([getattr(self, f"{name}_interval") for name in names]).T
        caption = (
            f"Estimated numbers of eigenvalues below, within and above ±{number(self.band)}, of {self.size:,}, by "
            f"{_spent(self.products, self.samples)}; bars: {100 * self.confidence:g} % intervals."
        )
        panel = Panel(Axis("sign"), Axis("eigenvalues"), (Bars(names, values, low, high),))
        return Figure("counts", "Signs of the eigenvalues, estimated", caption, (panel,), legend="none")

    def table(self) -> pl.DataFrame:
        """One row per sign: the estimate and its interval."""
        names = ("negative", "undecided", "positive")
        rows = [(name, getattr(self, name), *getattr(self, f"{name}_interval")) for name in names]
        return pl.DataFrame(rows, schema=["sign", "eigenvalues", "low", "high"], orient="row")

    def summary(self) -> str:
        """The share of positive and of negative eigenvalues, with their intervals."""
        if self.status != "ok":
            return "The signs are not known: a product had NaN or infinite entries."
        low, high = self.positive_interval
        below, above = self.negative_interval
        return (
            f"Of {self.size:,} eigenvalues about {number(self.positive)} ({number(low)} to {number(high)}) are above "
            f"{number(self.band)} and about {number(self.negative)} ({number(below)} to {number(above)}) below "
            f"−{number(self.band)}, at {100 * self.confidence:g} % confidence by {_spent(self.products, self.samples)}."
            f"{computed_in(self.precision)}"
        )


@short
@dataclass(frozen=True, eq=False)
class SubsetEstimate(BaseResult):
    """A quantity on K disjoint random subsets of the data.

    Args:
        values: The quantity on each subset, (K, …).
        mean: Their mean, (…).
        standard_error: Of the mean, as an estimate of the mean over all subsets of this size, (…).
        spread: Standard deviation over subsets, (…): the error of *one* measurement on so many samples.
        size: Samples in each subset, n.
        samples: Samples in all, N.
        precision: Of the objective.
    """

    values: Tensor
    mean: Tensor
    standard_error: Tensor
    spread: Tensor
    size: int
    samples: int
    precision: str = "float64"

    def plot(self) -> Figure:
        """The quantity on every subset; of one with many components their mean, with twice its standard error."""
        values = self.values.double().cpu().numpy().reshape(len(self.values), -1)
        caption = f"{counted(len(values), 'disjoint subset')} of {self.size:,} of {counted(self.samples, 'sample')}."
        if values.shape[1] == 1:
            columns = [Quantity("quantity", values[:, 0])]
            return pictured("subsets", "The quantity on subsets of the data", caption, columns, axis="subset")
        mean, error = (one.double().cpu().numpy().reshape(-1) for one in (self.mean, self.standard_error))
        columns = [Quantity("mean over subsets", mean[:POINTS], error[:POINTS])]
        return pictured("subsets", "Mean over subsets of the data", caption, columns, axis="component")

    def table(self) -> pl.DataFrame:
        """One row per subset and component."""
        values = self.values.double().cpu().numpy().reshape(len(self.values), -1)
        subset, component = np.indices(values.shape)
        return pl.DataFrame({"subset": subset.ravel(), "component": component.ravel(), "value": values.ravel()})

    def summary(self) -> str:
        """The mean with its standard error, and the spread of a single subset."""
        many = self.mean.numel() > 1
        mean, error, spread = (float(one.double().mean()) for one in (self.mean, self.standard_error, self.spread))
        what = f"On average over its {self.mean.numel():,} components the quantity" if many else "The quantity"
        return (
            f"{what} is {number(mean)} ± {number(error)} over {counted(len(self.values), 'disjoint subset')} of "
            f"{counted(self.size, 'sample')}; one such subset alone errs by {number(spread)}."
            f"{computed_in(self.precision)}"
        )

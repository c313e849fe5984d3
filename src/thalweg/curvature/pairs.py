"""Eigenpairs as a result: values with every error that they are known to have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from torch import Tensor

from thalweg._lazy import polars as pl
from thalweg._short import short
from thalweg.curvature.eigenvalue_figures import ranked_figure
from thalweg.figures.scales import number
from thalweg.objective.precision import computed_in
from thalweg.results import BaseResult

if TYPE_CHECKING:
    from thalweg.figures import Figure

__all__ = ["Eigenpairs"]


@short
@dataclass(frozen=True, eq=False)
class Eigenpairs(BaseResult):
    """Approximate eigenpairs (K of them), each with the error that it is known to have.

    Args:
        values: Ritz values, float64, (K,): descending; ascending for "smallest"; by descending modulus for "magnitude".
        vectors: Unit Ritz vectors as rows, (K, P).
        residuals: ‖A v − λ v‖, (K,). The matrix has an eigenvalue at most this far from each value.
        converged: Whether the residual is within the tolerance, (K,).
        complete: Whether a fresh random vector has confirmed that nothing beyond `excluded` is missing.
        excluded: (low, high): with probability 0.999 every eigenvalue below `low` or above `high` is among the values.
            An infinite end says nothing: it was not asked for, or could not be settled.
        tolerance: The relative residual that was asked for.
        products: Products with a vector that were spent, of which
        products_checking: were spent on `complete`.
        restarts: Number of thick restarts.
        asymmetry: Largest ‖(A − Aᵀ)u‖ seen on the basis, rounding for an honest Hessian; contained in `residuals`.
        status: "converged" (all of them), "unconverged" (products ran out), or "nonfinite" (a product had NaN or inf).
        message: The same in a sentence.
        sampling_errors: Standard deviation of each value by the draw of `samples`, (K,); None for all data.
        biases: By how much each value reaches too far out because it is that of a sample, (K,), itself estimated from
            halves of it; not taken off `values`. None for all data.
        samples: How many were drawn; None for all data.
        precision: In which the products were computed.
    """

    values: Tensor
    vectors: Tensor
    residuals: Tensor
    converged: Tensor
    complete: bool
    excluded: tuple[float, float]
    tolerance: float
    products: int
    products_checking: int
    restarts: int
    asymmetry: float
    status: Literal["converged", "unconverged", "nonfinite"]
    message: str
    sampling_errors: Tensor | None = None
    biases: Tensor | None = None
    samples: int | None = None
    precision: str = "float64"

    @property
    def errors(self) -> Tensor:
        """Residual and twice the sampling error together, (K,)."""
        own = self.residuals
        return own if self.sampling_errors is None else own.hypot(2 * self.sampling_errors.to(own))

    def plot(self) -> Figure:
        """Values by rank; bars: residuals, with twice the sampling errors where samples were drawn."""
        values, errors = (one.double().cpu().numpy() for one in (self.values, self.errors))
        drawn = "" if self.samples is None else f", and twice the errors by the draw of {self.samples:,} samples"
        return ranked_figure(
            {"eigenvalue": (values, errors)}, "Eigenvalues", f"By Lanczos; error bars: residuals{drawn}."
        )

    def table(self) -> pl.DataFrame:
        """One row per pair: rank, value, residual, whether it converged, and the errors by the draw."""
        columns = {"eigenvalue": self.values, "residual": self.residuals, "converged": self.converged}
        columns |= {"sampling_error": self.sampling_errors, "bias": self.biases}
        known = {name: value.cpu().numpy() for name, value in columns.items() if value is not None}
        return pl.DataFrame({"rank": np.arange(1, len(self.values) + 1), **known})

    def summary(self) -> str:
        """The first and last value with their errors, and how far the search came."""
        if self.status == "nonfinite":
            return f"No eigenvalue is known: {self.message}."
        values, errors = self.values.tolist(), self.residuals.tolist()
        said = f"{number(values[0], 4)} (residual {number(errors[0], 2)})"
        if len(values) > 1:
            last = f"{number(values[-1], 4)} (residual {number(errors[-1], 2)})"
            said = f"{len(values)} eigenvalues go from {said} to {last}"
        else:
            said = f"The eigenvalue is {said}"
        if self.sampling_errors is not None and self.biases is not None:
            said += (
                f"; of the first, {self.samples:,} samples leave ± {number(float(self.sampling_errors[0]), 2)} and a "
                f"bias of about {number(float(self.biases[0]), 2)}"
            )
        missing = "" if self.complete else "; whether a repeated one is missing was not settled"
        return f"{said}. {self.message[:1].upper()}{self.message[1:]}{missing}.{computed_in(self.precision)}"

"""The minimal ratio as a result: counted or estimated signs, with all that it takes to judge them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from thalweg._short import short
from thalweg.curvature.eigenvalue_figures import SIGNS, signs_panel
from thalweg.figures import Axis, ColourScale, ErrorBars, Figure, Panel, Scatter
from thalweg.figures.scales import number
from thalweg.objective.precision import computed_in
from thalweg.results import BaseResult
from thalweg.results.networks import flat, tabled
from thalweg.results.words import percent, range_words

if TYPE_CHECKING:
    import polars as pl

__all__ = ["MEASURED", "MinimalRatio"]

MEASURED = (
    "ratio",
    "low",
    "high",
    "positive",
    "negative",
    "undecided",
    "band",
    "rounding",
    "asymmetry",
    "permutation",
    "norm",
    "loss",
    "gradient_norm",
    "flatness",
)
"""Fields that hold a number for each θ."""


@short
@dataclass(frozen=True, eq=False)
class MinimalRatio(BaseResult):
    """Minimal ratio at every θ (…), with all that it takes to judge it.

    Args:
        ratio: Share of the P eigenvalues that are certainly positive (or its estimate), float64, (…).
        low: The ratio is at least this: the same for counts, the lower confidence limit for an estimate, (…).
        high: And at most this: with every undecided eigenvalue positive, or the upper confidence limit, (…).
        positive: Number of eigenvalues > band, (…): int64 counts, or float64 where `method` is "estimate".
        negative: Number < −band, (…).
        undecided: Number in between, (…).
        band: Half-width of the zero band, the sum of the next three or the minimum asked for, (…).
        rounding: P · eps · ‖H‖, (…).
        asymmetry: ‖H − Hᵀ‖ / 2, (…); 0 for an estimate, whose products are symmetrised.
        permutation: ‖H − H′‖ with the samples in another order, (…); NaN where it was not measured.
        norm: Spectral norm ‖H‖ or an upper bound a few per cent above, (…).
        loss: L(θ), with the penalty, (…).
        gradient_norm: ‖∇L‖₂, (…).
        flatness: ‖Hg‖ / (‖H‖ ‖g‖) of the gradient g, (…): near 0 where the point is flat along its gradient though the
            gradient is not zero; NaN where it is exactly zero.
        size: P.
        method: "eigvalsh", "ldl" (inertia of H ± band) or "estimate" (stochastic Lanczos quadrature).
        status: One of "counted", "estimated", "nonfinite" per θ, in the order of the flattened leading axes. A θ whose
            loss or Hessian is not finite has NaN in the ratio and counts of 0.
        kinks: Names of piecewise-linear operations in the model (ReLU and the like): the Hessian is that of the linear
            pieces and knows nothing of the kinks between them.
        precision: In which the Hessians were computed.
    """

    ratio: Tensor
    low: Tensor
    high: Tensor
    positive: Tensor
    negative: Tensor
    undecided: Tensor
    band: Tensor
    rounding: Tensor
    asymmetry: Tensor
    permutation: Tensor
    norm: Tensor
    loss: Tensor
    gradient_norm: Tensor
    flatness: Tensor
    size: int
    method: str
    status: tuple[str, ...]
    kinks: tuple[str, ...]
    precision: str = "float64"

    def plot(self) -> Figure:
        """The ratio against the loss, coloured by the gradient norm; at a single θ the counts of the three signs."""
        ratio, low, high, loss, norm = (
            flat(getattr(self, name)) for name in ("ratio", "low", "high", "loss", "gradient_norm")
        )
        how = "estimated" if self.method == "estimate" else "counted"
        if len(ratio) == 1:
            counts = {name: flat(getattr(self, name)) for name in SIGNS}
            caption = (
                f"Signs of the {self.size:,} eigenvalues, {how} against ±{number(float(self.band.reshape(-1)[0]))}."
            )
            return Figure("minimal-ratio", "Signs of the eigenvalues", caption, (signs_panel(counts, ["θ"]),))
        hover = tuple(f"replica {r}, ‖∇L‖ {number(value)}" for r, value in enumerate(norm))
        known = norm[np.isfinite(norm) & (norm > 0)]
        scale = ColourScale("‖∇L‖₂", scale="log" if len(known) and (norm[np.isfinite(norm)] > 0).all() else "linear")
        marks = (
            ErrorBars(loss, ratio, low, high, colour="muted", opacity=0.5),
            Scatter(loss, ratio, values=norm, scale=scale, hover=hover, size=6.0),
        )
        caption = (
            f"Share of the {self.size:,} eigenvalues that are certainly positive, {how}, at {len(ratio)} θ; bars reach "
            "to the share that may be. It is a minimal ratio only where the gradient (colour) vanishes."
        )
        positive = bool((loss[np.isfinite(loss)] > 0).all())
        x = Axis("loss", scale="log" if positive else "linear")
        panel = Panel(x, Axis("share of positive eigenvalues", limits=(-0.03, 1.04)), marks)
        return Figure("minimal-ratio", "Minimal ratio against loss", caption, (panel,))

    def table(self) -> pl.DataFrame:
        """One row per θ with all that was measured, and its status."""
        return tabled({name: getattr(self, name) for name in MEASURED} | {"status": list(self.status)})

    def summary(self) -> str:
        """The ratio with its bounds, the gradient norm at which it was taken, and the kinks that it does not see."""
        fine = [status != "nonfinite" for status in self.status]
        if not any(fine):
            return "No ratio is known: the loss or its Hessian is not finite."
        ratio, low, high, negative, norm = (
            flat(getattr(self, name))[fine] for name in ("ratio", "low", "high", "negative", "gradient_norm")
        )
        sure = f"{range_words(ratio, percent)} of {self.size:,} eigenvalues are certainly positive"
        if self.method == "estimate":
            ends = f"{percent(float(low.min()))} to {percent(float(high.max()))}"
            sure = f"About {range_words(ratio, percent)} of {self.size:,} eigenvalues are positive ({ends})"
        undecided = "" if self.method == "estimate" else f" and {range_words(high - low, percent)} undecided"
        kinks = f" Kinks ({', '.join(self.kinks)}) are not seen by the Hessian." if self.kinks else ""
        return (
            f"{sure}, {range_words(negative / self.size, percent)} negative{undecided}; the gradient norm there is "
            f"{range_words(norm)}.{kinks}{computed_in(self.precision)}"
        )

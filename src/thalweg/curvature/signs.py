"""The signs of a Hessian's eigenvalues, counted against what this very Hessian is known to be wrong by.

A computed eigenvalue of 1e-12 has no sign: it moves by the size of the errors in H (Weyl). Three of them are measured
and added up: rounding in whatever produced and factored H, P · eps · ‖H‖; asymmetry, ‖H − Hᵀ‖/2; and the difference to
the same Hessian summed over the samples in another order, ‖H − H′‖. Inside this band an eigenvalue is undecided.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from thalweg._short import short
from thalweg.curvature.bounds import norm_bounds
from thalweg.curvature.eigenvalue_figures import SIGNS, signs_panel
from thalweg.curvature.inertia import SMALL, TILE, Method, counted
from thalweg.curvature.operator import Operator
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.figures import Figure
from thalweg.objective.arguments import floating
from thalweg.objective.tensors import all_finite
from thalweg.results import BaseResult
from thalweg.results.networks import flat, tabled
from thalweg.results.words import percent, range_words

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Signs", "count_signs"]


@short
@dataclass(frozen=True, eq=False)
class Signs(BaseResult):
    """Counted signs of the eigenvalues of Hessians (…, P, P), with the band and what it consists of.

    Args:
        positive: λ > band, certainly, int64, (…).
        negative: λ < −band, certainly, (…).
        undecided: Neither, (…).
        band: rounding + asymmetry + permutation, and no less than the minimum asked for, float64, (…).
        rounding: P · eps · ‖H‖, (…).
        asymmetry: ‖H − Hᵀ‖ / 2, an upper bound, (…).
        permutation: ‖H − H′‖ for the samples in another order, an upper bound, (…); NaN where H′ was not given (and
            then not part of the band).
        norm: Spectral norm ‖H‖, (…): exact with "eigvalsh", else an upper bound, a few per cent above.
        finite: Whether H was finite, (…); where not, the counts are 0 and the errors NaN.
        size: P.
        method: "eigvalsh" or "ldl" (the inertia of H ± band).
        fallbacks: Matrices whose factorisation could not be trusted and that went through eigvalsh instead.
    """

    positive: Tensor
    negative: Tensor
    undecided: Tensor
    band: Tensor
    rounding: Tensor
    asymmetry: Tensor
    permutation: Tensor
    norm: Tensor
    finite: Tensor
    size: int
    method: Literal["eigvalsh", "ldl"]
    fallbacks: int

    @property
    def ratio(self) -> Tensor:
        """The minimal ratio: share of the P eigenvalues that are certainly positive, (…); NaN where H is not finite."""
        return torch.where(self.finite, self.positive.double() / self.size, math.nan)

    @property
    def ratio_at_most(self) -> Tensor:
        """The same share if every undecided eigenvalue were positive, (…)."""
        return torch.where(self.finite, (self.positive + self.undecided).double() / self.size, math.nan)

    def plot(self) -> Figure:
        """Shares of the three signs, a group of bars for each matrix."""
        counts = {name: flat(getattr(self, name)) for name in SIGNS}
        names = [str(k + 1) for k in range(len(counts["positive"]))]
        caption = (
            "Eigenvalues that are certainly positive, certainly negative, or inside the zero band of "
            f"±{range_words(flat(self.band))}."
        )
        return Figure("signs", "Signs of the eigenvalues", caption, (signs_panel(counts, names),))

    def table(self) -> pl.DataFrame:
        """One row per matrix: the counts, the band and its parts."""
        names = (*SIGNS, "band", "rounding", "asymmetry", "permutation", "norm")
        return tabled({"ratio": self.ratio} | {name: getattr(self, name) for name in names}, axis="matrix")

    def summary(self) -> str:
        """The share of certainly positive eigenvalues, and what is undecided."""
        lost = int((~self.finite).sum())
        if lost == self.finite.numel():
            return "No sign is known: the Hessian is not finite."
        shares = {name: flat(getattr(self, name))[flat(self.finite) > 0] / self.size for name in SIGNS}
        said = {name: range_words(values, percent) for name, values in shares.items()}
        left_out = f" {lost} of {self.finite.numel()} matrices are not finite and left out." if lost else ""
        return (
            f"Of {self.size:,} eigenvalues {said['positive']} are certainly positive, {said['negative']} certainly "
            f"negative and {said['undecided']} undecided within ±{range_words(flat(self.band))} ({self.method})."
            f"{left_out}"
        )


@declared
def count_signs(
    hessian: Tensor,
    *,
    permuted: Tensor | None = None,
    asymmetry: Tensor | float = 0.0,
    minimum_band: float = 0.0,
    epsilon: float = 0.0,
    method: Method = "auto",
) -> Signs:
    """Counts the certainly positive, certainly negative and undecided eigenvalues.

    Args:
        hessian: H, (…, P, P), best from a computation in float64: its dtype's eps is that of the band.
        permuted: The same Hessian with the samples in another order, of the same shape.
        asymmetry: ‖H − Hᵀ‖/2 that was averaged away before, (…) or a number; added to what is left.
        minimum_band: Least half-width of the band, absolute, for errors that the caller knows of.
        epsilon: Relative rounding error of H, where it was computed less precisely than its dtype says.
        method: See `inertia`; "auto" takes eigvalsh up to P = 200 and LDLᵀ factors beyond.

    Raises:
        InputError: A shape is wrong or the band negative.

    Example:
        >>> signs = count_signs(torch.diag(torch.tensor([5.0, 2.0, 1e-16, -1.0], dtype=torch.float64)))
        >>> int(signs.positive), int(signs.undecided), int(signs.negative), float(signs.ratio)
        (2, 1, 1, 0.5)
    """
    hessian = floating(hessian, "hessian")
    permuted = None if permuted is None else floating(permuted, "permuted")
    if hessian.dim() < 2 or hessian.shape[-1] != hessian.shape[-2] or hessian.shape[-1] == 0:
        raise InputError(f"hessian must have shape (…, P, P), found {tuple(hessian.shape)}")
    if permuted is not None and permuted.shape != hessian.shape:
        raise InputError(
            f"permuted must have the shape of hessian {tuple(hessian.shape)}, found {tuple(permuted.shape)}"
        )
    if not (minimum_band >= 0.0 and math.isfinite(minimum_band)):
        raise InputError(f"minimum_band must be finite and not negative, found {minimum_band}")
    return counted_signs(hessian, permuted, None, asymmetry, minimum_band, epsilon, method)


def counted_signs(
    hessian: Tensor,
    permuted: Tensor | Callable[[int], Tensor] | None,
    distance: Tensor | None,
    asymmetry: Tensor | float,
    minimum_band: float,
    epsilon: float,
    method: Method,
    *,
    work: bool = False,
) -> Signs:
    """What `count_signs` does, in less memory.

    Args:
        hessian: See `count_signs`; symmetric where `work` is set.
        permuted: The same; or a function that makes H′ of the matrix number i, called only where it is needed.
        distance: ‖H − H′‖_F where it is known, (…).
        asymmetry: See `count_signs`.
        minimum_band: See there.
        epsilon: See there.
        method: See there.
        work: Count in the memory of the matrices.
    """
    lead, size = hessian.shape[:-2], hessian.shape[-1]
    rows = hessian.reshape(-1, size, size)
    known = [None] * len(rows) if distance is None else distance.reshape(-1).tolist()

    def makes(i: int) -> Callable[[], Tensor] | None:
        if isinstance(permuted, Tensor):
            return partial(permuted.reshape(-1, size, size).select, 0, i)
        return None if permuted is None else partial(permuted, i)

    errors = torch.tensor([_errors(h, makes(i), known[i]) for i, h in enumerate(rows)], dtype=torch.float64)
    norm, skew, permutation = errors.reshape(len(rows), 3).unbind(-1)
    before = torch.as_tensor(asymmetry, dtype=torch.float64).cpu()
    if before.dim() and before.shape != lead:
        raise InputError(f"asymmetry must be a number or have shape {tuple(lead)}, found {tuple(before.shape)}")
    skew = skew + before.expand(lead).reshape(-1)
    rounding = size * max(epsilon, torch.finfo(hessian.dtype).eps) * norm
    band = rounding + skew + (0.0 if permuted is None else permutation)
    band = torch.where(band.isnan(), band, band.clamp(min=minimum_band))
    found = counted(rows, band, method, work=work)

    def shaped(tensor: Tensor) -> Tensor:
        return tensor.to(hessian.device).reshape(lead)

    return Signs(
        positive=shaped(found.positive),
        negative=shaped(found.negative),
        undecided=shaped(found.within),
        band=shaped(band),
        rounding=shaped(rounding),
        asymmetry=shaped(skew),
        permutation=shaped(permutation),
        norm=shaped(norm),
        finite=shaped(found.finite),
        size=size,
        method=found.method,
        fallbacks=found.fallbacks,
    )


def _errors(
    hessian: Tensor, permuted: Callable[[], Tensor] | None, distance: float | None
) -> tuple[float, float, float]:
    """‖H‖, ‖H − Hᵀ‖/2 and ‖H − H′‖ of one matrix; H′ is made only where ‖H − H′‖_F is not known to be negligible."""
    if not all_finite(hessian):
        return math.nan, math.nan, math.nan
    h, size = hessian.to(torch.float64), hessian.shape[-1]
    if size <= SMALL:
        norm = float(torch.linalg.eigvalsh(0.5 * (h + h.mT)).abs().max())
    else:
        norm = norm_bounds(Operator.dense(h))[1]
    negligible = 0.1 * size * torch.finfo(torch.float64).eps * norm
    asymmetry = _difference(h, h.mT, negligible, skew=True)
    if permuted is None:
        return norm, asymmetry, math.nan
    if distance is not None and not distance > negligible:
        return norm, asymmetry, distance
    return norm, asymmetry, _difference(permuted().to(torch.float64), h, negligible, skew=False)


def _difference(a: Tensor, b: Tensor, negligible: float, *, skew: bool) -> float:
    """Upper bound on ‖a − b‖ (halved if `skew`, b = aᵀ), without a matrix in memory beside them.

    The Frobenius norm bounds it; only where that matters for the band is the spectral norm itself estimated.
    """
    size, factor = len(a), 0.5 if skew else 1.0
    squares = 0.0
    for start in range(0, size, TILE):  # tiles, since b may be read across
        rows = slice(start, start + TILE)
        for other in range(0, size, TILE):
            columns = slice(other, other + TILE)
            squares += float((a[rows, columns] - b[rows, columns]).square_().sum())
    frobenius = factor * math.sqrt(squares)
    if not frobenius > negligible:
        return frobenius

    def gram(v: Tensor) -> Tensor:  # DᵀD, symmetric whether D is symmetric or skew
        forward = v @ a.mT - v @ b.mT
        return factor**2 * (forward @ a - forward @ b)

    bound = norm_bounds(Operator(size, torch.float64, a.device, gram, "difference"))[1]
    return min(frobenius, math.sqrt(max(bound, 0.0)))

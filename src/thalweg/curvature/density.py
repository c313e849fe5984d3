"""Spectral density by stochastic Lanczos quadrature, with a confidence band over its random probes.

A unit vector v sees the spectrum through its own measure Σ (uᵢᵀv)² δ(λ − λᵢ), whose Gauss quadrature is what m Lanczos
steps from v compute (Golub & Meurant 2010, "Matrices, Moments and Quadrature"). The mean over random v is the spectral
density (Lin, Saad & Yang 2016, SIAM Review 58; for networks Ghorbani, Krishnan & Xiao 2019, ICML). A probe is one
independent sample of it, so that the spread over probes is the sampling error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from thalweg._lazy import polars as pl
from thalweg._short import short
from thalweg.curvature.density_figures import Spectrum, density_figure
from thalweg.curvature.intervals import scale_interval
from thalweg.curvature.operator import Operator, as_operator
from thalweg.curvature.sized import sized
from thalweg.curvature.subsampled import on_parts
from thalweg.curvature.tridiagonal import lanczos_block
from thalweg.declared import declared
from thalweg.errors import InputError
from thalweg.limits import check_memory
from thalweg.objective import Objective
from thalweg.objective.drawing import SUBSETS
from thalweg.objective.precision import computed_in
from thalweg.results import BaseResult, Stored

if TYPE_CHECKING:
    from thalweg.figures import Figure

__all__ = ["Quadrature", "SpectralDensity", "quadrature", "spectral_density"]


@short
@dataclass(frozen=True, eq=False)
class Quadrature(Stored):
    """Gauss quadratures of the spectral measures of K random unit vectors, float64 on the CPU.

    Args:
        nodes: Ritz values, ascending, (K, m).
        weights: Their weights, each row sums to 1, (K, m).
        alphas: Diagonals of the tridiagonal matrices, (K, m).
        betas: Off-diagonals, and last the norm of the remainder, (K, m); zero from where a probe exhausted its space.
        size: P.
        products: Products spent.
        finite: Whether every product was finite; else nodes and weights are NaN.
    """

    nodes: Tensor
    weights: Tensor
    alphas: Tensor
    betas: Tensor
    size: int
    products: int
    finite: bool


@short
@dataclass(frozen=True, eq=False)
class SpectralDensity(BaseResult):
    """Estimated density of the eigenvalues, smoothed by a Gaussian kernel.

    Args:
        grid: Where, (G,).
        density: Estimate, (G,), integrates to 1 over the line.
        lower: Pointwise confidence band over the probes (`scale_interval`), (G,).
        upper: Its upper edge, (G,).
        width: Standard deviation of the kernel; features narrower than this are not resolved. The band is about the
            smoothed density: it holds the sampling error, not the blur.
        confidence: Level of the band.
        probes: Number of random vectors K.
        steps: Lanczos steps m per probe.
        quadrature: The nodes and weights that it comes from.
        status: "ok" or "nonfinite" (a product had NaN or infinite entries; the density is NaN).
        sampling_errors: Root mean squared error by the draw of `samples`, beside the band, (G,); None for all data.
        samples: How many were drawn; None for all data.
        precision: In which the products were computed.
    """

    grid: Tensor
    density: Tensor
    lower: Tensor
    upper: Tensor
    width: float
    confidence: float
    probes: int
    steps: int
    quadrature: Quadrature
    status: str
    sampling_errors: Tensor | None = None
    samples: int | None = None
    precision: str = "float64"

    @property
    def reach(self) -> tuple[Tensor, Tensor]:
        """The band with twice the error of the draw added in squares, (G,) each; not below zero."""
        if self.sampling_errors is None:
            return self.lower, self.upper
        low, high = ((self.density - end).hypot(2 * self.sampling_errors) for end in (self.lower, self.upper))
        return (self.density - low).clamp(min=0.0), self.density + high

    def plot(self, eigenvalues: Tensor | None = None) -> Figure:
        """The density on a logarithmic axis, with its band (which holds the error of the draw too).

        Args:
            eigenvalues: All of them where they are known (P,): drawn dotted, smoothed by the same kernel.

        Raises:
            InputError: The density is not finite.
        """
        if self.status != "ok":
            raise InputError("a density that is not finite cannot be plotted: products had NaN or infinite entries")
        panels = [("", [self.spectrum("density", eigenvalues)])]
        return density_figure("density", "Density of the eigenvalues", panels, self.probes, self.steps, self.confidence)

    def spectrum(self, name: str, eigenvalues: Tensor | None = None) -> Spectrum:
        """What `density_figure` draws beside other densities.

        Args:
            name: In the legend.
            eigenvalues: See `plot`.
        """
        exact = None
        if eigenvalues is not None:
            scaled = (self.grid[:, None] - eigenvalues.to(self.grid)) / self.width
            exact = (torch.exp(-0.5 * scaled.square()).mean(1) / (self.width * (2 * math.pi) ** 0.5)).numpy()
        grid, density, low, high = (one.numpy() for one in (self.grid, self.density, *self.reach))
        return Spectrum(name, grid, density, low, high, exact, self.width)

    def table(self) -> pl.DataFrame:
        """One row per place: "eigenvalue", "density", the band "lower", "upper"; of a draw also "sampling_error"."""
        columns = {"eigenvalue": self.grid, "density": self.density, "lower": self.lower, "upper": self.upper}
        if self.sampling_errors is not None:
            columns["sampling_error"] = self.sampling_errors
        return pl.DataFrame({name: value.numpy() for name, value in columns.items()})

    def summary(self) -> str:
        """The extreme Ritz values, and the share of negative eigenvalues with its standard error over the probes."""
        if self.status != "ok":
            return "Products had NaN or infinite entries: the density is not known."
        nodes, weights = self.quadrature.nodes, self.quadrature.weights
        seen = nodes[weights > 0]
        shares = (weights * (nodes < 0)).sum(1)
        error = float(shares.std()) / math.sqrt(self.probes)
        return (
            f"The eigenvalues seen reach from {float(seen.min()):.4g} to {float(seen.max()):.4g}; "
            f"{100 * float(shares.mean()):.3g} % ± {100 * error:.2g} % of all {self.quadrature.size:,} lie below zero "
            f"({self.probes} probes of {self.steps} steps, smoothed by a width of {self.width:.3g}).{self._drawn}"
            f"{computed_in(self.precision)}"
        )

    @property
    def _drawn(self) -> str:
        if self.sampling_errors is None:
            return ""
        mass = float(torch.trapezoid(self.sampling_errors * self.density, self.grid))
        share = mass / max(float(torch.trapezoid(self.density.square(), self.grid)), 1e-300)
        return f" It is that of {self.samples:,} samples, which err by about {100 * share:.2g} % where it is large."


@declared
@sized
def quadrature(
    operator: Operator | Objective,
    *,
    probes: int = 10,
    steps: int = 80,
    reorthogonalise: bool = True,
    memory: int = 2**30,
    seed: int = 0,
) -> Quadrature:
    """Runs Lanczos from random unit vectors, several at once.

    Args:
        operator: The symmetric operator; an objective stands for its Hessian at `objective.theta`.
        probes: Number of random vectors, uniform on the sphere, at least 2.
        steps: Lanczos steps each; at most P are taken.
        reorthogonalise: Keep all Lanczos vectors and orthogonalise against them. Without, three vectors a probe are
            held, and converged eigenvalues appear as clusters of copies that share their weight: the quadrature stays
            usable (Chen, Trogdon & Ubaru 2021, ICML), at a loss of resolution.
        memory: Bytes for the Lanczos vectors; decides how many probes advance together, at least one.
        seed: Of the vectors; probe i is the same whatever their number.

    Raises:
        InputError: An argument is out of range.
    """
    _at_least("probes", probes, 2)
    _at_least("steps", steps, 1)
    operator = as_operator(operator)
    steps = min(steps, operator.size)
    held = steps + 1 if reorthogonalise else 3
    together = max(1, min(probes, memory // (held * operator.size * operator.dtype.itemsize)))
    generator = torch.Generator().manual_seed(seed)
    before, alphas, betas = operator.products, [], []
    with operator.tracked("spectral density", probes * steps):
        for start in range(0, probes, together):
            rows = min(together, probes - start)
            vectors = torch.stack(
                [torch.randn(operator.size, generator=generator, dtype=torch.float64) for _ in range(rows)]
            ).to(operator.device, operator.dtype)
            alpha, beta = lanczos_block(operator, vectors, steps, reorthogonalise)
            alphas.append(alpha)
            betas.append(beta)
    alpha, beta = torch.cat(alphas).to("cpu", torch.float64), torch.cat(betas).to("cpu", torch.float64)
    finite = bool(torch.isfinite(alpha).all() and torch.isfinite(beta).all())
    if finite:
        inner = beta[:, :-1]
        tridiagonal = torch.diag_embed(alpha) + torch.diag_embed(inner, 1) + torch.diag_embed(inner, -1)
        nodes, vectors = torch.linalg.eigh(tridiagonal)
        weights = vectors[:, 0, :].square()
    else:
        nodes = weights = torch.full_like(alpha, math.nan)
    return Quadrature(nodes, weights, alpha, beta, operator.size, operator.products - before, finite)


@declared
@sized
def spectral_density(
    operator: Operator | Objective,
    *,
    probes: int = 10,
    steps: int = 80,
    width: float | None = None,
    grid: Tensor | None = None,
    points: int = 1000,
    confidence: float = 0.95,
    reorthogonalise: bool = True,
    memory: int = 2**30,
    samples: int | None = None,
    subsets: int = SUBSETS,
    seed: int = 0,
) -> SpectralDensity:
    """Estimates the density of the eigenvalues of a symmetric operator. Costs probes × steps products.

    Args:
        operator: The symmetric operator; an objective stands for its Hessian at `objective.theta`.
        probes: Number of random vectors. The band needs some; its width falls like 1/√(probes · P).
        steps: Lanczos steps each. The resolution is about the range of the spectrum divided by `steps`.
        width: Standard deviation of the Gaussian kernel; by default 1.2 · range / steps, just wide enough to blur the
            nodes of one quadrature together in the middle of the spectrum, where they are π/2 · range / steps apart.
            When outliers stretch the range, give a smaller width (and a `grid`) to look into the bulk.
        grid: Where to evaluate, (G,); by default `points` from 5 widths below the least node to 5 above the largest.
        points: Length of the default grid; raised where it would be coarser than half a width.
        confidence: Level of the pointwise band over the probes (`scale_interval`).
        reorthogonalise: See `quadrature`.
        memory: See `quadrature`.
        samples: Estimate on so many samples, drawn without replacement, instead of all; no others are read. The error
            of the draw, by a jackknife over `subsets`, is `sampling_errors`. Costs subsets + 1 times the products.
        subsets: Parts of the samples, each of which is left out once.
        seed: Of the probes and of the draw.

    Raises:
        InputError: An argument is out of range.

    Example:
        >>> operator = Operator.dense(torch.diag(torch.linspace(0, 1, 300, dtype=torch.float64)))
        >>> found = spectral_density(operator, probes=5, steps=40)
        >>> round(float(torch.trapezoid(found.density, found.grid)), 4)
        1.0
    """
    if width is not None and not 0.0 < width < math.inf:
        raise InputError(f"width must be positive and finite, found {width}")
    if not 0.0 < confidence < 1.0:
        raise InputError(f"confidence must lie between 0 and 1, found {confidence}")
    if grid is not None and (grid.dim() != 1 or len(grid) == 0):
        raise InputError(f"grid must have shape (G,), found {tuple(grid.shape)}")
    _at_least("points", points, 2)
    rule_of = partial(quadrature, probes=probes, steps=steps, reorthogonalise=reorthogonalise, memory=memory, seed=seed)
    if samples is None:
        operator = as_operator(operator)
        return _smooth(rule_of(operator), width, grid, points, confidence, operator.precision)
    drawn = on_parts(operator, samples, subsets, seed)
    whole = drawn.whole()
    found = _smooth(rule_of(whole), width, grid, points, confidence, whole.precision)
    parts = [_each(found.grid, rule_of(rest), found.width).mean(0) for rest in drawn.without()]
    return replace(found, sampling_errors=drawn.jackknifed(found.density, parts), samples=samples)


def _smooth(
    rule: Quadrature, width: float | None, grid: Tensor | None, points: int, confidence: float, precision: str
) -> SpectralDensity:
    """The density of a quadrature."""
    probes, taken = rule.nodes.shape
    status = "ok" if rule.finite else "nonfinite"
    if not rule.finite:
        grid = torch.linspace(-1, 1, points, dtype=torch.float64) if grid is None else grid.to("cpu", torch.float64)
        nothing, width = torch.full_like(grid, math.nan), math.nan if width is None else width
        return SpectralDensity(
            grid, nothing, nothing, nothing, width, confidence, probes, taken, rule, status, precision=precision
        )
    seen = rule.nodes[rule.weights > 0]  # an exhausted probe goes on with nodes at zero that weigh nothing
    low, high = float(seen.min()), float(seen.max())
    if width is None:
        scale = max(abs(low), abs(high))
        one = high - low <= 1e-6 * scale  # one eigenvalue, but for rounding
        width = 1e-3 * max(scale, 1e-12) if one else 1.2 * (high - low) / taken
    if grid is None:
        low, high = low - 5 * width, high + 5 * width
        needed = 2 * (high - low) / width  # two points for each width, so that no peak falls between them
        check_memory("width", f"{width:g} between eigenvalues from {low:g} to {high:g}", 8 * needed * (probes + 3))
        grid = torch.linspace(low, high, max(points, math.ceil(needed)), dtype=torch.float64)
    grid = grid.to("cpu", torch.float64)
    each = _each(grid, rule, width)
    lower, upper = scale_interval(each, confidence)
    return SpectralDensity(
        grid, each.mean(0), lower, upper, width, confidence, probes, taken, rule, status, precision=precision
    )


def _each(grid: Tensor, rule: Quadrature, width: float) -> Tensor:
    """The smoothed measure of every probe, (K, G)."""
    return torch.stack([_smoothed(grid, n, w, width) for n, w in zip(rule.nodes, rule.weights, strict=True)])


def _smoothed(grid: Tensor, nodes: Tensor, weights: Tensor, width: float) -> Tensor:
    scaled = (grid[:, None] - nodes) / width
    return torch.exp(-0.5 * scaled.square()) @ weights / (width * math.sqrt(2.0 * math.pi))


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise InputError(f"{name} must be at least {least}, found {value}")

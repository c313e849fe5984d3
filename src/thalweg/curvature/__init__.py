"""Curvature that can be trusted: spectra with error bars, signs with a band, estimates that say that they are."""

from __future__ import annotations

from thalweg.curvature.counts import estimate_counts
from thalweg.curvature.density import Quadrature, SpectralDensity, quadrature, spectral_density
from thalweg.curvature.estimates import CountEstimate, DiagonalEstimate, SubsetEstimate, TraceEstimate
from thalweg.curvature.exact import ExactCurvature, exact_curvature, fisher, ggn, hessian, layer_blocks
from thalweg.curvature.gauss_newton import fisher_operator, fisher_products, ggn_operator, ggn_products
from thalweg.curvature.inertia import Inertia, inertia
from thalweg.curvature.lanczos import eigenpairs
from thalweg.curvature.leading import leading_eigenvalues
from thalweg.curvature.minimal import MinimalRatio
from thalweg.curvature.neighbours import NeighbourRatio, neighbour_ratio
from thalweg.curvature.operator import Operator, hessian_operator
from thalweg.curvature.pairs import Eigenpairs
from thalweg.curvature.ratio import minimal_ratio
from thalweg.curvature.sampling import over_subsets
from thalweg.curvature.signs import Signs, count_signs
from thalweg.curvature.trace import diagonal, trace

__all__ = [
    "CountEstimate",
    "DiagonalEstimate",
    "Eigenpairs",
    "ExactCurvature",
    "Inertia",
    "MinimalRatio",
    "NeighbourRatio",
    "Operator",
    "Quadrature",
    "Signs",
    "SpectralDensity",
    "SubsetEstimate",
    "TraceEstimate",
    "count_signs",
    "diagonal",
    "eigenpairs",
    "estimate_counts",
    "exact_curvature",
    "fisher",
    "fisher_operator",
    "fisher_products",
    "ggn",
    "ggn_operator",
    "ggn_products",
    "hessian",
    "hessian_operator",
    "inertia",
    "layer_blocks",
    "leading_eigenvalues",
    "minimal_ratio",
    "neighbour_ratio",
    "over_subsets",
    "quadrature",
    "spectral_density",
    "trace",
]

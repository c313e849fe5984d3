"""Curvature that can be trusted: spectra with error bars, signs with a band, estimates that say that they are."""

from __future__ import annotations

from thalweg.curvature.counts import CountEstimate, estimate_counts
from thalweg.curvature.density import Quadrature, SpectralDensity, quadrature, spectral_density
from thalweg.curvature.lanczos import Eigenpairs, eigenpairs
from thalweg.curvature.operator import Operator, hessian_operator
from thalweg.curvature.trace import DiagonalEstimate, TraceEstimate, diagonal, trace

__all__ = [
    "CountEstimate",
    "DiagonalEstimate",
    "Eigenpairs",
    "Operator",
    "Quadrature",
    "SpectralDensity",
    "TraceEstimate",
    "diagonal",
    "eigenpairs",
    "estimate_counts",
    "hessian_operator",
    "quadrature",
    "spectral_density",
    "trace",
]

"""Curvature that can be trusted: spectra with error bars, signs with a band, estimates that say that they are."""

from __future__ import annotations

from thalweg.curvature.lanczos import Eigenpairs, eigenpairs
from thalweg.curvature.operator import Operator, hessian_operator

__all__ = ["Eigenpairs", "Operator", "eigenpairs", "hessian_operator"]

"""What may make a solution generalise: sensitivity, sharpness by every definition, norms, margins, and their ranks.

Each measure bears the name of its paper. All are functions of θ (…, P) on an `Objective`; what is estimated comes with
its error, and a θ that is not finite gives NaN.
"""

from __future__ import annotations

from thalweg.generalization._rescaling import Rescaling, rescaling
from thalweg.generalization.box import BoxSharpness, keskar_sharpness
from thalweg.generalization.correlation import RankCorrelation, granulated_correlation, rank_correlation
from thalweg.generalization.jacobians import input_norms
from thalweg.generalization.margins import Margins, margin_percentile, margins, normalized_margin
from thalweg.generalization.neighbourhood import AverageSharpness, asam_sharpness, average_sharpness, sam_sharpness
from thalweg.generalization.norms import Norms, distance, frobenius_product, norms, path_norm, spectral_product
from thalweg.generalization.ranking import RankCorrelations, rank_correlations
from thalweg.generalization.reparametrization import Pair, multipliers, rescalable_pairs, rescaled_hessian
from thalweg.generalization.sensitivity import Sensitivity, batch_mean_norm, sensitivity
from thalweg.generalization.sharpness import HessianSharpness, epsilon_sharpness, hessian_sharpness

__all__ = [
    "AverageSharpness",
    "BoxSharpness",
    "HessianSharpness",
    "Margins",
    "Norms",
    "Pair",
    "RankCorrelation",
    "RankCorrelations",
    "Rescaling",
    "Sensitivity",
    "asam_sharpness",
    "average_sharpness",
    "batch_mean_norm",
    "distance",
    "epsilon_sharpness",
    "frobenius_product",
    "granulated_correlation",
    "hessian_sharpness",
    "input_norms",
    "keskar_sharpness",
    "margin_percentile",
    "margins",
    "multipliers",
    "norms",
    "normalized_margin",
    "path_norm",
    "rank_correlation",
    "rank_correlations",
    "rescalable_pairs",
    "rescaled_hessian",
    "rescaling",
    "sam_sharpness",
    "sensitivity",
    "spectral_product",
]

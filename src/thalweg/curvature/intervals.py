"""Confidence intervals of what random vectors and random steps measure: positive means, shares, counts."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["scale_interval", "share_interval", "wilson_interval"]

WEIGHT_ERROR = 1e-12  # rounding of a share of the spectrum, which is a sum of weights


def scale_interval(samples: Tensor, confidence: float) -> tuple[Tensor, Tensor]:
    """Interval for the mean of positive samples (K, …) over K, each a weighted sum of squared Gaussians.

    That is what a probe measures: squared components of a random vector on the eigenvectors under the kernel. The sum
    is taken as a scaled χ² whose degrees of freedom ν match the observed mean and variance (Satterthwaite 1946), but
    are at least 1, since at least one eigenvalue is under the kernel; its logarithmic width is stretched as Student's
    quantile is over the normal one, for ν is estimated. Around many eigenvalues that is Student's interval. Around a
    single one, where the samples are skewed, it covers the truth in 93 % of cases instead of Student's 83 % (6 probes,
    95 % asked for), and it stays above zero.
    """
    from scipy.stats import chi2, norm, t

    mean, count, level = samples.mean(0), len(samples), 0.5 + 0.5 * confidence
    freedom = (2 * mean.square() / samples.var(0).clamp(min=1e-300)).clamp(min=1.0, max=1e12)
    total = (count * freedom).numpy()
    stretch = float(t.ppf(level, count - 1) / norm.ppf(level))
    lower, upper = (torch.as_tensor((total / chi2.ppf(tail, total)) ** stretch) for tail in (level, 1 - level))
    return mean * lower, mean * upper


def share_interval(samples: Tensor, confidence: float) -> tuple[float, float]:
    """Interval for the mean of samples (K,) of a share of the spectrum, in [0, 1].

    `scale_interval` of the smaller of both sides: the weight on one eigenvalue of many is skewed, and so is the weight
    on all others. It covers the truth in 92 to 95 % of cases where Student's interval does in 83 to 90 % (a single
    eigenvalue of 500; 3 to 30 probes, 95 % asked for).
    """
    small = bool(samples.mean() <= 0.5)
    low, high = (float(end) for end in scale_interval(samples if small else 1.0 - samples, confidence))
    low, high = (low, high) if small else (1.0 - high, 1.0 - low)
    return max(0.0, low - WEIGHT_ERROR), min(1.0, high + WEIGHT_ERROR)


def wilson_interval(successes: Tensor, samples: int, confidence: float = 0.95) -> tuple[Tensor, Tensor]:
    """Interval for the probability behind `successes` (…) out of `samples` (Wilson 1927), float64, (…), (…).

    Unlike the normal interval it stays within [0, 1] and has a width at 0 and at `samples`.

    Example:
        >>> low, high = wilson_interval(torch.tensor([0, 50]), 100)
        >>> [round(x, 4) for x in (*low.tolist(), *high.tolist())]
        [0.0, 0.4038, 0.037, 0.5962]
    """
    from scipy.stats import norm

    z = float(norm.ppf(0.5 + 0.5 * confidence))
    share = successes.double() / samples
    centre = (share + z**2 / (2 * samples)) / (1 + z**2 / samples)
    half = z / (1 + z**2 / samples) * (share * (1 - share) / samples + z**2 / (4 * samples**2)).sqrt()
    # At the ends the difference is zero but for rounding.
    low, high = torch.where(successes == 0, 0.0, centre - half), torch.where(successes == samples, 1.0, centre + half)
    return low.clamp(0.0, 1.0), high.clamp(0.0, 1.0)

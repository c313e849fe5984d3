"""Kendall's τ against scipy, and whether its interval means what it says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import kendalltau, multivariate_normal

from thalweg.errors import InputError
from thalweg.generalization import granulated_correlation, rank_correlation, rank_correlations


@pytest.mark.parametrize("seed", range(5))
def test_equals_scipy_with_and_without_ties(seed: int) -> None:
    source = np.random.default_rng(seed)
    for draw in (lambda: source.normal(size=40), lambda: source.integers(0, 5, size=40).astype(float)):
        x, y = draw(), draw()
        assert rank_correlation(x, y).tau == pytest.approx(kendalltau(x, y).statistic, rel=1e-12)


def test_resampling_equals_scipy_on_the_copies() -> None:
    """Weights for copies give τ-b of the list with these copies."""
    from thalweg.generalization.correlation import _Pairs

    source = np.random.default_rng(0)
    x, y = source.integers(0, 6, size=15).astype(float), source.normal(size=15)
    copies = source.multinomial(15, np.full(15, 1 / 15), size=20)
    found = _Pairs(x, y).tau(copies.astype(float))
    for row, tau in zip(copies, found, strict=True):
        index = np.repeat(np.arange(15), row)
        assert tau == pytest.approx(kendalltau(x[index], y[index]).statistic, rel=1e-12)


def test_interval_covers_the_truth() -> None:
    """Of a binormal population τ = 2/π asin ρ (Greiner 1909)."""
    rho = 0.5
    truth = 2 / math.pi * math.asin(rho)
    inside = 0
    for seed in range(100):
        x, y = multivariate_normal([0, 0], [[1, rho], [rho, 1]], seed=seed).rvs(40).T
        found = rank_correlation(x, y, resamples=400, seed=seed)
        inside += found.low <= truth <= found.high
    assert 86 <= inside <= 100


def test_replicas_of_a_setting_are_drawn_together() -> None:
    """Ten equal copies of each setting prove no more than the settings do."""
    source = np.random.default_rng(1)
    x, y = source.normal(size=8), source.normal(size=8)
    groups = np.repeat([f"batch {k}" for k in range(8)], 10)
    alone = rank_correlation(x, y, seed=3)
    many = rank_correlation(np.repeat(x, 10), np.repeat(y, 10), groups=groups, seed=3)
    naive = rank_correlation(np.repeat(x, 10), np.repeat(y, 10), seed=3)
    assert many.tau == pytest.approx(alone.tau)
    assert (many.low, many.high) == pytest.approx((alone.low, alone.high))
    assert naive.high - naive.low < 0.6 * (many.high - many.low)
    assert many.groups == 8
    assert many.networks == 80


def test_what_cannot_be_ranked_says_so() -> None:
    constant = rank_correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0])
    assert (constant.status, math.isnan(constant.tau)) == ("constant", True)
    few = rank_correlation([1.0, math.nan, math.inf], [1.0, 2.0, 3.0])
    assert (few.status, few.networks, math.isnan(few.low)) == ("too few", 1, True)
    two = rank_correlation([1.0, 2.0], [1.0, 2.0])
    assert (two.tau, math.isnan(two.low)) == (1.0, True)
    assert rank_correlation([], []).status == "too few"


def test_granulated_sees_through_a_common_cause() -> None:
    """Width moves both; at each width the measure ranks the wrong way round."""
    width, rate = np.repeat([1, 2, 3], 4), np.tile([1, 2, 3, 4], 3)
    measure, gap = 10.0 * width + rate, 10.0 * width - rate
    assert rank_correlation(measure, gap).tau > 0.4
    found = granulated_correlation(measure, gap, {"width": width, "rate": rate})
    assert found == {"width": 1.0, "rate": -1.0, "mean": 0.0}
    lone = granulated_correlation([1.0, 2.0], [1.0, 2.0], {"a": [1, 2], "b": [1, 2]})
    assert all(math.isnan(value) for value in lone.values())


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([1.0], [1.0, 2.0]), {}, "measure and gap must be two lists of one length"),
        (([1.0, 2.0], [1.0, 2.0]), {"groups": [1]}, "groups must have one entry per network"),
        (([1.0, 2.0], [1.0, 2.0]), {"resamples": 0}, "resamples must be at least 1, found 0"),
        (([1.0, 2.0], [1.0, 2.0]), {"confidence": 1.0}, "confidence must lie between 0 and 1, found 1.0"),
    ],
)
def test_bad_input_is_named(arguments, options, message) -> None:
    with pytest.raises(InputError, match=message):
        rank_correlation(*arguments, **options)


def test_hyperparameters_of_another_length() -> None:
    with pytest.raises(InputError, match=r"hyperparameters\['a'\] must have one entry per network"):
        granulated_correlation([1.0, 2.0], [1.0, 2.0], {"a": [1]})


def test_correlations_of_many_measures_are_those_of_each() -> None:
    source = np.random.default_rng(3)
    settings = np.repeat(np.arange(8), 2)
    gap = source.normal(size=16)
    measures = {"near": gap + 0.1 * source.normal(size=16), "far": source.normal(size=16), "same": np.ones(16)}
    found = rank_correlations(measures, {"gap": gap}, groups=settings, seed=5)
    for name, values in measures.items():
        assert found.gaps["gap"][name] == rank_correlation(values, gap, groups=settings, seed=5)
        if name != "same":
            tau = found.table().filter(measure=name)["Kendall τ"].item()
            assert tau == pytest.approx(kendalltau(values, gap).statistic, rel=1e-12)
    assert found.groups == 8
    (bars,) = [mark for mark in found.plot().panels[0].marks if type(mark).__name__ == "Bars"]
    assert tuple(bars.names) == ("near", "far")
    assert found.summary().startswith("1 of 2 measures (near) has a rank correlation with the gap")


@pytest.mark.parametrize("name", ["measures", "gaps"])
def test_correlations_need_measures_and_gaps(name: str) -> None:
    given = {"measures": {"norm": [1.0, 2.0]}, "gaps": {"gap": [1.0, 2.0]}} | {name: {}}
    with pytest.raises(InputError, match=f"{name} must map at least one name to numbers"):
        rank_correlations(**given)
